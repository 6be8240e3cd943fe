//! What a server's log says about its store.

use std::time::Duration;

use crate::harness::*;

/// The part of a log that a story is about: what was said before it is left out.
pub struct Said(usize);

impl Said {
    /// From now on.
    pub fn from_now(process: &Process) -> Self {
        Self(lines(process).len())
    }

    /// What was said about the store since.
    pub fn lines(&self, process: &Process) -> Vec<String> {
        lines(process).split_off(self.0)
    }

    /// Waits for the first line, and sees that it is the only one; what follows is the next part.
    pub async fn one_line(&mut self, process: &Process, what: &str) -> String {
        within(
            Duration::from_secs(10),
            format!("a line about {what}"),
            || {
                std::future::ready(match self.lines(process).len() {
                    0 => Err("nothing was said".to_owned()),
                    _ => Ok(()),
                })
            },
        )
        .await;
        self.only_line(process, what)
    }

    /// There is one line by now, and one only; what follows is the next part.
    pub fn only_line(&mut self, process: &Process, what: &str) -> String {
        let mut said = self.lines(process);
        assert_eq!(said.len(), 1, "one line about {what}, not {said:#?}");
        self.0 += 1;
        said.remove(0)
    }
}

/// Every line of the store's, debugging apart.
fn lines(process: &Process) -> Vec<String> {
    let about_the_store = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let level = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        ["INFO", "WARN", "ERROR"].contains(&level) && target.starts_with("llm_cache_server::store")
    };
    let log = process.stderr();
    log.lines()
        .filter(about_the_store)
        .map(str::to_owned)
        .collect()
}
