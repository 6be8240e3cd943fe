//! YAML to values, with the line and column of each.
//!
//! Plain scalars become null, true, false or numbers as in YAML 1.2's core schema (decimal only);
//! all else is text. Anchors, aliases, tags and a second document are refused.

use std::fs::File;
use std::io::Read;

use marked_yaml::types::{MarkedMappingNode, MarkedScalarNode};
use marked_yaml::{LoadError, LoaderOptions, Marker, Node, Span, parse_yaml_with_options};
use serde_json::Value;

use super::error::{ConfigError, Place};
use super::path::{Mark, Marks, Path};
use super::{DEFAULT_YAML, Source};

/// A file longer than this is not a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// So many duplicate keys are reported at once.
const DUPLICATES_MAX: u32 = 64;
/// A duplicate key is renamed to begin with a character from here on (Unicode's private use area),
/// so that reading can go on behind it.
const RENAMED: u32 = 0xE000;

/// Whose text is read.
#[derive(Clone, Debug)]
pub enum Origin {
    File(String),
    Variable(String),
}

impl Origin {
    pub fn whole(&self) -> Place {
        match self {
            Origin::File(file) => Place::File(file.clone()),
            Origin::Variable(name) => Place::Variable(name.clone()),
        }
    }

    fn line(&self, line: usize, column: usize) -> Place {
        match self {
            Origin::File(file) => Place::Line {
                file: file.clone(),
                line,
                column,
            },
            Origin::Variable(name) => Place::Variable(name.clone()),
        }
    }
}

/// A file that was read.
pub struct Document {
    /// Always an object.
    pub value: Value,
    pub marks: Marks,
}

/// The text of a source and what to call it in errors.
pub fn open(source: Source<'_>) -> Result<(String, Origin), ConfigError> {
    let Source::File(path) = source else {
        return Ok((
            DEFAULT_YAML.to_owned(),
            Origin::File("built-in configuration".to_owned()),
        ));
    };
    let origin = Origin::File(path.display().to_string());
    let error = |message: String| ConfigError {
        place: origin.whole(),
        path: String::new(),
        message,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|cause| error(format!("cannot be read: {cause}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(error(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, origin)),
        Err(_) => Err(error("is not UTF-8 text".to_owned())),
    }
}

/// Reads a whole file. `None` if the text is no YAML; `errors` says why.
pub fn read(text: &str, origin: &Origin, errors: &mut Vec<ConfigError>) -> Option<Document> {
    let mut reader = Reader {
        origin,
        errors,
        duplicates: Vec::new(),
        found: Vec::new(),
    };
    let node = reader.load(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let value = reader.convert(&node, &Path::root());
    let mut marks = Marks::new(origin.whole());
    for (path, mark) in reader.found {
        marks.set(path, mark);
    }
    Some(Document { value, marks })
}

/// Reads the value of a variable: any YAML, a bare scalar included. `path` is where it will go.
pub fn read_variable(
    text: &str,
    origin: &Origin,
    path: &Path,
    errors: &mut Vec<ConfigError>,
) -> Option<Value> {
    let mut reader = Reader {
        origin,
        errors,
        duplicates: Vec::new(),
        found: Vec::new(),
    };
    let node = reader.load(&format!(
        "value:\n  {}\n",
        text.trim().replace('\n', "\n  ")
    ))?;
    let value = node.as_mapping()?.get_node("value")?;
    Some(reader.convert(value, path))
}

struct Duplicate {
    key: String,
    first_line: usize,
}

struct Reader<'a> {
    origin: &'a Origin,
    errors: &'a mut Vec<ConfigError>,
    /// The keys that were renamed, in the order of their new first characters.
    duplicates: Vec<Duplicate>,
    found: Vec<(Path, Mark)>,
}

impl Reader<'_> {
    fn load(&mut self, text: &str) -> Option<Node> {
        if let Some(line) = second_document(text) {
            self.error(
                self.origin.line(line, 1),
                "a second document: there can be only one",
            );
            return None;
        }
        let mut text = text.to_owned();
        loop {
            let options = LoaderOptions::default()
                .error_on_duplicate_keys(true)
                .prevent_coercion(true);
            let error = match parse_yaml_with_options(0, &text, options) {
                Ok(node) => return Some(node),
                Err(error) => error,
            };
            if let LoadError::DuplicateKey(pair) = &error
                && let Some(renamed) = self.rename(&text, &pair.key)
            {
                let first_line = pair.prev_key.span().start().map_or(0, Marker::line);
                self.duplicates.push(Duplicate {
                    key: pair.key.as_str().to_owned(),
                    first_line,
                });
                text = renamed;
                continue;
            }
            let (place, message) = self.explain(&error);
            self.error(place, message);
            return None;
        }
    }

    /// The text with the duplicate `key` under a name of its own, of the same length.
    fn rename(&self, text: &str, key: &MarkedScalarNode) -> Option<String> {
        let nth = u32::try_from(self.duplicates.len())
            .ok()
            .filter(|nth| *nth < DUPLICATES_MAX)?;
        let stand_in = char::from_u32(RENAMED + nth)?;
        let quoted = usize::from(!key.may_coerce());
        let at = key.span().start()?.character() + quoted;
        let swap = |(index, c)| if index == at { stand_in } else { c };
        (!key.as_str().is_empty()).then(|| text.chars().enumerate().map(swap).collect())
    }

    fn convert(&mut self, node: &Node, path: &Path) -> Value {
        match node {
            Node::Scalar(scalar) => scalar_value(scalar),
            Node::Mapping(mapping) => self.convert_mapping(mapping, path),
            Node::Sequence(sequence) => sequence
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let path = path.item(index);
                    if let Some(place) = self.start(item) {
                        let mark = Mark {
                            key: place.clone(),
                            value: place,
                        };
                        self.found.push((path.clone(), mark));
                    }
                    self.convert(item, &path)
                })
                .collect(),
        }
    }

    fn convert_mapping(&mut self, mapping: &MarkedMappingNode, path: &Path) -> Value {
        let mut object = serde_json::Map::new();
        for (key, node) in mapping.iter() {
            let place = self.place(key.span());
            if let Some(duplicate) = self.duplicate(key.as_str()) {
                let error = ConfigError {
                    place,
                    path: path.key(&duplicate.key).to_string(),
                    message: format!(
                        "duplicate key, first written in line {}",
                        duplicate.first_line
                    ),
                };
                self.errors.push(error);
                continue;
            }
            let path = path.key(key.as_str());
            let value = self.start(node).unwrap_or(place.clone());
            self.found.push((path.clone(), Mark { key: place, value }));
            object.insert(key.to_string(), self.convert(node, &path));
        }
        Value::Object(object)
    }

    fn duplicate(&self, key: &str) -> Option<&Duplicate> {
        let nth = u32::from(key.chars().next()?).checked_sub(RENAMED)?;
        self.duplicates.get(usize::try_from(nth).ok()?)
    }

    /// Where a value begins; `None` for an empty one, whose mark is that of the next line: it is
    /// then where its key is, or its list.
    fn start(&self, node: &Node) -> Option<Place> {
        match node {
            Node::Scalar(scalar) if scalar.is_empty() && scalar.may_coerce() => None,
            // The mark of a block mapping sits behind its first key.
            Node::Mapping(mapping) => {
                let first_key = mapping.iter().next().map(|(key, _)| self.place(key.span()));
                Some(first_key.map_or(self.place(node.span()), |key| {
                    key.min(self.place(node.span()))
                }))
            }
            Node::Scalar(_) | Node::Sequence(_) => Some(self.place(node.span())),
        }
    }

    fn place(&self, span: &Span) -> Place {
        span.start()
            .map_or(self.origin.whole(), |mark| self.mark(mark))
    }

    fn mark(&self, mark: &Marker) -> Place {
        self.origin.line(mark.line(), mark.column())
    }

    fn explain(&self, error: &LoadError) -> (Place, String) {
        let (mark, message) = match error {
            LoadError::TopLevelMustBeMapping(mark) | LoadError::TopLevelMustBeSequence(mark) => {
                (mark, "expected keys with values, such as `server:`")
            }
            LoadError::UnexpectedAnchor(mark) => (mark, "anchors (&name) are not supported"),
            LoadError::UnexpectedTag(mark) => (mark, "tags (!name) are not supported"),
            LoadError::MappingKeyMustBeScalar(mark) => (mark, "a key must be a single word"),
            LoadError::ScanError(mark, cause) => {
                return (self.mark(mark), format!("not YAML: {}", cause.info()));
            }
            LoadError::DuplicateKey(pair) => {
                let message = format!("duplicate key `{}`", pair.key.as_str());
                return (self.place(pair.key.span()), message);
            }
        };
        (self.mark(mark), message.to_owned())
    }

    fn error(&mut self, place: Place, message: impl Into<String>) {
        self.errors.push(ConfigError {
            place,
            path: String::new(),
            message: message.into(),
        });
    }
}

fn scalar_value(scalar: &MarkedScalarNode) -> Value {
    let text = scalar.as_str();
    if !scalar.may_coerce() {
        return text.into();
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        // What Rust takes for a number is narrower than YAML, but for `inf` and `nan`.
        _ => (text.parse::<u64>().ok().map(Value::from))
            .or_else(|| text.parse::<i64>().ok().map(Value::from))
            .or_else(|| {
                text.parse::<f64>()
                    .ok()
                    .filter(|n| n.is_finite())
                    .map(Value::from)
            })
            .unwrap_or_else(|| text.into()),
    }
}

/// The line in which a second document begins. The parser stops before it without a word, and half
/// of what was written would not count.
fn second_document(text: &str) -> Option<usize> {
    let (mut content, mut ended) = (false, false);
    for (at, line) in text.lines().enumerate() {
        let word = line.split_whitespace().next().unwrap_or("#");
        match line.starts_with(char::is_whitespace) {
            false if word == "---" && (content || ended) => return Some(at + 1),
            // Something may follow on the same line.
            false if word == "---" => content = line.len() > word.len(),
            false if word == "..." => ended = true,
            _ if word.starts_with('#') => {}
            _ if ended => return Some(at + 1),
            _ => content |= !word.starts_with('%'),
        }
    }
    None
}
