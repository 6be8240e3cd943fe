//! A stream of response events: its last event, once no other says more.

use std::collections::{BTreeMap, BTreeSet};

use super::super::compare::{covers, grows, is_nothing};
use super::super::events;
use super::super::json::{Fields, items, text};
use super::{OUTPUT_TEXT, TEXTS, Text, rebuilt, same};

/// The response that this stream is the other form of.
pub(super) fn fold(stream: &[u8]) -> Option<String> {
    let mut events = events::read(stream)?;
    if events.last()?.is_done() {
        events.pop();
    }
    let events = events
        .iter()
        .map(|event| {
            let data = Fields::read(&event.data)?;
            let kind = text(data.get("type")?)?;
            (event.name.is_empty() || event.name == kind).then_some((kind, data))
        })
        .collect::<Option<Vec<_>>>()?;
    let ((kind, last), events) = events.split_last()?;
    if kind != "response.completed" || !last.only(&["type", "sequence_number", "response"]) {
        return None;
    }
    let mut done: BTreeMap<usize, &str> = BTreeMap::new();
    for (kind, event) in events {
        if kind == "response.output_item.done" {
            let item = event.get("item")?;
            if done.insert(event.number("output_index")?, item).is_some() {
                return None;
            }
        }
    }
    let mut response = Fields::read(last.get("response")?)?;
    if response.some("output").is_none() {
        response.set("output", rebuilt(&done)?);
    }
    let json = response.json();
    let output = items(response.get("output")?)?;
    let agree = |(index, item): (usize, &&str)| done.get(&index).is_some_and(|one| same(one, item));
    if !response.says("status", "completed")
        || output.len() != done.len()
        || !output.iter().enumerate().all(agree)
    {
        return None;
    }
    let output = output
        .into_iter()
        .map(Fields::read)
        .collect::<Option<Vec<_>>>()?;
    let mut proof = Proof {
        response: &response,
        output: &output,
        parts: output.iter().map(Parts::of).collect(),
        texts: BTreeMap::new(),
        annotations: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    for (kind, event) in events {
        proof.event(kind, event)?;
    }
    proof.texts()?;
    proof.annotations()?;
    Some(json)
}

/// The parts of an item.
struct Parts<'a> {
    content: Vec<&'a str>,
    summary: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(item: &'a Fields<'a>) -> Parts<'a> {
        // Items of an unknown kind may have text there.
        let parts = |key| item.get(key).and_then(items).unwrap_or_default();
        Parts {
            content: parts("content"),
            summary: parts("summary"),
        }
    }

    fn get(&self, array: &str, position: usize) -> Option<&'a str> {
        let parts = match array {
            "summary" => &self.summary,
            _ => &self.content,
        };
        parts.get(position).copied()
    }
}

/// A text by its item, event and position.
type Place<'a> = (usize, &'a str, usize);

/// Proves that everything the events say is in the response.
struct Proof<'a> {
    response: &'a Fields<'a>,
    output: &'a [Fields<'a>],
    parts: Vec<Parts<'a>>,
    /// The pieces of each text, and the log probabilities that came with them.
    texts: BTreeMap<Place<'static>, (String, Vec<String>)>,
    /// The annotations that were added, by item and part, and by their number.
    annotations: BTreeMap<(usize, usize), BTreeMap<usize, String>>,
    /// What may come but once, which also bounds how often a part is read.
    seen: BTreeSet<(usize, usize, String)>,
}

impl<'a> Proof<'a> {
    fn event(&mut self, kind: &str, event: &Fields<'_>) -> Option<()> {
        let event = event
            .clone()
            .without(&["type", "sequence_number", "obfuscation"]);
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                let begun = Fields::read(event.get("response")?)?;
                let known = self.first(0, 0, kind)
                    && begun.get("id") == self.response.get("id")
                    && grows(&begun, self.response);
                (known && event.only(&["response"])).then_some(())
            }
            "response.output_item.added" => {
                let index = event.number("output_index")?;
                let item = self.output.get(index)?;
                let begun = Fields::read(event.get("item")?)?;
                let known = self.first(index, 0, kind)
                    && begun.get("type") == item.get("type")
                    && grows(&begun, item);
                (known && event.only(&["output_index", "item"])).then_some(())
            }
            // Compared before.
            "response.output_item.done" => event.only(&["output_index", "item"]).then_some(()),
            "response.content_part.added" | "response.content_part.done" => {
                self.part(kind, &event, ("content", "content_index"))
            }
            "response.reasoning_summary_part.added" | "response.reasoning_summary_part.done" => {
                self.part(kind, &event, ("summary", "summary_index"))
            }
            "response.output_text.annotation.added" => self.annotation(&event),
            "keepalive" | "ping" => event.is_empty().then_some(()),
            _ => self.text_or_step(kind, &event),
        }
    }

    /// The item that an event is about.
    fn item(&self, event: &Fields<'_>) -> Option<(usize, &'a Fields<'a>)> {
        let index = event.number("output_index")?;
        let item = self.output.get(index)?;
        (event.get("item_id") == item.get("id")).then_some((index, item))
    }

    /// The part of an item that an event is about, as text.
    fn holder(
        &self,
        event: &Fields<'_>,
        part: Option<(&str, &str)>,
    ) -> Option<(usize, usize, Fields<'a>)> {
        let (index, item) = self.item(event)?;
        let Some((array, position)) = part else {
            return Some((index, 0, item.clone()));
        };
        let position = event.number(position)?;
        let part = self.parts.get(index)?.get(array, position)?;
        Some((index, position, Fields::read(part)?))
    }

    /// True if this event did not come before.
    fn first(&mut self, index: usize, position: usize, kind: &str) -> bool {
        self.seen.insert((index, position, kind.to_owned()))
    }

    fn part(&mut self, kind: &str, event: &Fields<'_>, part: (&str, &str)) -> Option<()> {
        let (index, position, whole) = self.holder(event, Some(part))?;
        if !self.first(index, position, kind) {
            return None;
        }
        let said = event.get("part")?;
        let known = match kind.ends_with(".done") {
            true => covers(&whole.json(), said),
            false => {
                let begun = Fields::read(said)?;
                begun.get("type") == whole.get("type") && grows(&begun, &whole)
            }
        };
        let (_, position) = part;
        (known && event.only(&["item_id", "output_index", position, "part"])).then_some(())
    }

    fn annotation(&mut self, event: &Fields<'_>) -> Option<()> {
        let (index, _) = self.item(event)?;
        let place = (index, event.number("content_index")?);
        let annotation = event.get("annotation")?.to_owned();
        let number = event.number("annotation_index")?;
        let annotations = self.annotations.entry(place).or_default();
        if annotations.insert(number, annotation).is_some() {
            return None;
        }
        let allowed = [
            "item_id",
            "output_index",
            "content_index",
            "annotation_index",
            "annotation",
        ];
        event.only(&allowed).then_some(())
    }

    /// All annotations that were added are those of the response.
    fn annotations(&self) -> Option<()> {
        for ((index, position), annotations) in &self.annotations {
            let part = Fields::read(self.parts.get(*index)?.get("content", *position)?)?;
            let whole = items(part.get("annotations")?)?;
            let known = |(number, one): (&usize, &String)| {
                whole.get(*number).is_some_and(|whole| same(whole, one))
            };
            if !annotations.iter().all(known) {
                return None;
            }
        }
        Some(())
    }

    /// A piece of a text, its end, or an event that says only that something goes on.
    fn text_or_step(&mut self, kind: &str, event: &Fields<'_>) -> Option<()> {
        let (family, step) = kind.rsplit_once('.')?;
        match (TEXTS.iter().find(|text| text.event == family), step) {
            (Some(rule), "delta") => self.delta(rule, event),
            (Some(rule), "done") => self.done(kind, rule, event),
            _ => {
                let bare =
                    kind.starts_with("response.") && event.only(&["item_id", "output_index"]);
                self.item(event).filter(|_| bare).map(|_| ())
            }
        }
    }

    fn delta(&mut self, rule: &'static Text, event: &Fields<'_>) -> Option<()> {
        // The part itself is looked at once, at the end.
        let (index, _) = self.item(event)?;
        let position = match rule.part {
            Some((_, key)) => event.number(key)?,
            None => 0,
        };
        let place = (index, rule.event, position);
        let (text, logprobs) = self.texts.entry(place).or_default();
        text.push_str(&super::text(event.get("delta")?)?);
        if let Some(more) = event.some("logprobs") {
            logprobs.extend(items(more)?.into_iter().map(str::to_owned));
        }
        event.only(&allowed(rule, "delta")).then_some(())
    }

    fn done(&mut self, kind: &str, rule: &Text, event: &Fields<'_>) -> Option<()> {
        let (index, position, holder) = self.holder(event, rule.part)?;
        if !self.first(index, position, kind) {
            return None;
        }
        let whole = text(event.get(rule.member)?)? == text(holder.get(rule.member)?)?;
        let logprobs = event.some("logprobs").unwrap_or("[]");
        // `name`, of the function, comes with its arguments only.
        let named = match event.get("name") {
            None => true,
            name => rule.part.is_none() && name == holder.get("name"),
        };
        let known = event
            .clone()
            .without(&["name"])
            .only(&allowed(rule, rule.member));
        (whole && named && known && covers_logprobs(&holder, logprobs)).then_some(())
    }

    /// All pieces together are the texts of the response.
    fn texts(&self) -> Option<()> {
        for ((index, family, position), (joined, logprobs)) in &self.texts {
            let rule = TEXTS.iter().find(|text| text.event == *family)?;
            let item = self.output.get(*index)?;
            let holder = match rule.part {
                None => item.clone(),
                Some((array, _)) => Fields::read(self.parts.get(*index)?.get(array, *position)?)?,
            };
            let logprobs = super::array(logprobs);
            if text(holder.get(rule.member)?)? != *joined || !covers_logprobs(&holder, &logprobs) {
                return None;
            }
        }
        Some(())
    }
}

fn allowed<'a>(rule: &Text, carries: &'a str) -> [&'a str; 5] {
    let position = rule.part.map_or("output_index", |(_, key)| key);
    let logprobs = match rule.event == OUTPUT_TEXT.event {
        true => "logprobs",
        false => "output_index",
    };
    ["item_id", "output_index", position, logprobs, carries]
}

/// True if the log probabilities of a text are those of its part, or none.
fn covers_logprobs(part: &Fields<'_>, said: &str) -> bool {
    is_nothing(said) || covers(part.get("logprobs").unwrap_or("null"), said)
}
