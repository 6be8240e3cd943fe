//! Closed sets of label values.

/// How a request was answered. The words are the ones of the `x-llm-cache` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From a tier.
    Hit,
    /// By following another request's fill.
    Coalesced,
    /// From the upstream; the answer is kept if it is worth keeping.
    Miss,
    /// From a tier though no longer fresh: it is being asked for anew, or the upstream fails.
    Stale,
    /// From the upstream although an entry may exist, because the client asked for it.
    Refresh,
    /// From the upstream or by an error of this server, without the cache.
    Bypass,
}

impl Outcome {
    /// The word in headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Coalesced => "coalesced",
            Outcome::Miss => "miss",
            Outcome::Stale => "stale",
            Outcome::Refresh => "refresh",
            Outcome::Bypass => "bypass",
        }
    }
}

/// Where an entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The hot tier.
    Memory,
    /// RocksDB.
    Disk,
    /// The shared tier.
    Shared,
    /// The bucket below it.
    Objects,
}

impl Tier {
    /// All there are.
    pub const ALL: [Tier; 4] = [Tier::Memory, Tier::Disk, Tier::Shared, Tier::Objects];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Disk => "disk",
            Tier::Shared => "shared",
            Tier::Objects => "objects",
        }
    }
}

/// Why a finished answer was not written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The writer's queue was full.
    QueueFull,
    /// The files have reached `store.disk_bytes_max`.
    DiskFull,
    /// The database refused.
    Error,
}

impl DropReason {
    /// All there are.
    pub const ALL: [DropReason; 3] = [
        DropReason::QueueFull,
        DropReason::DiskFull,
        DropReason::Error,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::DiskFull => "disk_full",
            DropReason::Error => "error",
        }
    }
}

/// Why an entry left the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// To make room.
    Evicted,
    /// It was too old, also to be served stale.
    Expired,
    /// Somebody purged it.
    Purged,
    /// A newer answer took its place, in this form or another.
    Replaced,
    /// It could not be read.
    Damaged,
}

impl Removal {
    /// All there are.
    pub const ALL: [Removal; 5] = [
        Removal::Evicted,
        Removal::Expired,
        Removal::Purged,
        Removal::Replaced,
        Removal::Damaged,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Removal::Evicted => "evicted",
            Removal::Expired => "expired",
            Removal::Purged => "purged",
            Removal::Replaced => "replaced",
            Removal::Damaged => "damaged",
        }
    }
}

/// What went wrong with an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// No connection, after retries.
    Connect,
    /// No first byte, or none for too long afterwards.
    Timeout,
    /// The connection broke in the middle of an answer.
    Broken,
    /// An answer with status 429.
    RateLimited,
    /// An answer with status 5xx.
    Status5xx,
}

impl UpstreamErrorKind {
    /// All there are.
    pub const ALL: [UpstreamErrorKind; 5] = [
        UpstreamErrorKind::Connect,
        UpstreamErrorKind::Timeout,
        UpstreamErrorKind::Broken,
        UpstreamErrorKind::RateLimited,
        UpstreamErrorKind::Status5xx,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamErrorKind::Connect => "connect",
            UpstreamErrorKind::Timeout => "timeout",
            UpstreamErrorKind::Broken => "broken",
            UpstreamErrorKind::RateLimited => "rate_limited",
            UpstreamErrorKind::Status5xx => "status_5xx",
        }
    }
}
