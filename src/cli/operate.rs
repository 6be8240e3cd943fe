//! The commands of operators: what is in the cache, purges, copies.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded::Serializer;

use super::remote::{self, Failure};
use super::tables;
use crate::admin::entries::{Filter, Gathering, Listing};
use crate::admin::entry::Shown;
use crate::admin::purge::{self, Asked, Purged};
use crate::admin::stats::{Counting, Stats};
use crate::cache::now_ms;
use crate::config::Config;
use crate::store::operate::{Offline, ReadError, RestoreError, restore};

/// What operators ask for.
#[derive(Subcommand)]
pub enum Operate {
    /// Count what is in the cache, by API, model, namespace, tenant and age
    Stats {
        #[command(flatten)]
        look: Look,
    },
    /// List entries, newest first
    Entries {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        look: Look,
    },
    /// Show one entry with its body
    Inspect {
        /// The key: 64 digits, as in `x-llm-cache-key` and `entries`
        key: String,
        /// Leave the body out
        #[arg(long)]
        no_body: bool,
        #[command(flatten)]
        look: Look,
    },
    /// Purge entries of the running server: none of them is served again
    Purge {
        #[command(flatten)]
        what: What,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the running server copy its database into a new directory
    Checkpoint {
        /// A directory that is not there yet, on the server's machine
        directory: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a copy into the place of the database, while the server is stopped
    Restore {
        /// The copy, as `checkpoint` wrote it
        directory: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where to look, and how to show it.
#[derive(Args)]
pub struct Look {
    /// Read the store's directory and not the server; also while it runs or is stopped
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which entries: those that fit everything that is given.
#[derive(Args)]
pub struct Which {
    /// Of this model, as clients name it
    #[arg(long)]
    model: Option<String>,
    /// Of this API, by its label in the metrics
    #[arg(long)]
    api: Option<String>,
    /// In this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Of this tenant: the first digits of it, as in the log
    #[arg(long)]
    tenant: Option<String>,
    /// Stored longer ago than this: 12h, 7d
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// So many at most [default: 100]
    #[arg(long)]
    limit: Option<usize>,
}

/// What to purge.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// Everything
    #[arg(long)]
    all: bool,
    /// One answer, in all its forms, by its key
    #[arg(long)]
    key: Option<String>,
    /// The answers of a model, as clients name it
    #[arg(long)]
    model: Option<String>,
    /// The answers in a namespace
    #[arg(long)]
    namespace: Option<String>,
    /// The answers of a tenant: its 16 digits, as `stats` shows them
    #[arg(long)]
    tenant: Option<String>,
    /// The answers stored longer ago than this: 12h, 7d
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
}

impl Operate {
    /// Whether the server is asked, which may want its token.
    pub fn asks_server(&self) -> bool {
        match self {
            Operate::Stats { look } | Operate::Entries { look, .. } => !look.offline,
            Operate::Inspect { look, .. } => !look.offline,
            Operate::Purge { .. } | Operate::Checkpoint { .. } => true,
            Operate::Restore { .. } => false,
        }
    }

    /// Does it, and prints what came of it.
    pub fn run(self, config: &Config) -> Result<(), Failure> {
        match self {
            Operate::Stats { look } => stats(config, &look),
            Operate::Entries { which, look } => entries(config, &which, &look),
            Operate::Inspect { key, no_body, look } => inspect(config, &key, !no_body, &look),
            Operate::Purge { what, json } => {
                let body = to_json(&what.asked())?;
                let answer = remote::post(config, "/cache/purge", body)?;
                show(&answer, json, |purged: &Purged| {
                    let only = match purged.found {
                        Some(false) => {
                            " (only this key; nothing is stored under it, purge by model to be sure)"
                        }
                        _ => "",
                    };
                    let fleet = match purged.fleet.as_deref() {
                        Some("waiting") => {
                            " (the other replicas are told once the shared tier can be reached)"
                        }
                        _ => "",
                    };
                    format!("purged: {}{only}{fleet}\n", purged.purged)
                })
            }
            Operate::Checkpoint { directory, json } => {
                let absolute = std::path::absolute(&directory)
                    .map_err(|e| Failure::Usage(format!("{}: {e}", directory.display())))?;
                let body = to_json(&BTreeMap::from([("directory", &absolute)]))?;
                let answer = remote::post(config, "/cache/checkpoint", body)?;
                show(&answer, json, |_: &serde_json::Value| {
                    format!("the database is copied to {}\n", absolute.display())
                })
            }
            Operate::Restore { directory, json } => {
                let restored = restore(&directory, &config.store.path).map_err(|e| match e {
                    RestoreError::Refused(why) => Failure::Usage(why),
                    RestoreError::Failed(why) => Failure::Failed(why),
                })?;
                let value = serde_json::json!({
                    "path": restored.path.to_string_lossy(),
                    "entries": restored.entries,
                    "bytes": restored.bytes,
                });
                show(&to_json(&value)?, json, |_: &serde_json::Value| {
                    format!(
                        "{} entries are restored into {}\n",
                        restored.entries,
                        restored.path.display()
                    )
                })
            }
        }
    }
}

impl What {
    fn asked(&self) -> Asked {
        Asked {
            all: self.all.then_some(true),
            key: self.key.clone(),
            model: self.model.clone(),
            namespace: self.namespace.clone(),
            tenant: self.tenant.clone(),
            older_than: self.older_than.clone(),
        }
    }
}

impl Which {
    fn query(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let mut query = Serializer::new(String::new());
        for (name, value) in [
            ("model", &self.model),
            ("api", &self.api),
            ("namespace", &self.namespace),
            ("tenant", &self.tenant),
            ("older_than", &self.older_than),
            ("limit", &limit),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

fn stats(config: &Config, look: &Look) -> Result<(), Failure> {
    let answer = match look.offline {
        false => remote::get(config, "/cache/stats")?,
        true => {
            let counting = offline(config, |store| {
                let mut counting = Counting::new(now_ms());
                store.scan(&mut |entry| {
                    counting.add(&entry);
                    ControlFlow::Continue(())
                })?;
                Ok(counting)
            })?;
            to_json(&counting.finish(false))?
        }
    };
    show(&answer, look.json, |stats: &Stats| tables::stats(stats))
}

fn entries(config: &Config, which: &Which, look: &Look) -> Result<(), Failure> {
    let query = which.query();
    let answer = match look.offline {
        false => remote::get(config, &format!("/cache/entries?{query}"))?,
        true => {
            let now = now_ms();
            let filter = Filter::read(&query, now).map_err(Failure::Usage)?;
            let gathering = offline(config, |store| {
                let mut gathering = Gathering::new(filter.clone(), now);
                store.scan(&mut |entry| gathering.add(&entry))?;
                Ok(gathering)
            })?;
            to_json(&gathering.finish(false))?
        }
    };
    show(&answer, look.json, |listing: &Listing| {
        tables::listing(listing)
    })
}

fn inspect(config: &Config, key: &str, with_body: bool, look: &Look) -> Result<(), Failure> {
    let key = purge::key(key).map_err(Failure::Usage)?;
    let answer = match look.offline {
        false => remote::get(config, &format!("/cache/entries/{key}?body={with_body}"))?,
        true => {
            let found = offline(config, |store| store.inspect(&key))?;
            let record =
                found.ok_or_else(|| Failure::Failed("there is no entry of this key".to_owned()))?;
            let shown = Shown::of(&record, with_body, now_ms());
            to_json(&shown.map_err(|e| Failure::Failed(e.to_string()))?)?
        }
    };
    show(&answer, look.json, |shown: &Shown| tables::shown(shown))
}

fn offline<T>(
    config: &Config,
    look: impl Fn(&Offline) -> Result<T, ReadError>,
) -> Result<T, Failure> {
    Offline::look(&config.store.path, look).map_err(|e| Failure::Failed(e.to_string()))
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|e| Failure::Failed(e.to_string()))
}

/// Prints an answer as it is, or for people.
fn show<T: DeserializeOwned>(
    answer: &[u8],
    json: bool,
    for_people: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = match json {
        true => format!("{}\n", String::from_utf8_lossy(answer).trim_end()),
        false => {
            let value = serde_json::from_slice(answer).map_err(|e| {
                Failure::Failed(format!("the answer is not understood ({e}); try --json"))
            })?;
            for_people(&value)
        }
    };
    super::print(&text);
    Ok(())
}
