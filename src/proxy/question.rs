//! From a body to what is asked: facts and digest, with a memo in front since the same bytes
//! usually come back.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Memo;
use xxhash_rust::xxh3::xxh3_128_with_secret;

use crate::api::{Api, Facts};
use crate::key::canonical::{Sorting, canonicalize};
use crate::tenant::Tenant;

/// Bytes the memo may take. A finished question is about 200 bytes, so this is some 80,000 of them.
const MEMO_BYTES_MAX: u64 = 16 << 20;
/// Reading more than this takes milliseconds.
const READ_IN_PLACE_MAX: usize = 1 << 20;
/// What a question weighs beside its model's name.
const QUESTION_BYTES: u64 = 192;

/// Length of xxh3's default secret.
const SECRET_BYTES: usize = 192;

/// What a body asks.
#[derive(Debug)]
pub struct Question {
    /// What routing, policy and judging need to know.
    pub facts: Facts,
    /// Digest of the canonical body, or why there is none.
    pub digest: Result<[u8; 32], &'static str>,
}

/// Reads questions.
pub struct Questions {
    memo: Memo<MemoKey, Arc<Question>, ByWeight>,
    /// Random per process, so that nobody can prepare two bodies with one fingerprint.
    secret: [u8; SECRET_BYTES],
}

/// Who asked which bytes of which API. The tenant is part of it so that the time an answer takes
/// tells nobody what others have asked.
#[derive(Clone, PartialEq, Eq, Hash)]
struct MemoKey {
    tenant: Tenant,
    api: Api,
    body: u128,
}

impl Questions {
    /// An empty memo. Fails only if the system has no random numbers.
    pub fn new() -> Result<Questions, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let expected = (MEMO_BYTES_MAX / QUESTION_BYTES) as usize;
        Ok(Questions {
            memo: Memo::with_weighter(expected, MEMO_BYTES_MAX, ByWeight),
            secret,
        })
    }

    /// What `body` asks. Large bodies are read off the proxy's threads.
    pub async fn read(self: &Arc<Self>, tenant: Tenant, api: Api, body: &Bytes) -> Arc<Question> {
        if body.len() <= READ_IN_PLACE_MAX {
            return self.read_now(tenant, api, body);
        }
        let (questions, bytes) = (self.clone(), body.clone());
        let read = tokio::task::spawn_blocking(move || questions.read_now(tenant, api, &bytes));
        // Only a runtime that shuts down gives no answer.
        let unread = |_| {
            Arc::new(Question {
                facts: Facts::default(),
                digest: Err("unread"),
            })
        };
        read.await.unwrap_or_else(unread)
    }

    fn read_now(&self, tenant: Tenant, api: Api, body: &[u8]) -> Arc<Question> {
        let key = MemoKey {
            tenant,
            api,
            body: xxh3_128_with_secret(body, &self.secret),
        };
        if let Some(question) = self.memo.get(&key) {
            return question;
        }
        let question = Arc::new(ask(api, body));
        self.memo.insert(key, question.clone());
        question
    }
}

fn ask(api: Api, body: &[u8]) -> Question {
    match canonicalize(
        body,
        api.ignored_fields(),
        Sorting::Within(api.sorted_fields()),
    ) {
        Ok(canonical) => {
            let facts = api.facts(&canonical);
            let digest = facts.bypass.map_or_else(|| Ok(canonical.digest()), Err);
            Question { facts, digest }
        }
        Err(reject) => Question {
            facts: Facts::default(),
            digest: Err(reject.reason()),
        },
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<MemoKey, Arc<Question>> for ByWeight {
    fn weight(&self, _key: &MemoKey, question: &Arc<Question>) -> u64 {
        QUESTION_BYTES + question.facts.model.as_ref().map_or(0, |m| m.len() as u64)
    }
}
