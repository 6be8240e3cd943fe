//! OpenAI responses. The last event carries the whole answer, so that a stream becomes JSON by
//! taking it out, once it is proved that no other event says more.

use super::events;
use super::json::{Fields, array, items, object, string, text};
use super::{same, stream_bytes_max};

mod fold;

/// A text that comes in pieces: `{event}.delta` with `delta`, then `{event}.done` with all of it.
struct Text {
    event: &'static str,
    /// The item's array of parts and the name of a position in it; `None`: the text is the item's.
    part: Option<(&'static str, &'static str)>,
    /// Where the text is, in the part or the item, and in the last event.
    member: &'static str,
}

const CONTENT: Option<(&str, &str)> = Some(("content", "content_index"));
const SUMMARY: Option<(&str, &str)> = Some(("summary", "summary_index"));

const OUTPUT_TEXT: Text = Text {
    event: "response.output_text",
    part: CONTENT,
    member: "text",
};
const REFUSAL: Text = Text {
    event: "response.refusal",
    part: CONTENT,
    member: "refusal",
};
const REASONING_TEXT: Text = Text {
    event: "response.reasoning_text",
    part: CONTENT,
    member: "text",
};
const REASONING_SUMMARY: Text = Text {
    event: "response.reasoning_summary_text",
    part: SUMMARY,
    member: "text",
};
const FUNCTION_ARGUMENTS: Text = Text {
    event: "response.function_call_arguments",
    part: None,
    member: "arguments",
};
const MCP_ARGUMENTS: Text = Text {
    event: "response.mcp_call_arguments",
    part: None,
    member: "arguments",
};
const TOOL_INPUT: Text = Text {
    event: "response.custom_tool_call_input",
    part: None,
    member: "input",
};
const CODE: Text = Text {
    event: "response.code_interpreter_call_code",
    part: None,
    member: "code",
};

const TEXTS: &[&Text] = &[
    &OUTPUT_TEXT,
    &REFUSAL,
    &REASONING_TEXT,
    &REASONING_SUMMARY,
    &FUNCTION_ARGUMENTS,
    &MCP_ARGUMENTS,
    &TOOL_INPUT,
    &CODE,
];

/// See [`super::to_json`].
pub(super) fn to_json(stream: &[u8]) -> Option<Vec<u8>> {
    // The last event stands as it came: it must not be readable in two ways.
    let json = fold::fold(stream)?;
    same(&json, &json).then(|| json.into_bytes())
}

/// See [`super::to_stream`].
pub(super) fn to_stream(json: &str) -> Option<Vec<u8>> {
    let stream = expand(json)?;
    same(&fold::fold(&stream)?, json).then_some(stream)
}

/// Events in the making, numbered.
struct Writer {
    out: Vec<u8>,
    bytes_max: usize,
    events: usize,
}

impl Writer {
    /// `None` if the events are too long together: all those about an item repeat its id.
    fn write(&mut self, kind: &str, rest: &Fields<'_>) -> Option<()> {
        let (quoted, number) = (string(kind), self.events.to_string());
        self.events += 1;
        let mut event = object([("type", quoted.as_str()), ("sequence_number", &number)]);
        for (key, value) in rest.iter() {
            event.set(key, value);
        }
        events::write_named(&mut self.out, kind, &event.json());
        (self.out.len() <= self.bytes_max).then_some(())
    }

    fn response(&mut self, kind: &str, response: &str) -> Option<()> {
        self.write(kind, &object([("response", response)]))
    }
}

fn expand(json: &str) -> Option<Vec<u8>> {
    let response = Fields::read(json)?;
    if !response.says("object", "response") || !response.says("status", "completed") {
        return None;
    }
    let output = items(response.get("output")?)?;
    let begun = response
        .clone()
        .with("status", "\"in_progress\"")
        .with("output", "[]")
        .with_if_there("usage", "null")
        .with_if_there("completed_at", "null")
        .json();
    let mut writer = Writer {
        out: Vec::new(),
        bytes_max: stream_bytes_max(json),
        events: 0,
    };
    writer.response("response.created", &begun)?;
    writer.response("response.in_progress", &begun)?;
    for (index, item) in output.into_iter().enumerate() {
        Item::new(&mut writer, &index.to_string(), item)?.expand()?;
    }
    writer.response("response.completed", json)?;
    Some(writer.out)
}

/// One item of the output on its way into events.
struct Item<'a> {
    writer: &'a mut Writer,
    index: &'a str,
    text: &'a str,
    item: Fields<'a>,
}

impl<'a> Item<'a> {
    fn new(writer: &'a mut Writer, index: &'a str, text: &'a str) -> Option<Item<'a>> {
        Some(Item {
            writer,
            index,
            text,
            item: Fields::read(text)?,
        })
    }

    fn expand(mut self) -> Option<()> {
        let kind = text(self.item.get("type")?)?;
        // Of a kind that nobody knows it is not said how it begins: it comes whole, twice.
        let hollow: &[(&str, &str)] = match &*kind {
            "message" => &[("content", "[]")],
            "reasoning" => &[("summary", "[]"), ("content", "[]")],
            "function_call" => &[("arguments", "\"\"")],
            "custom_tool_call" => &[("input", "\"\"")],
            _ => &[],
        };
        let mut added = self.item.clone();
        for (key, value) in hollow {
            if added.some(key).is_some() {
                added.set(key, *value);
            }
        }
        if !hollow.is_empty() && added.says("status", "completed") {
            added.set("status", "\"in_progress\"");
        }
        self.whole("response.output_item.added", &added.json())?;
        match &*kind {
            "message" => self.parts("content")?,
            "reasoning" => {
                self.parts("summary")?;
                self.parts("content")?;
            }
            "function_call" => self.text(&FUNCTION_ARGUMENTS, &self.item.clone(), None)?,
            "custom_tool_call" => self.text(&TOOL_INPUT, &self.item.clone(), None)?,
            _ => {}
        }
        let done = self.text.to_owned();
        self.whole("response.output_item.done", &done)
    }

    fn whole(&mut self, kind: &str, item: &str) -> Option<()> {
        let event = object([("output_index", self.index), ("item", item)]);
        self.writer.write(kind, &event)
    }

    /// What all events about a part of this item say.
    fn about(&self, position: Option<(&str, &str)>) -> Option<Fields<'static>> {
        let mut event = Fields::default();
        event.set("item_id", self.item.some("id")?.to_owned());
        event.set("output_index", self.index.to_owned());
        if let Some((key, position)) = position {
            event.set(key, position.to_owned());
        }
        Some(event)
    }

    fn parts(&mut self, array: &str) -> Option<()> {
        let Some(parts) = self.item.some(array).map(str::to_owned) else {
            return Some(());
        };
        for (position, part) in items(&parts)?.into_iter().enumerate() {
            self.part(array, &position.to_string(), part)?;
        }
        Some(())
    }

    fn part(&mut self, array: &str, position: &str, whole: &str) -> Option<()> {
        let (key, family) = match array {
            "summary" => ("summary_index", "response.reasoning_summary_part"),
            _ => ("content_index", "response.content_part"),
        };
        let part = Fields::read(whole)?;
        let rule = match (array, &*text(part.get("type")?)?) {
            ("content", "output_text") => Some(&OUTPUT_TEXT),
            ("content", "refusal") => Some(&REFUSAL),
            ("content", "reasoning_text") => Some(&REASONING_TEXT),
            ("summary", "summary_text") => Some(&REASONING_SUMMARY),
            ("content", _) => None,
            _ => return None,
        };
        let mut added = part.clone();
        if let Some(rule) = rule {
            for (key, value) in [
                (rule.member, "\"\""),
                ("annotations", "[]"),
                ("logprobs", "[]"),
            ] {
                if added.some(key).is_some() {
                    added.set(key, value);
                }
            }
        }
        let about = self.about(Some((key, position)))?;
        let event = about.clone().with("part", added.json());
        self.writer.write(&format!("{family}.added"), &event)?;
        if let Some(rule) = rule {
            self.text(rule, &part, Some(position))?;
        }
        self.writer
            .write(&format!("{family}.done"), &about.with("part", whole))
    }

    /// The events of one text: a piece, if there is one, its annotations, and its end.
    fn text(&mut self, rule: &Text, holder: &Fields<'_>, position: Option<&str>) -> Option<()> {
        let value = holder.get(rule.member)?;
        let mut about = self.about(rule.part.map(|(_, key)| key).zip(position))?;
        let annotations = holder.some("annotations").unwrap_or("[]");
        if rule.event == OUTPUT_TEXT.event {
            about.set(
                "logprobs",
                holder.some("logprobs").unwrap_or("[]").to_owned(),
            );
        }
        if !text(value)?.is_empty() {
            let event = about.clone().with("delta", value);
            self.writer
                .write(&format!("{}.delta", rule.event), &event)?;
        }
        if rule.event == OUTPUT_TEXT.event {
            for (number, annotation) in items(annotations)?.into_iter().enumerate() {
                let event = about
                    .clone()
                    .without(&["logprobs"])
                    .with("annotation_index", number.to_string())
                    .with("annotation", annotation);
                self.writer
                    .write("response.output_text.annotation.added", &event)?;
            }
        }
        self.writer.write(
            &format!("{}.done", rule.event),
            &about.with(rule.member, value),
        )
    }
}

/// An array of the items that came one by one, if they are all there.
fn rebuilt(items: &std::collections::BTreeMap<usize, &str>) -> Option<String> {
    let gapless = items.keys().copied().eq(0..items.len());
    gapless.then(|| array(items.values()))
}
