//! What the writer takes from its queue at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::key::Key;
use crate::store::record::Record;

/// A batch is written once it has so many entries, or enough bytes, or once the queue is empty.
const BATCH_LEN: usize = 512;

/// What the queue holds.
pub enum Command {
    /// An answer to be written.
    Put(Arc<Record>),
    /// A key that goes.
    Delete(Key),
    /// The end.
    Stop,
}

/// What is written together. Of several commands for one key the last one counts.
#[derive(Default)]
pub struct Batch {
    /// Answers to be written.
    pub puts: HashMap<Key, Arc<Record>>,
    /// Keys that go.
    pub deletes: HashSet<Key>,
    /// Every record taken from the queue, to be released once the batch is through.
    pub taken: Vec<Arc<Record>>,
    /// Commands taken from the queue.
    pub commands: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Batch {
    /// An empty one, full from so many bytes on.
    pub fn new(bytes_max: usize) -> Batch {
        Batch {
            bytes_max,
            ..Batch::default()
        }
    }

    /// Takes a command in; false if it was the last one.
    pub fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Put(record) => {
                self.deletes.remove(&record.key);
                self.bytes += record.weight();
                self.taken.push(record.clone());
                self.puts.insert(record.key, record);
            }
            Command::Delete(key) => {
                self.puts.remove(&key);
                self.deletes.insert(key);
            }
            Command::Stop => return false,
        }
        self.commands += 1;
        true
    }

    /// Whether it is to be written before more is taken.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max || self.taken.len() + self.deletes.len() >= BATCH_LEN
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.deletes.is_empty()
    }
}
