//! Exact policies in theory, to compare the store with: no overhead, evicting to the byte.

use std::collections::{HashMap, VecDeque};

/// A cache of a number of bytes that knows sizes only.
pub trait Policy {
    /// Whether the id is there; if it is not, it is put in.
    fn request(&mut self, id: u64, bytes: u64) -> bool;
}

/// Throws out what was put in first.
pub struct Fifo {
    bytes_max: u64,
    bytes: u64,
    sizes: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Fifo {
    pub fn new(bytes_max: u64) -> Fifo {
        Fifo {
            bytes_max,
            bytes: 0,
            sizes: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl Policy for Fifo {
    fn request(&mut self, id: u64, bytes: u64) -> bool {
        if self.sizes.contains_key(&id) {
            return true;
        }
        self.bytes += bytes;
        self.sizes.insert(id, bytes);
        self.order.push_back(id);
        while self.bytes > self.bytes_max {
            let oldest = self.order.pop_front().expect("it holds bytes");
            self.bytes -= self.sizes.remove(&oldest).expect("it is in the queue");
        }
        false
    }
}

/// Throws out what was not asked for the longest.
pub struct Lru {
    bytes_max: u64,
    bytes: u64,
    nodes: Vec<Node>,
    free: Vec<usize>,
    at: HashMap<u64, usize>,
}

/// Doubly linked; node 0 is before the newest and behind the oldest.
#[derive(Clone, Copy, Default)]
struct Node {
    id: u64,
    bytes: u64,
    newer: usize,
    older: usize,
}

impl Lru {
    pub fn new(bytes_max: u64) -> Lru {
        Lru {
            bytes_max,
            bytes: 0,
            nodes: vec![Node::default()],
            free: Vec::new(),
            at: HashMap::new(),
        }
    }

    fn unlink(&mut self, at: usize) {
        let Node { newer, older, .. } = self.nodes[at];
        self.nodes[newer].older = older;
        self.nodes[older].newer = newer;
    }

    fn link_newest(&mut self, at: usize) {
        let older = self.nodes[0].older;
        self.nodes[at].newer = 0;
        self.nodes[at].older = older;
        self.nodes[older].newer = at;
        self.nodes[0].older = at;
    }
}

impl Policy for Lru {
    fn request(&mut self, id: u64, bytes: u64) -> bool {
        if let Some(&at) = self.at.get(&id) {
            self.unlink(at);
            self.link_newest(at);
            return true;
        }
        let node = Node {
            id,
            bytes,
            ..Node::default()
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.at.insert(id, at);
        self.link_newest(at);
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let oldest = self.nodes[0].newer;
            self.unlink(oldest);
            self.free.push(oldest);
            self.at.remove(&self.nodes[oldest].id);
            self.bytes -= self.nodes[oldest].bytes;
        }
        false
    }
}

/// S3-FIFO (Yang et al. 2023): a small queue on probation, a main queue, and the ids of those
/// that did not pass, as many bytes of them as the main queue has.
pub struct S3Fifo {
    bytes_max: u64,
    probation_max: u64,
    /// Requests on probation after which an entry goes to the main queue.
    promote_at: u8,
    entries: HashMap<u64, Entry>,
    probation: Queue,
    main: Queue,
    ghosts: VecDeque<(u64, u64)>,
    /// By id, which of its places in `ghosts` counts.
    haunting: HashMap<u64, u64>,
    haunting_bytes: u64,
    stamp: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    bytes: u64,
    uses: u8,
}

#[derive(Default)]
struct Queue {
    ids: VecDeque<u64>,
    bytes: u64,
}

impl Queue {
    fn push(&mut self, id: u64, bytes: u64) {
        self.ids.push_back(id);
        self.bytes += bytes;
    }
}

impl S3Fifo {
    pub fn new(bytes_max: u64, probation_percent: u64, promote_at: u8) -> S3Fifo {
        S3Fifo {
            bytes_max,
            probation_max: bytes_max * probation_percent / 100,
            promote_at,
            entries: HashMap::new(),
            probation: Queue::default(),
            main: Queue::default(),
            ghosts: VecDeque::new(),
            haunting: HashMap::new(),
            haunting_bytes: 0,
            stamp: 0,
        }
    }

    fn evict(&mut self) {
        if self.probation.bytes >= self.probation_max || self.main.ids.is_empty() {
            self.evict_probation();
        } else {
            self.evict_main();
        }
    }

    fn evict_probation(&mut self) {
        let Some(id) = self.probation.ids.pop_front() else {
            return;
        };
        let entry = self.entries.get_mut(&id).expect("it is in a queue");
        self.probation.bytes -= entry.bytes;
        if entry.uses >= self.promote_at {
            entry.uses = 0;
            self.main.push(id, entry.bytes);
        } else {
            let bytes = entry.bytes;
            self.entries.remove(&id);
            self.haunt(id, bytes);
        }
    }

    fn evict_main(&mut self) {
        while let Some(id) = self.main.ids.pop_front() {
            let entry = self.entries.get_mut(&id).expect("it is in a queue");
            if entry.uses == 0 {
                self.main.bytes -= entry.bytes;
                self.entries.remove(&id);
                return;
            }
            entry.uses -= 1;
            self.main.ids.push_back(id);
        }
    }

    fn haunt(&mut self, id: u64, bytes: u64) {
        self.stamp += 1;
        self.ghosts.push_back((id, self.stamp));
        self.haunting.insert(id, self.stamp);
        self.haunting_bytes += bytes;
        // Sizes of ghosts are not kept: each counts as much as they do on average.
        let mean = self.haunting_bytes / self.stamp;
        while self.ghosts.len() as u64 * mean.max(1) > self.bytes_max - self.probation_max {
            let (id, stamp) = self.ghosts.pop_front().expect("it is not empty");
            if self.haunting.get(&id) == Some(&stamp) {
                self.haunting.remove(&id);
            }
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, id: u64, bytes: u64) -> bool {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.uses = (entry.uses + 1).min(3);
            return true;
        }
        while self.probation.bytes + self.main.bytes + bytes > self.bytes_max
            && !self.entries.is_empty()
        {
            self.evict();
        }
        self.entries.insert(id, Entry { bytes, uses: 0 });
        if self.haunting.remove(&id).is_some() {
            self.main.push(id, bytes);
        } else {
            self.probation.push(id, bytes);
        }
        false
    }
}
