//! What an answer becomes while it arrives: pieces for followers, and at the end, if its grammar
//! says that it is complete, one record.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use pingora_cache::storage::{HandleMiss, MissFinishType};
use pingora_core::{Error, ErrorType, Result};

use super::flight::{End, Flight, Head};
use super::{Cache, now_ms};
use crate::api::items::{self, Text};
use crate::api::{Api, Facts, Form, Judge, Verdict, Worth};
use crate::coding::{Coding, Decoder};
use crate::config::Rate;
use crate::error::ApiError;
use crate::key::Key;
use crate::policy;
use crate::store::about::About;
use crate::store::record::Record;
use pingora::http::ResponseHeader;

/// Longer answers are judged and put together off the proxy's threads: some milliseconds of work.
const JUDGED_IN_PLACE_MAX: usize = 1 << 20;

/// What a fill is about.
pub struct FillSubject {
    /// The key the answer is kept under, `None` if it must not be kept.
    pub key: Option<Key>,
    /// For how long the answer is fresh.
    pub ttl: Duration,
    /// The purges before the upstream was asked.
    pub generation: u64,
    /// What it is about.
    pub about: Arc<About>,
    /// Older answers in other forms, which go when this one is kept.
    pub replaces: Vec<Key>,
    /// It is asked for although there may be an answer.
    pub refreshes: bool,
    /// The texts of an embeddings request, each kept under a key of its own as well.
    pub items: Vec<(Key, Text)>,
    /// The API that was asked.
    pub api: Api,
    /// What the request said.
    pub facts: Facts,
    /// Which bad answers are kept all the same.
    pub worth: Worth,
    /// Name of the upstream, a metric label.
    pub upstream: String,
    /// What its tokens cost.
    pub rate: Option<Rate>,
}

/// Hands the recorder from the fill's request to the storage, once.
pub type RecorderSlot = Arc<Mutex<Option<Recorder>>>;

/// Records one answer into its flight.
pub struct Recorder {
    cache: &'static Cache,
    flight: Arc<Flight>,
    subject: FillSubject,
    /// Why the answer will not be kept, as soon as that is known.
    refused: Option<&'static str>,
    judge: Option<Box<dyn Judge>>,
    /// Where the upstream compresses although it was asked not to.
    decoder: Option<Decoder>,
    status: u16,
    stream: bool,
    content_length: Option<u64>,
    received: usize,
    /// The upstream marks the end of the body by closing the connection, which a break does too.
    close_delimited: bool,
}

impl Recorder {
    /// A recorder that has not seen the head yet.
    pub fn new(cache: &'static Cache, flight: Arc<Flight>, subject: FillSubject) -> Recorder {
        Recorder {
            cache,
            flight,
            subject,
            refused: None,
            judge: None,
            decoder: None,
            status: 0,
            stream: false,
            content_length: None,
            received: 0,
            close_delimited: false,
        }
    }

    /// Takes the answer's head, decides how it will be judged, and lets followers have it.
    pub fn begin(&mut self, head: &ResponseHeader) {
        let headers = &head.headers;
        let length = headers.get(http::header::CONTENT_LENGTH);
        let content_length: Option<u64> = length
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        self.status = head.status.as_u16();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for that: fills carry no upgrade.
            let error = ApiError::upstream_broken(&self.subject.upstream);
            self.flight.end(End::Failed(error));
            return;
        }
        self.content_length = content_length;
        self.close_delimited = content_length.is_none()
            && !headers.contains_key(http::header::TRANSFER_ENCODING)
            && head.version != http::Version::HTTP_2;
        self.decoder = Coding::of(headers).and_then(|coding| Decoder::new(coding).ok());
        let form = policy::answer_form(headers);
        // Every complete answer is judged, kept or not: its usage is what was paid for.
        let worth = self.subject.worth;
        let judge = |form| self.subject.api.judge(&self.subject.facts, form, worth);
        self.judge = form.and_then(judge);
        self.stream = matches!(form, Some(Form::Stream | Form::Lines));
        self.refused = if self.subject.key.is_none() {
            Some("bypass")
        } else if head.status != StatusCode::OK {
            // Other kinds of success are parts of an answer, or promises of one.
            Some("status")
        } else if policy::is_encoded(headers) && self.decoder.is_none() {
            Some("encoded")
        } else if self.judge.is_none() {
            Some("content-type")
        } else if form != Some(self.subject.facts.form) {
            Some("other-form")
        } else if self.close_delimited
            && !form.is_some_and(|form| self.subject.api.tells_its_end(form))
        {
            Some("cut")
        } else {
            None
        };
        let mut own_headers = policy::end_to_end_headers(headers);
        if self.decoder.is_some() {
            own_headers.retain(|(name, _)| name != http::header::CONTENT_ENCODING);
        }
        let decodes = self.decoder.is_some();
        let mut shared_headers = policy::shared_headers(self.status, headers);
        if !decodes {
            // Never stored then, but whoever follows must be able to read it.
            let codings = headers.get_all(http::header::CONTENT_ENCODING).iter();
            let named = codings.map(|value| (http::header::CONTENT_ENCODING, value.clone()));
            shared_headers.extend(named);
        }
        self.flight.begin(Head {
            status: self.status,
            headers: own_headers,
            shared_headers,
            // A counted body is collected before it is sent, which would hold events back.
            content_length: content_length.filter(|_| !self.stream && !decodes),
            stored_ms: None,
        });
    }

    fn verdict(&mut self) -> Verdict {
        let unread = Verdict {
            keep: Err("content-type"),
            cut: false,
            usage: None,
        };
        self.judge.take().map_or(unread, |judge| judge.finish())
    }

    /// Takes a piece of the body as it came; false if it cannot be read.
    async fn push(&mut self, data: Bytes, last: bool) -> bool {
        let Some(decoder) = &mut self.decoder else {
            if let Some(judge) = &mut self.judge {
                judge.push(&data);
            }
            self.flight.push(data, last).await;
            return true;
        };
        let mut pieces = Vec::new();
        let decoded = decoder.push(&data, &mut |piece| {
            pieces.push(Bytes::copy_from_slice(piece));
            Ok(())
        });
        let count = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            if let Some(judge) = &mut self.judge {
                judge.push(&piece);
            }
            self.flight.push(piece, last && at + 1 == count).await;
        }
        decoded.is_ok()
    }

    /// Judges the answer, keeps it if it is worth it, and only then tells followers of the end.
    fn finish(mut self) -> usize {
        let garbled = self
            .decoder
            .as_ref()
            .is_some_and(|decoder| !decoder.is_done());
        if garbled && self.received > 0 {
            self.flight.end(End::Broken("bad-encoding"));
            return 0;
        }
        let verdict = self.verdict();
        let usage = verdict.usage.map(|u| (u.input, u.output));
        let metrics = self.cache.metrics();
        let is_success = (200..300).contains(&self.status);
        if let Some(usage) = usage.filter(|_| is_success) {
            metrics.spent(&self.subject.upstream, usage, self.subject.rate);
            self.flight.set_usage(usage);
        }
        let kept = match (self.refused, verdict.keep, self.subject.key) {
            (None, Ok(()), Some(key)) => self.keep(key, usage),
            (Some(reason), ..) | (None, Err(reason), _) => Err(reason),
            (None, Ok(()), None) => Err("bypass"),
        };
        if let Err(reason) = kept
            && self.subject.key.is_some()
        {
            metrics.not_stored(self.subject.api.label(), reason).inc();
        }
        // A length or a last chunk is the upstream's word for the end. Without either, an answer
        // that its own grammar calls unfinished has been cut off.
        let cut_off = self.close_delimited && is_success && verdict.cut;
        self.flight.end(if cut_off {
            End::Broken("cut")
        } else {
            End::Complete
        });
        kept.unwrap_or(0)
    }

    fn keep(&self, key: Key, usage: Option<(u64, u64)>) -> Result<usize, &'static str> {
        let (Some(head), Some((body, chunks))) = (self.flight.head(), self.flight.recording())
        else {
            return Err("too-large");
        };
        let stored_ms = now_ms();
        let ttl_ms = u64::try_from(self.subject.ttl.as_millis()).unwrap_or(u64::MAX);
        let size = body.len();
        let record = Record {
            key,
            stored_ms,
            expires_ms: stored_ms.saturating_add(ttl_ms),
            generation: self.subject.generation,
            about: self.subject.about.clone(),
            status: self.status,
            stream: self.stream,
            headers: head.shared_headers.clone(),
            body,
            chunks,
            usage,
        };
        let record = Arc::new(record);
        match self.subject.refreshes {
            true => self.cache.store().put_anew(record.clone()),
            false => self.cache.store().put(record.clone()),
        }
        for older in &self.subject.replaces {
            self.cache.store().remove_older(older, stored_ms);
        }
        self.keep_items(&record);
        Ok(size)
    }

    /// Keeps each text of an embeddings request by itself, where the answer can be taken apart.
    fn keep_items(&self, whole: &Record) {
        let texts: Vec<Text> = self.subject.items.iter().map(|(_, text)| *text).collect();
        if texts.is_empty() {
            return;
        }
        let pieces = items::take_apart(&whole.body, &texts).unwrap_or_default();
        for ((key, _), piece) in self.subject.items.iter().zip(pieces) {
            let Some(body) = piece.to_bytes() else { return };
            self.cache.store().put_part(Arc::new(Record {
                key: *key,
                body: Bytes::from(body),
                chunks: Vec::new(),
                usage: piece.tokens().map(|tokens| (tokens, 0)),
                ..whole.clone()
            }));
        }
    }
}

/// Pingora's miss handler. Dropped without `finish`, the flight is ended by its guard as broken.
pub struct RecordMiss(Recorder);

impl RecordMiss {
    /// A handler for a recorder that has seen the head.
    pub fn new(recorder: Recorder) -> RecordMiss {
        RecordMiss(recorder)
    }
}

#[async_trait]
impl HandleMiss for RecordMiss {
    async fn write_body(&mut self, data: Bytes, eof: bool) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.0.received += data.len();
        // Over HTTP/2 the end may come in a frame of its own, behind the last byte.
        let last = eof || self.0.content_length == Some(self.0.received as u64);
        if !self.0.push(data, last).await {
            self.0.flight.end(End::Broken("bad-encoding"));
            return Error::e_explain(
                ErrorType::ReadError,
                "the answer is not in its content coding",
            );
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let recorder = self.0;
        let size = if recorder.received > JUDGED_IN_PLACE_MAX {
            tokio::task::spawn_blocking(move || recorder.finish())
                .await
                .unwrap_or(0)
        } else {
            recorder.finish()
        };
        Ok(MissFinishType::Created(size))
    }
}
