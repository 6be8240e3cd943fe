//! Reading `multipart/form-data` (RFC 7578), strictly.
//!
//! Whatever two readers may understand differently is refused, and such a request is not cached:
//! bytes before the first or behind the last delimiter, a delimiter that is not a line of its own, a
//! part without a name, a name that comes twice (unless it ends in `[]`, which is how lists are
//! sent), parts inside of parts, header lines that are folded, repeated or hard to read.
//!
//! The digest is over the parts in their order: each header line with its name in lower case, and
//! the content, framed by their lengths. The boundary is not in it: clients draw a new one for
//! every request.

use memchr::memmem;

#[cfg(test)]
mod tests;

/// Most parts of one body. Requests have a dozen fields.
pub(super) const PARTS_MAX: usize = 128;
/// All header lines of one part together, in bytes.
pub(super) const HEADER_BYTES_MAX: usize = 8 << 10;
/// What the digest begins with. Raised whenever the same parts would get another digest.
const SCHEMA: &[u8] = b"llm-cache-multipart/1";
/// Longest boundary, in bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;
const LINE_END: &[u8] = b"\r\n";

/// Why a body cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reject {
    /// The content type names no boundary, or not in one clear way.
    BadBoundary,
    /// The body is not cut into parts by delimiters alone.
    BadMultipart,
    /// A part's header cannot be read, or in more than one way.
    BadPartHeader,
    /// A part is made of parts.
    NestedMultipart,
    /// A name comes twice.
    DuplicatePart,
    /// More than [`PARTS_MAX`].
    TooManyParts,
}

impl Reject {
    /// The reason as a label, from a closed set.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Reject::BadBoundary => "bad-boundary",
            Reject::BadMultipart => "bad-multipart",
            Reject::BadPartHeader => "bad-part-header",
            Reject::NestedMultipart => "nested-multipart",
            Reject::DuplicatePart => "duplicate-part",
            Reject::TooManyParts => "too-many-parts",
        }
    }
}

/// The parts of a body.
#[derive(Debug)]
pub(super) struct Parts<'a>(Vec<Part<'a>>);

#[derive(Debug)]
struct Part<'a> {
    name: &'a str,
    is_file: bool,
    /// Lower-case name, and the value as it stands behind the colon.
    headers: Vec<(String, &'a str)>,
    content: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Reads a body. `content_type` is the whole header value.
    pub(super) fn read(content_type: &str, body: &'a [u8]) -> Result<Parts<'a>, Reject> {
        let boundary = boundary(content_type).ok_or(Reject::BadBoundary)?;
        let delimiter = format!("--{boundary}");
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut rest = body
            .strip_prefix(delimiter.as_bytes())
            .ok_or(Reject::BadMultipart)?;
        let finder = memmem::Finder::new(delimiter.as_bytes());
        while let Some(begin) = rest.strip_prefix(LINE_END) {
            // Any other sight of the delimiter is one that some reader might cut at. The line end
            // before it belongs to it, and may be the one that ends the header.
            let at = finder.find(begin).ok_or(Reject::BadMultipart)?;
            let (part, behind) = begin.split_at(at);
            let part = part.strip_suffix(LINE_END).ok_or(Reject::BadMultipart)?;
            let part = Part::read(part)?;
            if !part.name.ends_with("[]") && parts.iter().any(|other| other.name == part.name) {
                return Err(Reject::DuplicatePart);
            }
            if parts.len() == PARTS_MAX {
                return Err(Reject::TooManyParts);
            }
            parts.push(part);
            rest = behind
                .strip_prefix(delimiter.as_bytes())
                .ok_or(Reject::BadMultipart)?;
        }
        match rest {
            b"--" | b"--\r\n" if !parts.is_empty() => Ok(Parts(parts)),
            _ => Err(Reject::BadMultipart),
        }
    }

    /// A field's text; `None` if there is no such field, it is a file or not UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        let part = self.0.iter().find(|part| part.name == name)?;
        let text = str::from_utf8(part.content).ok()?;
        (!part.is_file).then_some(text)
    }

    /// True if there is a part of this name, whatever it holds.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|part| part.name == name)
    }

    /// BLAKE3 of all parts.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(SCHEMA);
        hasher.update(&(self.0.len() as u64).to_le_bytes());
        for part in &self.0 {
            hasher.update(&(part.headers.len() as u64).to_le_bytes());
            for (name, value) in &part.headers {
                frame(&mut hasher, name.as_bytes());
                frame(&mut hasher, value.as_bytes());
            }
            frame(&mut hasher, part.content);
        }
        *hasher.finalize().as_bytes()
    }
}

fn frame(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

/// The boundary, which must be the only parameter.
fn boundary(content_type: &str) -> Option<&str> {
    let (media_type, parameter) = content_type.split_once(';')?;
    if !media_type
        .trim()
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return None;
    }
    let (name, value) = parameter.trim().split_once('=')?;
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let boundary = quoted.unwrap_or(value);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let fits = name.eq_ignore_ascii_case("boundary")
        && (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        && boundary.bytes().all(plain)
        && !boundary.ends_with(' ')
        && (quoted.is_some() || !boundary.contains([' ', ',']));
    fits.then_some(boundary)
}

impl<'a> Part<'a> {
    fn read(part: &'a [u8]) -> Result<Part<'a>, Reject> {
        // A part without a header begins with the empty line, and so without a name.
        let end = memmem::find(part, b"\r\n\r\n").ok_or(Reject::BadPartHeader)?;
        let (head, rest) = part.split_at(end);
        let content = rest.get(4..).unwrap_or_default();
        if head.len() > HEADER_BYTES_MAX {
            return Err(Reject::BadPartHeader);
        }
        let head = str::from_utf8(head).map_err(|_| Reject::BadPartHeader)?;
        let mut part = Part {
            name: "",
            is_file: false,
            headers: Vec::new(),
            content,
        };
        for line in head.split("\r\n") {
            part.take(line)?;
        }
        match part.name {
            "" => Err(Reject::BadPartHeader),
            _ => Ok(part),
        }
    }

    /// Takes a header line.
    fn take(&mut self, line: &'a str) -> Result<(), Reject> {
        let (name, value) = line.split_once(':').ok_or(Reject::BadPartHeader)?;
        let clear = !name.is_empty() && name.bytes().all(is_token);
        let name = name.to_ascii_lowercase();
        let again = self.headers.iter().any(|(other, _)| *other == name);
        if !clear || again || value.contains(char::is_control) {
            return Err(Reject::BadPartHeader);
        }
        match name.as_str() {
            "content-disposition" => {
                let said = disposition(value.trim()).ok_or(Reject::BadPartHeader)?;
                (self.name, self.is_file) = said;
            }
            "content-type" if is_multipart(value) => return Err(Reject::NestedMultipart),
            // Some readers believe it, others count for themselves.
            "content-length" if value.trim() != self.content.len().to_string() => {
                return Err(Reject::BadPartHeader);
            }
            // No longer allowed, and not understood by all.
            "content-transfer-encoding" => return Err(Reject::BadPartHeader),
            _ => {}
        }
        self.headers.push((name, value));
        Ok(())
    }
}

fn is_multipart(content_type: &str) -> bool {
    let media_type = content_type.trim_start().as_bytes();
    let head = media_type.get(..b"multipart/".len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(b"multipart/"))
}

/// The name, and whether it is a file.
fn disposition(value: &str) -> Option<(&str, bool)> {
    let (kind, mut rest) = value.split_once(';')?;
    if !kind.trim_end().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut file, mut file_star) = (None, None, None);
    loop {
        let (key, value, behind) = parameter(rest.trim_start())?;
        let seen = match key.to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut file,
            "filename*" => &mut file_star,
            _ => return None,
        };
        if seen.replace(value).is_some() {
            return None;
        }
        match behind.trim_start() {
            "" => break,
            behind => rest = behind.strip_prefix(';')?,
        }
    }
    let is_file = file.is_some() || file_star.is_some();
    name.map(|name| (name, is_file))
}

/// A parameter's key and value, and what stands behind. Escapes are refused: browsers and servers
/// have never agreed on them.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (key, rest) = text.split_once('=')?;
    let clear = !key.is_empty() && key.bytes().all(is_token);
    let (value, behind) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
            let (value, behind) = rest.split_at(end);
            (value.bytes().all(is_token) && end > 0).then_some((value, behind))?
        }
    };
    (clear && !value.contains('\\')).then_some((key, value, behind))
}

/// A byte of a header's name or of an unquoted value (RFC 9110).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
