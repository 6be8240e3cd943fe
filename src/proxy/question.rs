//! From a body to what is asked: facts and digest, with a memo in front since the same bytes
//! usually come back.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Memo;
use xxhash_rust::xxh3::xxh3_128_with_secret;

use crate::api::items::Text;
use crate::api::{Api, Place, Question};
use crate::tenant::Tenant;

/// Bytes the memo may take. A finished question is about 200 bytes, so this is some 80,000 of them.
const MEMO_BYTES_MAX: u64 = 16 << 20;
/// Reading more than this takes milliseconds.
const READ_IN_PLACE_MAX: usize = 1 << 20;
/// What a question weighs beside its model's name.
const QUESTION_BYTES: u64 = 192;

/// What each text of a request for embeddings weighs.
const ITEM_BYTES: usize = size_of::<Text>();

/// Length of xxh3's default secret.
const SECRET_BYTES: usize = 192;

/// Reads questions.
pub struct Questions {
    memo: Memo<MemoKey, Arc<Question>, ByWeight>,
    /// Random per process, so that nobody can prepare two bodies with one fingerprint.
    secret: [u8; SECRET_BYTES],
}

/// Who asked which bytes of which place. The tenant is part of it so that the time an answer takes
/// tells nobody what others have asked.
#[derive(Clone, PartialEq, Eq, Hash)]
struct MemoKey {
    tenant: Tenant,
    api: Api,
    place: u128,
    body: u128,
}

/// Who asks, and what of whom.
pub struct Asker<'a> {
    /// Who asks.
    pub tenant: Tenant,
    /// The API.
    pub api: Api,
    /// The path and query.
    pub place: Place<'a>,
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
    pub async fn read(self: &Arc<Self>, asker: Asker<'_>, body: &Bytes) -> Arc<Question> {
        if body.len() <= READ_IN_PLACE_MAX {
            return self.read_now(asker, body);
        }
        let Asker { tenant, api, place } = asker;
        let (path, query) = (place.path.to_owned(), place.query.to_owned());
        let model = place.model.map(str::to_owned);
        let (questions, bytes) = (self.clone(), body.clone());
        let read = tokio::task::spawn_blocking(move || {
            let place = Place {
                path: &path,
                query: &query,
                model: model.as_deref(),
            };
            questions.read_now(Asker { tenant, api, place }, &bytes)
        });
        // Only a runtime that shuts down gives no answer.
        let unread = |_| Arc::new(Question::unread("unread"));
        read.await.unwrap_or_else(unread)
    }

    fn read_now(&self, asker: Asker<'_>, body: &[u8]) -> Arc<Question> {
        let Asker { tenant, api, place } = asker;
        let key = MemoKey {
            tenant,
            api,
            place: self.fingerprint_of(&place),
            body: xxh3_128_with_secret(body, &self.secret),
        };
        if let Some(question) = self.memo.get(&key) {
            return question;
        }
        let question = Arc::new(api.question(&place, body));
        self.memo.insert(key, question.clone());
        question
    }

    /// A path has no question mark, so the two cannot be confused.
    fn fingerprint_of(&self, place: &Place<'_>) -> u128 {
        let place = format!("{}?{}", place.path, place.query);
        xxh3_128_with_secret(place.as_bytes(), &self.secret)
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<MemoKey, Arc<Question>> for ByWeight {
    fn weight(&self, _key: &MemoKey, question: &Arc<Question>) -> u64 {
        let model = question.facts.model.as_ref().map_or(0, String::len);
        let items = question.items.as_ref().map_or(0, |items| items.texts.len());
        QUESTION_BYTES
            + (items * ITEM_BYTES) as u64
            + (model + question.facts.variant.tag().len()) as u64
    }
}
