//! A stream of message events, folded into one message.

use super::super::compare::grows;
use super::super::events::{self, Event};
use super::super::json::{Fields, array, is_null, items, object, string, text};
use super::{AT_THE_END, CUMULATIVE, TEXTS, TOOLS};

/// The message that this stream is the other form of.
pub(super) fn fold(stream: &[u8]) -> Option<String> {
    let mut events = events::read(stream)?;
    if events.last()?.is_done() {
        events.pop();
    }
    let mut message = None;
    let mut ended = false;
    let mut delta = None;
    let mut blocks: Vec<Block> = Vec::new();
    for event in &events {
        let data = match event.data.is_empty() && event.name == "ping" {
            true => continue,
            false => Fields::read(&event.data)?,
        };
        let kind = kind(event, &data)?;
        if kind == "ping" && data.only(&["type"]) {
            continue;
        }
        if ended || (message.is_none() && kind != "message_start") {
            return None;
        }
        match kind.as_str() {
            "message_start" if message.is_none() && data.only(&["type", "message"]) => {
                message = Some(data.get("message")?.to_owned());
            }
            "content_block_start" if data.only(&["type", "index", "content_block"]) => {
                // Clients count blocks and do not look at the index.
                if delta.is_some() || data.number("index")? != blocks.len() {
                    return None;
                }
                blocks.push(Block::new(data.get("content_block")?)?);
            }
            "content_block_delta" if data.only(&["type", "index", "delta"]) => {
                let block = blocks.get_mut(data.number("index")?)?;
                block.add(&Fields::read(data.get("delta")?)?)?;
            }
            "content_block_stop" if data.only(&["type", "index"]) => {
                blocks.get_mut(data.number("index")?)?.stop()?;
            }
            "message_delta" if delta.is_none() => delta = Some(event.data.as_str()),
            "message_stop" if data.only(&["type"]) && delta.is_some() => ended = true,
            _ => return None,
        }
    }
    let message = message.filter(|_| ended)?;
    let message = Fields::read(&message)?;
    if !items(message.get("content")?)?.is_empty() {
        return None;
    }
    let content = blocks
        .into_iter()
        .map(Block::json)
        .collect::<Option<Vec<_>>>()?;
    let message = message.with("content", array(content));
    Some(end(message, &Fields::read(delta?)?)?.json())
}

/// The kind of an event, which must be its name: clients skip events without one.
fn kind(event: &Event, data: &Fields<'_>) -> Option<String> {
    let kind = text(data.get("type")?)?;
    (event.name == kind).then_some(kind)
}

/// The message with what its end says.
fn end<'a>(mut message: Fields<'a>, event: &Fields<'_>) -> Option<Fields<'a>> {
    for (key, value) in event.iter() {
        match key {
            "type" => {}
            "delta" => {
                let delta = Fields::read(value)?;
                delta.some("stop_reason")?;
                for (key, value) in delta.iter() {
                    late(&mut message, key, value, AT_THE_END)?;
                }
            }
            "usage" => {
                let usage = message.get("usage")?.to_owned();
                let mut usage = Fields::read(&usage)?;
                for (key, value) in Fields::read(value)?.iter() {
                    count(&mut usage, key, value)?;
                }
                message.set("usage", usage.json());
            }
            "context_management" => late(&mut message, key, value, &[key])?,
            _ => return None,
        }
    }
    event.get("delta").and(event.get("usage"))?;
    Some(message)
}

/// A count that the end gives. It replaces that of the begin, unless it is null, and must have all
/// details of it.
fn count(usage: &mut Fields<'_>, key: &str, value: &str) -> Option<()> {
    let before = usage.some(key);
    if !CUMULATIVE.contains(&key) {
        return late(usage, key, value, &[]);
    }
    if is_null(value) && before.is_some() {
        return Some(());
    }
    if let Some(before) = before
        && !grows(&object([(key, before)]), &object([(key, value)]))
    {
        return None;
    }
    usage.set(key, value.to_owned());
    Some(())
}

/// A member that the end of a message adds: known, or held open by a null at the begin. It must not
/// contradict the begin, nor take back what it said.
fn late(object: &mut Fields<'_>, key: &str, value: &str, known: &[&str]) -> Option<()> {
    match object.get(key).map(str::to_owned) {
        Some(before) if before == value => Some(()),
        Some(before) if !is_null(&before) => None,
        None if !known.contains(&key) => None,
        _ => {
            object.set(key, value.to_owned());
            Some(())
        }
    }
}

/// One block in the making.
struct Block {
    start: Fields<'static>,
    kind: String,
    /// The texts that came so far, by member.
    texts: Vec<(&'static str, String)>,
    citations: Vec<String>,
    input: String,
    stopped: bool,
}

impl Block {
    fn new(start: &str) -> Option<Block> {
        let mut owned = Fields::default();
        for (key, value) in Fields::read(start)?.iter() {
            owned.set(key, value.to_owned());
        }
        Some(Block {
            kind: text(owned.get("type")?)?,
            start: owned,
            texts: Vec::new(),
            citations: Vec::new(),
            input: String::new(),
            stopped: false,
        })
    }

    fn stop(&mut self) -> Option<()> {
        (!std::mem::replace(&mut self.stopped, true)).then_some(())
    }

    fn add(&mut self, delta: &Fields<'_>) -> Option<()> {
        let kind = text(delta.get("type")?)?;
        let carries = |member| delta.only(&["type", member]).then(|| delta.get(member))?;
        if self.stopped {
            return None;
        }
        match kind.as_str() {
            "citations_delta" if self.kind == "text" => {
                self.citations.push(carries("citation")?.to_owned());
            }
            "input_json_delta" if TOOLS.contains(&&*self.kind) => {
                self.input.push_str(&text(carries("partial_json")?)?);
            }
            _ => {
                let piece = TEXTS
                    .iter()
                    .find(|piece| piece.block == self.kind && piece.delta == kind)?;
                let more = text(carries(piece.carries)?)?;
                let known = self.texts.iter_mut().find(|(key, _)| *key == piece.member);
                match known {
                    Some(_) if piece.member == "signature" => return None,
                    Some((_, text)) => text.push_str(&more),
                    None => self.texts.push((piece.member, more)),
                }
            }
        }
        Some(())
    }

    fn json(self) -> Option<String> {
        let mut block = self.start;
        for (member, more) in self.texts {
            let before = match block.some(member) {
                Some(before) => text(before)?,
                None => String::new(),
            };
            if member == "signature" && !before.is_empty() {
                return None;
            }
            block.set(member, string(&(before + &more)));
        }
        if !self.citations.is_empty() {
            let before = match block.some("citations") {
                Some(before) => items(before)?.into_iter().map(str::to_owned).collect(),
                None => Vec::new(),
            };
            block.set("citations", array(before.into_iter().chain(self.citations)));
        }
        let input = self.input.trim_matches([' ', '\t', '\n', '\r']);
        if !input.is_empty() {
            // What goes on behind the object would stand beside it in the block.
            Fields::read(input)?;
            if !Fields::read(block.get("input")?)?.is_empty() {
                return None;
            }
            block.set("input", input.to_owned());
        }
        self.stopped.then(|| block.json())
    }
}
