//! From a body to what is asked: facts and digest, with a memo in front since the same bytes
//! usually come back.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Memo;
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_secret};

use super::body::Whole;
use crate::api::items::Text;
use crate::api::{Api, Place, Question};
use crate::key::Key;
use crate::tenant::Tenant;

/// Share of the memory budget that the memo gets: an entry in memory is seldom less than twelve times
/// its question, so that what is in memory can be found without reading the question.
const MEMORY_SHARE: usize = 12;
/// What the memo gets at least: even where answers come from the disk, it saves reading the same prompt
/// again and again.
const MEMO_BYTES_MIN: usize = 4 << 20;
/// Reading more than this takes milliseconds.
const READ_IN_PLACE_MAX: usize = 1 << 20;
/// What a question weighs beside its model's name: itself, its key and place in the memo, and what the
/// allocator adds.
const QUESTION_BYTES: u64 = 288;

/// What each text of a request for embeddings weighs.
const ITEM_BYTES: usize = size_of::<Text>();

/// Length of xxh3's default secret.
const SECRET_BYTES: usize = 192;

/// Reads questions.
pub struct Questions {
    memo: Memo<MemoKey, Arc<Read>, ByWeight>,
    /// Random per process, so that nobody can prepare two bodies with one fingerprint.
    secret: [u8; SECRET_BYTES],
}

/// A question, and what was made of it.
pub struct Read {
    question: Question,
    /// The key of its answer at the upstream of this number, where nothing but what the memo knows is
    /// part of the key.
    key: OnceLock<(u32, Key)>,
}

impl Read {
    /// What cannot be told, for this reason.
    pub fn unread(reason: &'static str) -> Arc<Read> {
        Arc::new(Read::of(Question::unread(reason)))
    }

    fn of(question: Question) -> Read {
        Read {
            question,
            key: OnceLock::new(),
        }
    }

    /// The key at an upstream of a request that has no more to its key than place, tenant and body.
    pub fn key(&self, upstream: usize, make: impl Fn() -> Key) -> Key {
        let Ok(upstream) = u32::try_from(upstream) else {
            return make();
        };
        let (known, key) = self.key.get_or_init(|| (upstream, make()));
        if *known == upstream { *key } else { make() }
    }
}

impl Deref for Read {
    type Target = Question;

    fn deref(&self) -> &Question {
        &self.question
    }
}

/// Who asked which bytes of which place, as fingerprints. The tenant is part of it so that the time an
/// answer takes tells nobody what others have asked.
#[derive(Clone, PartialEq, Eq, Hash)]
struct MemoKey {
    asker: u128,
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
    /// What the body is, by its own word.
    pub content_type: &'a str,
}

impl Questions {
    /// What the memo takes of a memory budget, in bytes.
    pub fn share_of(memory_bytes_max: usize) -> usize {
        (memory_bytes_max / MEMORY_SHARE).max(MEMO_BYTES_MIN)
    }

    /// An empty memo of at most so many bytes. Fails only if the system has no random numbers.
    pub fn new(bytes_max: usize) -> Result<Questions, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let bytes_max = bytes_max as u64;
        let expected = (bytes_max / QUESTION_BYTES) as usize;
        Ok(Questions {
            memo: Memo::with_weighter(expected, bytes_max, ByWeight),
            secret,
        })
    }

    /// What `body` asks. Large bodies are read off the proxy's threads.
    pub async fn read(self: &Arc<Self>, asker: Asker<'_>, body: &mut Whole) -> Arc<Read> {
        if body.len() <= READ_IN_PLACE_MAX {
            let key = self.memo_key(&asker, body.pieces());
            let known = self.memo.get(&key);
            return known.unwrap_or_else(|| self.read_now(key, asker, &body.join()));
        }
        let body = body.join();
        let Asker {
            tenant,
            api,
            place,
            content_type,
        } = asker;
        let content_type = content_type.to_owned();
        let (path, query) = (place.path.to_owned(), place.query.to_owned());
        let model = place.model.map(str::to_owned);
        let questions = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let place = Place {
                path: &path,
                query: &query,
                model: model.as_deref(),
            };
            let asker = Asker {
                tenant,
                api,
                place,
                content_type: &content_type,
            };
            let key = questions.memo_key(&asker, std::iter::once(&body[..]));
            let known = questions.memo.get(&key);
            known.unwrap_or_else(|| questions.read_now(key, asker, &body))
        });
        // Only a runtime that shuts down gives no answer.
        let unread = |_| Read::unread("unread");
        read.await.unwrap_or_else(unread)
    }

    fn read_now(&self, key: MemoKey, asker: Asker<'_>, body: &[u8]) -> Arc<Read> {
        let Asker { api, place, .. } = asker;
        let question = Arc::new(Read::of(api.question(&place, asker.content_type, body)));
        self.memo.insert(key, question.clone());
        question
    }

    fn memo_key<'a>(&self, asker: &Asker<'_>, body: impl Iterator<Item = &'a [u8]>) -> MemoKey {
        let mut hasher = Xxh3::with_secret(self.secret);
        body.for_each(|piece| hasher.update(piece));
        MemoKey {
            asker: self.fingerprint_of(asker),
            body: hasher.digest128(),
        }
    }

    /// A tenant has one length, an API's label no line break, a path no question mark and neither of the
    /// last two a line break, so that no two askers read the same.
    fn fingerprint_of(&self, asker: &Asker<'_>) -> u128 {
        let Place { path, query, .. } = asker.place;
        let texts = [
            asker.api.label(),
            "\n",
            path,
            "?",
            query,
            "\n",
            asker.content_type,
        ];
        let len = texts.iter().map(|text| text.len()).sum::<usize>();
        let tenant = asker.tenant.as_bytes();
        let mut framed = Vec::with_capacity(tenant.len() + len);
        framed.extend_from_slice(tenant);
        for text in texts {
            framed.extend_from_slice(text.as_bytes());
        }
        xxh3_128_with_secret(&framed, &self.secret)
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<MemoKey, Arc<Read>> for ByWeight {
    fn weight(&self, _key: &MemoKey, question: &Arc<Read>) -> u64 {
        let model = question.facts.model.as_ref().map_or(0, String::len);
        let items = question.items.as_ref().map_or(0, |items| items.texts.len());
        QUESTION_BYTES
            + (items * ITEM_BYTES) as u64
            + (model + question.facts.variant.tag().len()) as u64
    }
}
