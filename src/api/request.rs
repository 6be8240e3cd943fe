//! Reading facts off a canonical request body.

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::texts::Texts;
use super::wire::{IgnoredObject, Object, Text, text};
use super::{Bypass, Facts, Form, Place, Variant};
use crate::key::canonical::Canonical;

/// How an id of a file at the provider shows in canonical JSON. Quotes inside of strings are
/// escaped, so that no prompt can look like it.
const FILE_ID: &[u8] = b"\"file_id\":";

/// True for models that answer from the web without being told to: OpenRouter's `:online`, OpenAI's
/// search models, Perplexity's Sonar.
fn searches_web(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    model.ends_with(":online")
        || name.contains("-search-preview")
        || name.contains("-search-api")
        || name == "sonar"
        || name.starts_with("sonar-")
}

/// A request in the course of being read: facts so far, and the first reason against caching.
pub(super) struct Request<'a> {
    body: &'a Canonical,
    facts: Facts,
}

impl<'a> Request<'a> {
    /// Reads what all APIs share: the model.
    pub(super) fn new(body: &'a Canonical, place: &Place<'_>) -> Request<'a> {
        let model = match body.get("model") {
            None => place.model.map(str::to_owned),
            Some(model) => serde_json::from_slice::<String>(model).ok(),
        };
        Request::for_model(body, model)
    }

    /// The same for an API whose paths name the model, whatever the body says.
    pub(super) fn in_place(body: &'a Canonical, place: &Place<'_>) -> Request<'a> {
        Request::for_model(body, place.model.map(str::to_owned))
    }

    fn for_model(body: &'a Canonical, model: Option<String>) -> Request<'a> {
        let mut request = Request {
            body,
            facts: Facts::default(),
        };
        request.facts.variant = Variant::InBody;
        request.facts.model = model.filter(|model| !model.is_empty());
        request.refuse_if(request.facts.model.is_none(), Bypass::NoModel);
        request
    }

    /// The same for an API that has a model of its own if none is named.
    pub(super) fn with_optional_model(body: &'a Canonical, place: &Place<'_>) -> Request<'a> {
        let mut request = Request::new(body, place);
        if request.is_absent("model") {
            request.facts.bypass = None;
        }
        request
    }

    /// Reads `stream` of an API that streams events if it is true.
    pub(super) fn read_stream(&mut self) {
        let stream = self.body.get("stream");
        if stream == Some(b"true") {
            self.facts.form = Form::Stream;
        }
        let odd = !matches!(stream, None | Some(b"true" | b"false" | b"null"));
        self.refuse_if(odd, Bypass::OddStream);
    }

    /// Reads `stream` of an API that answers in lines unless it is false, and in whose grammar it is
    /// framing.
    pub(super) fn read_lines(&mut self) {
        let stream = self.body.get("stream");
        if stream != Some(b"false") {
            self.facts.form = Form::Lines;
        }
        let odd = !matches!(stream, None | Some(b"true" | b"false" | b"null"));
        self.refuse_if(odd, Bypass::OddStream);
        self.facts.variant = match self.facts.form {
            Form::Lines => Variant::Other("lines".to_owned()),
            _ => Variant::Json,
        };
    }

    /// Reads `stream` and `stream_options` of an API in whose grammar both are framing.
    pub(super) fn read_variant(&mut self) {
        self.read_stream();
        let streams = self.facts.form == Form::Stream;
        self.facts.variant = match (streams, self.body.get("stream_options")) {
            (false, None | Some(b"null")) => Variant::Json,
            (true, None | Some(b"null")) => Variant::Stream,
            (true, Some(br#"{"include_usage":true}"#)) => Variant::StreamUsage,
            (_, Some(options)) => {
                let options = String::from_utf8_lossy(options);
                Variant::Other(format!("stream={streams} {options}"))
            }
        };
    }

    /// The facts read.
    pub(super) fn facts(self) -> Facts {
        self.facts
    }

    /// Notes a reason against caching; the first one counts.
    pub(super) fn refuse_if(&mut self, holds: bool, bypass: Bypass) {
        if holds {
            self.facts.bypass.get_or_insert(bypass.label());
        }
    }

    /// Refuses if the field is there and not null.
    pub(super) fn refuse_set(&mut self, key: &str, bypass: Bypass) {
        self.refuse_if(!matches!(self.body.get(key), None | Some(b"null")), bypass);
    }

    /// Refuses if the field is there and neither null nor false.
    pub(super) fn refuse_switched_on(&mut self, key: &str, bypass: Bypass) {
        self.refuse_if(
            !matches!(self.body.get(key), None | Some(b"null" | b"false")),
            bypass,
        );
    }

    /// Refuses if the field is there and neither null nor an empty array.
    pub(super) fn refuse_non_empty(&mut self, key: &str, bypass: Bypass) {
        self.refuse_if(
            !matches!(self.body.get(key), None | Some(b"null" | b"[]")),
            bypass,
        );
    }

    /// Refuses if the field's canonical text contains these bytes anywhere.
    pub(super) fn refuse_mention(&mut self, key: &str, bytes: &[u8], bypass: Bypass) {
        let value = self.body.get(key).unwrap_or_default();
        self.refuse_if(memmem::find(value, bytes).is_some(), bypass);
    }

    /// Refuses if the field refers to a file at the provider.
    pub(super) fn refuse_file_ids(&mut self, key: &str) {
        self.refuse_mention(key, FILE_ID, Bypass::FileId);
    }

    /// Refuses OpenRouter's plugins, and a model that answers from the web, also as a fallback in
    /// `models`.
    pub(super) fn refuse_web(&mut self) {
        let first = self.facts.model.as_deref().is_some_and(searches_web);
        let models = self.body.get("models").unwrap_or(b"null");
        let others = serde_json::from_slice::<Option<Vec<Text<'_>>>>(models);
        let others = others.ok().flatten().unwrap_or_default();
        let other = others.iter().any(|Text(model)| searches_web(model));
        self.refuse_if(first || other, Bypass::WebSearch);
        self.refuse_non_empty("plugins", Bypass::ServerTools);
    }

    /// Refuses if `tools` is anything but an array of objects whose `type` is one of `own`, that
    /// is run by the client; `""` stands for an absent type.
    pub(super) fn refuse_server_tools(&mut self, own: &[&str]) {
        #[derive(Deserialize)]
        struct Tool<'a> {
            #[serde(rename = "type", borrow)]
            kind: Option<Text<'a>>,
        }
        let tools = self.body.get("tools").unwrap_or(b"null");
        let tools = serde_json::from_slice::<Option<Vec<Object<Tool<'_>>>>>(tools);
        let ours = tools.is_ok_and(|tools| {
            tools
                .iter()
                .flatten()
                .all(|Object(tool)| own.contains(&text(&tool.kind)))
        });
        self.refuse_if(!ours, Bypass::ServerTools);
    }

    /// Reads `n`, once for each of `prompts`.
    pub(super) fn read_choices(&mut self, prompts: u32) {
        let n = match self.body.get("n") {
            None | Some(b"null") => Some(1),
            Some(n) => serde_json::from_slice::<u32>(n).ok().filter(|n| *n > 0),
        };
        self.set_choices(n.and_then(|n| n.checked_mul(prompts)));
    }

    /// Notes how many choices were asked for; `None` if nobody can tell.
    pub(super) fn set_choices(&mut self, choices: Option<u32>) {
        self.refuse_if(choices.is_none(), Bypass::OddN);
        self.facts.choices = choices.unwrap_or(1);
    }

    /// Refuses several choices in one stream.
    pub(super) fn refuse_streamed_choices(&mut self) {
        let streams = self.facts.form == Form::Stream;
        self.refuse_if(streams && self.facts.choices != 1, Bypass::OddN);
    }

    /// Notes the form the answer is asked for in.
    pub(super) fn set_form(&mut self, form: Form) {
        self.facts.form = form;
    }

    /// Notes how many items were asked for.
    pub(super) fn set_items(&mut self, items: Option<u32>) {
        self.facts.items = items;
    }

    /// Notes whether embeddings in base64 are of 32-bit floats.
    pub(super) fn set_floats(&mut self, floats: bool) {
        self.facts.floats = floats;
    }

    /// Notes from how many items those asked for are chosen.
    pub(super) fn set_among(&mut self, among: Option<u32>) {
        self.facts.among = among;
    }

    /// How many entries the field's array has; `None` for anything else, or an empty one.
    pub(super) fn entries(&self, key: &str) -> Option<u32> {
        let entries = serde_json::from_slice::<Vec<IgnoredAny>>(self.body.get(key)?).ok()?;
        u32::try_from(entries.len()).ok().filter(|len| *len > 0)
    }

    /// How many entries the field's array of objects has; `None` for anything else, or an empty one.
    pub(super) fn objects(&self, key: &str) -> Option<u32> {
        let objects = self.body.get(key)?;
        let objects = serde_json::from_slice::<Vec<Object<IgnoredObject>>>(objects).ok()?;
        u32::try_from(objects.len()).ok().filter(|len| *len > 0)
    }

    /// How many texts the field holds: one string or one array of tokens is one text, an array of
    /// strings or of token arrays is as many as it has entries. `None` for anything else.
    pub(super) fn texts(&self, key: &str) -> Option<u32> {
        serde_json::from_slice::<Texts>(self.body.get(key)?).ok()?.0
    }

    /// True if the field is absent, null, or an empty string or array.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        matches!(self.body.get(key), None | Some(b"null" | br#""""# | b"[]"))
    }

    /// True if the field is absent or null.
    pub(super) fn is_absent(&self, key: &str) -> bool {
        matches!(self.body.get(key), None | Some(b"null"))
    }
}
