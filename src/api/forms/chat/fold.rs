//! A stream of chat chunks, folded into one answer.

use std::collections::BTreeMap;

use super::super::compare::grows;
use super::super::events;
use super::super::json::{Fields, array, is_null, items, number, object, string, text};
use super::super::merge::{Merge, Rule};
use super::{CHUNK, OBJECT};

/// Members of a chunk that clients read from any chunk, so that all must have them.
const IN_ALL: &[&str] = &[
    "id",
    "created",
    "model",
    "system_fingerprint",
    "service_tier",
];

/// The answer that this stream is the other form of. `counted`: it must have usage, in its last
/// chunk; else it must have none.
pub(super) fn fold(stream: &[u8], counted: bool) -> Option<String> {
    let events = events::read(stream)?;
    let (done, events) = events.split_last()?;
    if !done.is_done() || events.iter().any(|event| !event.name.is_empty()) {
        return None;
    }
    let chunks: Vec<Fields<'_>> = events
        .iter()
        .map(|event| Fields::read(&event.data))
        .collect::<Option<_>>()?;
    let mut answer = head(&chunks)?;
    answer.set("choices", choices(&chunks)?);
    if let Some(usage) = usage(&chunks, counted)? {
        answer.set("usage", usage);
    }
    Some(answer.json())
}

/// What all chunks say alike, or the first one alone.
fn head<'a>(chunks: &[Fields<'a>]) -> Option<Fields<'a>> {
    let first = chunks.first()?;
    let apart = ["object", "choices", "usage", "obfuscation"];
    let mut moderation = Merge::default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for chunk in chunks {
        if !chunk.says("object", CHUNK) {
            return None;
        }
        for (key, value) in chunk.iter().filter(|(key, _)| !apart.contains(key)) {
            match first.get(key) {
                _ if key == "moderation" => moderation.add(key, Rule::Same, value)?,
                Some(same) if same == value => *seen.entry(key).or_default() += 1,
                _ => return None,
            }
        }
    }
    let everywhere = chunks.len();
    let known = |key: &&str| seen.get(key).is_none_or(|count| *count == everywhere);
    let alike = seen
        .values()
        .all(|count| *count == everywhere || *count == 1);
    if !alike || !IN_ALL.iter().all(known) {
        return None;
    }
    let mut head = first
        .clone()
        .without(&["choices", "usage", "obfuscation", "moderation"])
        .with("object", string(OBJECT));
    for (key, value) in moderation.members() {
        head.set(key, value);
    }
    Some(head)
}

/// Bytes of the last counts that may be read to compare all earlier ones with them. Streams that
/// count in each chunk have a few hundred bytes of it in a few thousand chunks.
const USAGE_BYTES_READ_MAX: usize = 64 << 20;

/// Counts are cumulative: the last chunk's hold, and those before must not have counted anything
/// else.
fn usage(chunks: &[Fields<'_>], counted: bool) -> Option<Option<String>> {
    let (last, earlier) = chunks.split_last()?;
    if !counted {
        let none = chunks.iter().all(|chunk| chunk.some("usage").is_none());
        return none.then_some(None);
    }
    let text = last.some("usage")?;
    let usage = Fields::read(text)?;
    let mut read = 0_usize;
    for counts in earlier.iter().filter_map(|chunk| chunk.some("usage")) {
        read = read.saturating_add(text.len());
        if read > USAGE_BYTES_READ_MAX || !grows(&Fields::read(counts)?, &usage) {
            return None;
        }
    }
    Some(Some(text.to_owned()))
}

fn choices(chunks: &[Fields<'_>]) -> Option<String> {
    let mut choices: BTreeMap<usize, Choice> = BTreeMap::new();
    for chunk in chunks {
        for choice in items(chunk.get("choices")?)? {
            let choice = Fields::read(choice)?;
            choices
                .entry(choice.number("index")?)
                .or_default()
                .add(&choice)?;
        }
    }
    in_order(choices)?
        .map(|(index, choice)| choice.json(index))
        .collect::<Option<Vec<_>>>()
        .map(array)
}

/// The values of a map if its keys are 0, 1, 2 and so on.
fn in_order<T>(map: BTreeMap<usize, T>) -> Option<impl Iterator<Item = (usize, T)>> {
    let gapless = map.keys().copied().eq(0..map.len());
    gapless.then(|| map.into_iter())
}

/// One choice in the making.
#[derive(Default)]
struct Choice {
    around: Merge,
    finish: Merge,
    logprobs: Option<Merge>,
    message: Merge,
    calls: BTreeMap<usize, Call>,
    function_call: Option<Merge>,
    details: Details,
}

impl Choice {
    fn add(&mut self, choice: &Fields<'_>) -> Option<()> {
        for (key, value) in choice.iter() {
            match key {
                "index" => {}
                // It is made of the deltas, and would take the place of all they say.
                "message" => return None,
                "delta" => self.add_delta(&Fields::read(value)?)?,
                "finish_reason" => self.finish.add(key, Rule::Same, value)?,
                "logprobs" if !is_null(value) => {
                    let logprobs = self.logprobs.get_or_insert_default();
                    for (key, value) in Fields::read(value)?.iter() {
                        let rule = match key {
                            "content" | "refusal" => Rule::List,
                            _ => Rule::Once,
                        };
                        logprobs.add(key, rule, value)?;
                    }
                }
                _ => self.around.add(key, Rule::Once, value)?,
            }
        }
        choice.get("delta").map(|_| ())
    }

    fn add_delta(&mut self, delta: &Fields<'_>) -> Option<()> {
        for (key, value) in delta.iter() {
            let rule = match key {
                "role" => Rule::Same,
                "content" | "refusal" | "reasoning_content" | "reasoning" => Rule::Text,
                "annotations" => Rule::List,
                "tool_calls" if !is_null(value) => {
                    let calls = items(value)?;
                    for call in &calls {
                        let call = Fields::read(call)?;
                        self.calls
                            .entry(call.number("index")?)
                            .or_default()
                            .add(&call)?;
                    }
                    self.message.add(key, Rule::List, "[]")?;
                    continue;
                }
                "function_call" if !is_null(value) => {
                    let function = self.function_call.get_or_insert_default();
                    add_function(function, &Fields::read(value)?)?;
                    self.message.add(key, Rule::Same, "{}")?;
                    continue;
                }
                "reasoning_details" if !is_null(value) => {
                    self.details.add(value)?;
                    self.message.add(key, Rule::List, "[]")?;
                    continue;
                }
                "tool_calls" | "function_call" | "reasoning_details" => Rule::Same,
                _ => Rule::Once,
            };
            self.message.add(key, rule, value)?;
        }
        Some(())
    }

    fn json(self, index: usize) -> Option<String> {
        let mut message = Fields::default();
        for (key, value) in self.message.members() {
            message.set(key, value);
        }
        if !self.calls.is_empty() {
            let calls = in_order(self.calls)?.map(|(_, call)| call.json());
            message.set("tool_calls", array(calls));
        }
        if let Some(function) = &self.function_call {
            message.set("function_call", merged(function).json());
        }
        if let Some(details) = self.details.json()? {
            message.set("reasoning_details", details);
        }
        // A message has content, be it null: clients of the JSON form may rely on it.
        if message.get("content").is_none() {
            message.set("content", "null");
        }
        let message = message.json();
        let index = index.to_string();
        let mut choice = object([("index", &index), ("message", &message)]);
        for (key, value) in self.around.members().chain(self.finish.members()) {
            choice.set(key, value);
        }
        if let Some(logprobs) = &self.logprobs {
            choice.set("logprobs", merged(logprobs).json());
        }
        // A choice without an end is not one.
        let ended = !text(choice.some("finish_reason")?)?.is_empty();
        ended.then(|| choice.json())
    }
}

/// One tool call in the making. Its index says where it stands, and a message has no need for it.
#[derive(Default)]
struct Call {
    members: Merge,
    function: Option<Merge>,
}

impl Call {
    fn add(&mut self, call: &Fields<'_>) -> Option<()> {
        for (key, value) in call.iter() {
            match key {
                "index" => {}
                "id" => self.members.add(key, Rule::Whole, value)?,
                "type" => self.members.add(key, Rule::Same, value)?,
                "function" if !is_null(value) => {
                    let function = self.function.get_or_insert_default();
                    add_function(function, &Fields::read(value)?)?;
                    self.members.add(key, Rule::Same, "{}")?;
                }
                "function" => self.members.add(key, Rule::Same, value)?,
                _ => self.members.add(key, Rule::Once, value)?,
            }
        }
        Some(())
    }

    fn json(self) -> String {
        let mut call = merged(&self.members);
        if let Some(function) = &self.function {
            call.set("function", merged(function).json());
        }
        call.json()
    }
}

fn add_function(function: &mut Merge, piece: &Fields<'_>) -> Option<()> {
    for (key, value) in piece.iter() {
        let rule = match key {
            "name" => Rule::Whole,
            "arguments" => Rule::Text,
            _ => Rule::Once,
        };
        function.add(key, rule, value)?;
    }
    Some(())
}

fn merged(merge: &Merge) -> Fields<'static> {
    let mut fields = Fields::default();
    for (key, value) in merge.members() {
        fields.set(key, value);
    }
    fields
}

/// `reasoning_details`: pieces with the same `index` are one detail. Without any index they must
/// all come at once.
#[derive(Default)]
struct Details {
    merged: Vec<Merge>,
    places: BTreeMap<usize, usize>,
    whole: Vec<String>,
    deltas: usize,
}

impl Details {
    fn add(&mut self, value: &str) -> Option<()> {
        let details = items(value)?;
        self.deltas += usize::from(!details.is_empty());
        for text in details {
            let detail = Fields::read(text)?;
            let Some(index) = detail.get("index") else {
                self.whole.push(text.to_owned());
                continue;
            };
            let next = self.merged.len();
            let place = *self.places.entry(number(index)?).or_insert(next);
            if place == next {
                self.merged.push(Merge::default());
            }
            let merge = self.merged.get_mut(place)?;
            for (key, value) in detail.iter() {
                let rule = match key {
                    "text" | "summary" => Rule::Text,
                    "index" | "type" | "format" | "id" => Rule::Same,
                    "signature" | "data" => Rule::Whole,
                    _ => Rule::Once,
                };
                merge.add(key, rule, value)?;
            }
        }
        Some(())
    }

    fn json(self) -> Option<Option<String>> {
        match (self.merged.is_empty(), self.whole.is_empty()) {
            (true, true) => Some(None),
            (true, false) => (self.deltas == 1).then(|| Some(array(self.whole))),
            (false, true) => {
                let details = self.merged.iter().map(|detail| merged(detail).json());
                Some(Some(array(details)))
            }
            (false, false) => None,
        }
    }
}
