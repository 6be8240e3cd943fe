//! A second opinion on the events of a stream: the WHATWG rules once more, over the whole body and as
//! plainly as possible.

#[derive(Debug, Default)]
pub struct Events {
    /// Name and data of each.
    pub events: Vec<(Vec<u8>, Vec<u8>)>,
    /// Fields of an event came at the end without a blank line, or part of a line.
    pub open: bool,
}

pub fn events(body: &[u8]) -> Events {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut found = Events::default();
    let (mut name, mut data): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
    let mut line = Vec::new();
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' && bytes.peek() == Some(&b'\n') {
                    bytes.next();
                }
            }
            byte => {
                line.push(byte);
                continue;
            }
        }
        let whole = std::mem::take(&mut line);
        if whole.is_empty() {
            found.open = false;
            let (name, data) = (std::mem::take(&mut name), data.take().unwrap_or_default());
            // Without a name, an event without data is none.
            if !data.is_empty() || !name.is_empty() {
                found.events.push((name, data));
            }
            continue;
        }
        if whole[0] == b':' {
            continue;
        }
        found.open = true;
        let colon = whole.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(colon) => (&whole[..colon], &whole[colon + 1..]),
            None => (&whole[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = value.to_vec(),
            b"data" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            _ => {}
        }
    }
    found.open |= !line.is_empty();
    found
}
