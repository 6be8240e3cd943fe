//! Which server to ask: the one there is, or the cluster's for a slot.
//!
//! The cluster's layout is learnt in the background and never waited for: from any node that
//! answers, at once when an operation met something odd, else now and then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::dial::{Dialer, Target};
use super::link::{Link, jittered};
use super::slots::{self, Addr, NODES_MAX, Range, SLOTS};

/// A change that no operation met is noticed after this.
const REFRESH_EVERY: Duration = Duration::from_secs(30);
/// However many operations fail, the layout is asked for no more often.
const REFRESH_SPACING: Duration = Duration::from_millis(250);
/// While operations fail and the layout stays: a fleet that meets a dead node must not keep the
/// others busy, and a failover takes seconds anyway.
const REFRESH_SPACING_MAX: Duration = Duration::from_secs(2);
/// A node that takes longer is not the one to ask.
const REFRESH_MAX: Duration = Duration::from_secs(1);
/// Between attempts while no node answers; longest with back-off.
const REFRESH_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// No node.
const UNSERVED: u16 = u16::MAX;

/// Whom to ask.
pub enum Router {
    /// One server, or the master that sentinels name.
    One(Arc<Link>),
    /// A node per slot.
    Cluster(Arc<Cluster>),
}

impl Router {
    /// Begins to connect, once.
    pub fn start(&self) {
        match self {
            Router::One(link) => link.start(),
            Router::Cluster(cluster) => Cluster::start(cluster),
        }
    }

    /// The server for a key.
    pub fn pick(&self, key: &[u8], replica: bool) -> Option<Arc<Link>> {
        match self {
            Router::One(link) => Some(link.clone()),
            Router::Cluster(cluster) => cluster.pick(slots::slot_of(key), replica),
        }
    }

    /// Something was odd about a server: look for a better one.
    pub fn doubt(&self, link: &Link, demoted: bool) {
        match self {
            Router::One(_) if demoted => link.reconnect(),
            Router::One(_) => {}
            Router::Cluster(cluster) => cluster.wanted.notify_one(),
        }
    }

    /// The server that another one named.
    pub fn redirected(&self, slot: Option<u16>, addr: Addr) -> Option<Arc<Link>> {
        match self {
            Router::One(_) => None,
            Router::Cluster(cluster) => cluster.redirected(slot, addr),
        }
    }

    /// All servers known.
    pub fn links(&self) -> Vec<Arc<Link>> {
        match self {
            Router::One(link) => vec![link.clone()],
            Router::Cluster(cluster) => cluster.map.read().links.values().cloned().collect(),
        }
    }
}

/// The nodes of a cluster.
pub struct Cluster {
    seeds: Vec<Addr>,
    dialer: Arc<Dialer>,
    map: RwLock<Map>,
    wanted: Notify,
    started: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
    turn: AtomicUsize,
}

enum Layout {
    Unknown,
    Same,
    New,
}

struct Map {
    /// What was learnt last.
    ranges: Vec<Range>,
    /// Per slot, where in `shards`.
    owners: Vec<u16>,
    shards: Vec<Shard>,
    links: HashMap<Addr, Arc<Link>>,
}

struct Shard {
    master: Arc<Link>,
    replicas: Vec<Arc<Link>>,
}

impl Cluster {
    /// A cluster of which these nodes are known.
    pub fn new(seeds: Vec<Addr>, dialer: Arc<Dialer>) -> Cluster {
        Cluster {
            seeds,
            dialer,
            map: RwLock::new(Map {
                ranges: Vec::new(),
                owners: vec![UNSERVED; usize::from(SLOTS)],
                shards: Vec::new(),
                links: HashMap::new(),
            }),
            wanted: Notify::new(),
            started: AtomicBool::new(false),
            task: Mutex::new(None),
            turn: AtomicUsize::new(0),
        }
    }

    fn start(cluster: &Arc<Cluster>) {
        if cluster.started.load(Relaxed) || cluster.started.swap(true, Relaxed) {
            return;
        }
        let task = tokio::spawn(keep(Arc::downgrade(cluster)));
        *cluster.task.lock() = Some(task.abort_handle());
    }

    fn pick(&self, slot: u16, replica: bool) -> Option<Arc<Link>> {
        let map = self.map.read();
        let shard = map.owners.get(usize::from(slot));
        let shard = shard.and_then(|shard| map.shards.get(usize::from(*shard)));
        let Some(shard) = shard else {
            drop(map);
            self.wanted.notify_one();
            return None;
        };
        if replica && !shard.replicas.is_empty() {
            let turn = self.turn.fetch_add(1, Relaxed) % shard.replicas.len();
            let (later, first) = shard.replicas.split_at_checked(turn)?;
            if let Some(link) = first.iter().chain(later).find(|link| link.is_up()) {
                return Some(link.clone());
            }
        }
        Some(shard.master.clone())
    }

    fn redirected(&self, slot: Option<u16>, addr: Addr) -> Option<Arc<Link>> {
        let mut map = self.map.write();
        let link = map.open(&addr, &self.dialer)?;
        let owner = slot.and_then(|slot| map.owners.get(usize::from(slot)).map(|_| slot));
        if let Some(slot) = owner {
            let known = map
                .shards
                .iter()
                .position(|shard| Arc::ptr_eq(&shard.master, &link));
            let shard = known.unwrap_or(map.shards.len());
            if known.is_none() && shard < NODES_MAX {
                map.shards.push(Shard {
                    master: link.clone(),
                    replicas: Vec::new(),
                });
            }
            if let Some(owner) = map.owners.get_mut(usize::from(slot)) {
                *owner = u16::try_from(shard).unwrap_or(UNSERVED);
            }
            self.wanted.notify_one();
        }
        Some(link)
    }

    /// Asks nodes in turn until one says how the cluster is laid out.
    async fn refresh(&self) -> Layout {
        let mut links: Vec<Arc<Link>> = {
            let map = self.map.read();
            map.links
                .values()
                .filter(|link| link.is_up())
                .cloned()
                .collect()
        };
        let turn = self.turn.fetch_add(1, Relaxed) % links.len().max(1);
        links.rotate_left(turn);
        let mut question = redis::pipe();
        question.cmd("CLUSTER").arg("SLOTS");
        for link in links {
            let Target::Node(asked) = link.target() else {
                continue;
            };
            let answers = link.ask(&question, Instant::now() + REFRESH_MAX).await;
            let answer = answers.ok().and_then(|answers| answers.into_iter().next());
            if let Some(ranges) = answer.and_then(|answer| slots::parse(answer, asked))
                && let Some(changed) = self.learn(ranges)
            {
                return match changed {
                    true => Layout::New,
                    false => Layout::Same,
                };
            }
        }
        let mut map = self.map.write();
        for seed in &self.seeds {
            map.open(seed, &self.dialer);
        }
        Layout::Unknown
    }

    /// Whether it is another one than before; `None` if it cannot be used.
    fn learn(&self, ranges: Vec<Range>) -> Option<bool> {
        let mut map = self.map.write();
        let changed = map.ranges != ranges;
        let mut next = Map {
            ranges: ranges.clone(),
            owners: vec![UNSERVED; usize::from(SLOTS)],
            shards: Vec::new(),
            links: HashMap::new(),
        };
        let mut masters: HashMap<&Addr, u16> = HashMap::new();
        for range in &ranges {
            let shard = match masters.get(&range.master) {
                Some(shard) => *shard,
                None => {
                    let master = next.adopt(&range.master, &map, &self.dialer)?;
                    let mut replicas = Vec::new();
                    // Without reading from them there is no need for a connection to each.
                    if self.dialer.readonly {
                        for replica in &range.replicas {
                            replicas.extend(next.adopt(replica, &map, &self.dialer));
                        }
                    }
                    let shard = u16::try_from(next.shards.len()).unwrap_or(UNSERVED);
                    next.shards.push(Shard { master, replicas });
                    masters.insert(&range.master, shard);
                    shard
                }
            };
            let slots = usize::from(range.from)..=usize::from(range.to);
            for owner in next.owners.get_mut(slots).into_iter().flatten() {
                *owner = shard;
            }
        }
        // The old links are dropped after the lock.
        let old = std::mem::replace(&mut *map, next);
        drop(map);
        drop(old);
        Some(changed)
    }
}

impl Map {
    fn open(&mut self, addr: &Addr, dialer: &Arc<Dialer>) -> Option<Arc<Link>> {
        if let Some(link) = self.links.get(addr) {
            return Some(link.clone());
        }
        if self.links.len() >= NODES_MAX {
            return None;
        }
        let link = Arc::new(Link::new(Target::Node(addr.clone()), dialer.clone()));
        link.start();
        self.links.insert(addr.clone(), link.clone());
        Some(link)
    }

    /// The link that another map has, or a new one.
    fn adopt(&mut self, addr: &Addr, from: &Map, dialer: &Arc<Dialer>) -> Option<Arc<Link>> {
        match from.links.get(addr) {
            Some(link) if self.links.len() < NODES_MAX => {
                self.links.insert(addr.clone(), link.clone());
                Some(link.clone())
            }
            Some(_) => None,
            None => self.open(addr, dialer),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

/// Keeps the layout current for as long as there is someone to use it.
async fn keep(cluster: Weak<Cluster>) {
    let mut backoff = REFRESH_SPACING;
    let mut spacing = REFRESH_SPACING;
    loop {
        let Some(strong) = cluster.upgrade() else {
            return;
        };
        match strong.refresh().await {
            Layout::Unknown => {
                drop(strong);
                sleep(jittered(backoff)).await;
                backoff = (backoff * 2).min(REFRESH_BACKOFF_MAX);
                continue;
            }
            Layout::Same => spacing = (spacing * 2).min(REFRESH_SPACING_MAX),
            Layout::New => spacing = REFRESH_SPACING,
        }
        backoff = REFRESH_SPACING;
        sleep(jittered(spacing)).await;
        let quiet = timeout(jittered(REFRESH_EVERY), strong.wanted.notified()).await;
        if quiet.is_err() {
            spacing = REFRESH_SPACING;
        }
    }
}
