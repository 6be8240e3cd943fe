//! Questions whose true answer can be told at any time from the question alone.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::*;

/// A small generator, so that a failing run can be told from its seed.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds give unlike runs; zero would stay zero.
        let mut dice = Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        dice.next();
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn roll(&mut self, below: u64) -> u64 {
        (self.next() >> 16) % below.max(1)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len() as u64) as usize]
    }
}

/// One question, told from the next by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub number: u64,
    /// What the answer says is this long.
    pub bytes: u64,
    pub streams: bool,
}

const WORDS: [&str; 3] = ["number ", " of ", " bytes"];

impl Question {
    pub fn of(number: u64, bytes: u64) -> Self {
        Self {
            number,
            bytes,
            streams: false,
        }
    }

    /// Sizes as they come: many small, some large, every third streamed.
    pub fn mixed(number: u64) -> Self {
        let mut dice = Dice::new(number);
        let bytes = match dice.roll(100) {
            0..60 => 200 + dice.roll(2_000),
            60..92 => 4_000 + dice.roll(25_000),
            _ => 80_000 + dice.roll(250_000),
        };
        Self {
            number,
            bytes,
            streams: dice.roll(3) == 0,
        }
    }

    pub fn ask(&self) -> Ask {
        let [a, b, c] = WORDS;
        let text = format!("{a}{}{b}{}{c}", self.number, self.bytes);
        if self.streams {
            chat_stream(&text)
        } else {
            chat(&text)
        }
    }

    /// Only what the cache holds.
    pub fn ask_cache(&self) -> Ask {
        self.ask().cache_control("only-if-cached")
    }

    fn read(call: &Call) -> Option<Self> {
        let body = call.json();
        let text = body["messages"][0]["content"].as_str()?;
        let [a, b, c] = WORDS;
        let (number, bytes) = text.strip_prefix(a)?.strip_suffix(c)?.split_once(b)?;
        Some(Self {
            number: number.parse().ok()?,
            bytes: bytes.parse().ok()?,
            streams: call.streams(),
        })
    }

    /// Text that hardly compresses, the same for the same question.
    fn noise(&self) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut dice = Dice::new(self.number ^ self.bytes << 32 ^ u64::from(self.streams) << 63);
        let mut text = String::with_capacity(self.bytes as usize + 10);
        while text.len() < self.bytes as usize {
            let bits = dice.next();
            text.extend((0..10).map(|n| char::from(LETTERS[(bits >> (6 * n)) as usize & 63])));
        }
        text
    }

    /// The answer of the upstream.
    fn reply(&self) -> Reply {
        let id = format!("chatcmpl-{}", self.number);
        let noise = self.noise();
        if !self.streams {
            return Reply::json(
                200,
                json!({
                    "id": id, "object": "chat.completion", "created": 1_760_000_000, "model": MODEL,
                    "choices": [{
                        "index": 0, "finish_reason": "stop",
                        "message": {"role": "assistant", "content": noise},
                    }],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
                }),
            );
        }
        let chunk = |delta, finish: Option<&str>| {
            llm::data(&json!({
                "id": id, "object": "chat.completion.chunk", "created": 1_760_000_000,
                "model": MODEL,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }))
        };
        let piece = (noise.len() / 12).max(1);
        let mut frames = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
        for start in (0..noise.len()).step_by(piece) {
            let end = (start + piece).min(noise.len());
            frames.push(chunk(json!({"content": noise[start..end]}), None));
        }
        frames.push(chunk(json!({}), Some("stop")));
        frames.push(llm::DONE.to_owned());
        let reply = Reply::frames(frames);
        // Some take their time, so that a kill meets them under way.
        if self.number.is_multiple_of(5) {
            reply.paced(ms(1))
        } else {
            reply
        }
    }

    /// What any answer to it must say, to the byte.
    pub fn truth(&self) -> Bytes {
        self.reply().bytes()
    }

    /// A whole answer of this kind, and the true one.
    #[track_caller]
    pub fn is_answered(&self, answer: &Answer) {
        answer.is_clean(200);
        if answer.body != self.truth() {
            panic!("a wrong answer to {self:?}: {}", answer.dump());
        }
    }
}

/// An upstream that answers questions by the truth.
pub async fn oracle() -> Origin {
    let answer = |call: &Call| match Question::read(call) {
        Some(question) => question.reply(),
        None => Reply::error(400, "not a question"),
    };
    origin().answer(answer).start().await
}

/// Asks over this many connections; every answer must be whole and true. How often each outcome
/// was seen.
pub async fn ask_truly(
    proxy: &Proxy,
    connections: usize,
    questions: impl IntoIterator<Item = Question>,
) -> BTreeMap<String, usize> {
    let next = Mutex::new(questions.into_iter());
    let seen = Mutex::new(BTreeMap::new());
    let worker = async || {
        let mut h1 = proxy.h1().await;
        loop {
            let question = next.lock().unwrap().next();
            let Some(question) = question else { return };
            let answer = h1.ask(&question.ask()).await;
            question.is_answered(&answer);
            let outcome = answer.outcome().to_owned();
            *seen.lock().unwrap().entry(outcome).or_default() += 1;
        }
    };
    join_all((0..connections).map(|_| worker())).await;
    seen.into_inner().unwrap()
}

/// Asks for what the cache holds; each hit must be whole and true. Which were hits.
pub async fn hits_among(
    proxy: &Proxy,
    questions: impl IntoIterator<Item = Question>,
) -> Vec<Question> {
    let next = Mutex::new(questions.into_iter());
    let hits = Mutex::new(Vec::new());
    let worker = async || {
        let mut h1 = proxy.h1().await;
        loop {
            let question = next.lock().unwrap().next();
            let Some(question) = question else { return };
            let answer = h1.ask(&question.ask_cache()).await;
            if answer.head.status == 504 && answer.end == End::Clean {
                continue;
            }
            question.is_answered(&answer);
            assert_eq!(answer.outcome(), "hit", "{}", answer.dump());
            hits.lock().unwrap().push(question);
        }
    };
    join_all((0..8).map(|_| worker())).await;
    hits.into_inner().unwrap()
}
