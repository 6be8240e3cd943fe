//! Every metric: names, labels and buckets. Label values are closed sets; no client can add one.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Latencies from a hit (50 µs) to the slowest LLM call (82 s): hits need the fine steps at the
/// bottom, calls the doubling ones from 10 ms on.
const LATENCY_BUCKETS: &[f64] = &[
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32,
    0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Label value for a model that is not configured to be one.
const NONE: &str = "none";

/// How a request was answered. The words are the ones of the `x-llm-cache` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From a tier.
    Hit,
    /// By following another request's fill.
    Coalesced,
    /// From the upstream; the answer is kept if it is worth keeping.
    Miss,
    /// From the upstream although an entry may exist, because the client asked for it.
    Refresh,
    /// From the upstream, without the cache.
    Bypass,
    /// By this server itself: an error or an end point of its own.
    Error,
}

impl Outcome {
    /// The word in headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Coalesced => "coalesced",
            Outcome::Miss => "miss",
            Outcome::Refresh => "refresh",
            Outcome::Bypass => "bypass",
            Outcome::Error => "error",
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
}

impl Tier {
    fn as_str(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Disk => "disk",
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
    fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::DiskFull => "disk_full",
            DropReason::Error => "error",
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
    fn as_str(self) -> &'static str {
        match self {
            UpstreamErrorKind::Connect => "connect",
            UpstreamErrorKind::Timeout => "timeout",
            UpstreamErrorKind::Broken => "broken",
            UpstreamErrorKind::RateLimited => "rate_limited",
            UpstreamErrorKind::Status5xx => "status_5xx",
        }
    }
}

/// All series of one server. Two servers in one process have two of these.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    upstream_requests: IntCounterVec,
    upstream_errors: IntCounterVec,
    tokens_spent: IntCounterVec,
    tokens_saved: IntCounterVec,
    not_stored: IntCounterVec,
    tier_hits: IntCounterVec,
    store_entries: IntGaugeVec,
    store_bytes: IntGaugeVec,
    store_writes_dropped: IntCounterVec,
    /// Client requests being answered.
    pub requests_in_flight: IntGauge,
    /// Fills asking an upstream.
    pub fills_in_flight: IntGauge,
    /// Requests following a fill, the one that began it included.
    pub followers: IntGauge,
    /// Bytes waiting for the writer.
    pub store_write_queue_bytes: IntGauge,
    /// Records written to disk.
    pub store_writes: IntCounter,
    /// Records that did not pass their checks when read.
    pub store_corrupt_records: IntCounter,
    /// Entries removed to stay under the bound.
    pub store_evictions: IntCounter,
    /// Look-ups that gave up waiting for the disk.
    pub store_reads_skipped: IntCounter,
}

impl Metrics {
    /// Registers every series. Fails only if two of them had the same name.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        #[cfg(target_os = "linux")]
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = gauges(r, "build_info", "Always 1; the labels say what runs.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Metrics {
            requests: counters(
                r,
                "requests_total",
                "Requests on API paths, by how they were answered.",
                &["api", "upstream", "outcome"],
            )?,
            duration: latencies(
                r,
                "request_duration_seconds",
                "From the request's header to the end of the answer.",
            )?,
            first_byte: latencies(
                r,
                "time_to_first_byte_seconds",
                "From the request's header to the answer's header.",
            )?,
            upstream_requests: counters(
                r,
                "upstream_requests_total",
                "Requests sent to an upstream.",
                &["upstream"],
            )?,
            upstream_errors: counters(
                r,
                "upstream_errors_total",
                "Requests to an upstream that did not end well.",
                &["upstream", "kind"],
            )?,
            tokens_spent: counters(
                r,
                "tokens_spent_total",
                "Tokens providers counted for answers that were asked for.",
                &["upstream", "kind"],
            )?,
            tokens_saved: counters(
                r,
                "tokens_saved_total",
                "Tokens of answers given without asking a provider.",
                &["upstream", "kind"],
            )?,
            not_stored: counters(
                r,
                "not_stored_total",
                "Answers to cacheable requests that were not kept.",
                &["api", "reason"],
            )?,
            tier_hits: counters(r, "tier_hits_total", "Entries found, by tier.", &["tier"])?,
            store_entries: gauges(r, "store_entries", "Entries in a tier.", &["tier"])?,
            store_bytes: gauges(r, "store_bytes", "Bytes of the entries in a tier.", &["tier"])?,
            store_writes_dropped: counters(
                r,
                "store_writes_dropped_total",
                "Answers that were not written to disk.",
                &["reason"],
            )?,
            requests_in_flight: gauge(r, "requests_in_flight", "Requests being answered.")?,
            fills_in_flight: gauge(r, "fills_in_flight", "Requests to upstreams under way.")?,
            followers: gauge(r, "followers", "Requests that follow a fill.")?,
            store_write_queue_bytes: gauge(
                r,
                "store_write_queue_bytes",
                "Bytes of answers waiting to be written to disk.",
            )?,
            store_writes: counter(r, "store_writes_total", "Answers written to disk.")?,
            store_corrupt_records: counter(
                r,
                "store_corrupt_records_total",
                "Records that did not pass their checks when read.",
            )?,
            store_evictions: counter(
                r,
                "store_evictions_total",
                "Entries removed from disk to stay under its bound.",
            )?,
            store_reads_skipped: counter(
                r,
                "store_reads_skipped_total",
                "Look-ups that gave up waiting for the disk and went upstream.",
            )?,
            registry,
        })
    }

    /// Counts a finished request. `api` and `upstream` come from closed sets.
    pub fn request(&self, api: &str, upstream: Option<&str>, outcome: Outcome, timing: Timing) {
        let (upstream, outcome) = (upstream.unwrap_or(NONE), outcome.as_str());
        self.requests.with_label_values(&[api, upstream, outcome]).inc();
        self.duration.with_label_values(&[api, outcome]).observe(timing.total_secs);
        if let Some(secs) = timing.first_byte_secs {
            self.first_byte.with_label_values(&[api, outcome]).observe(secs);
        }
    }

    /// Requests sent to `upstream`.
    pub fn upstream_requests(&self, upstream: &str) -> IntCounter {
        self.upstream_requests.with_label_values(&[upstream])
    }

    /// Requests to `upstream` that did not end well.
    pub fn upstream_errors(&self, upstream: &str, kind: UpstreamErrorKind) -> IntCounter {
        self.upstream_errors.with_label_values(&[upstream, kind.as_str()])
    }

    /// Adds (input, output) tokens that a provider was paid for.
    pub fn tokens_spent(&self, upstream: &str, usage: (u64, u64)) {
        add_tokens(&self.tokens_spent, upstream, usage);
    }

    /// Adds (input, output) tokens that nobody had to pay for.
    pub fn tokens_saved(&self, upstream: &str, usage: (u64, u64)) {
        add_tokens(&self.tokens_saved, upstream, usage);
    }

    /// Answers that were not kept. `reason` is a word of this program, never of a client.
    pub fn not_stored(&self, api: &str, reason: &'static str) -> IntCounter {
        self.not_stored.with_label_values(&[api, reason])
    }

    /// Entries found in a tier.
    pub fn tier_hits(&self, tier: Tier) -> IntCounter {
        self.tier_hits.with_label_values(&[tier.as_str()])
    }

    /// Entries a tier holds.
    pub fn store_entries(&self, tier: Tier) -> IntGauge {
        self.store_entries.with_label_values(&[tier.as_str()])
    }

    /// Bytes a tier holds.
    pub fn store_bytes(&self, tier: Tier) -> IntGauge {
        self.store_bytes.with_label_values(&[tier.as_str()])
    }

    /// Answers not written to disk.
    pub fn store_writes_dropped(&self, reason: DropReason) -> IntCounter {
        self.store_writes_dropped.with_label_values(&[reason.as_str()])
    }

    /// The text format that Prometheus scrapes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

/// When things happened in a request, in seconds from its header on.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Until the answer's last byte.
    pub total_secs: f64,
    /// Until the answer's header, if there was one.
    pub first_byte_secs: Option<f64>,
}

fn add_tokens(counters: &IntCounterVec, upstream: &str, (input, output): (u64, u64)) {
    counters.with_label_values(&[upstream, "input"]).inc_by(input);
    counters.with_label_values(&[upstream, "output"]).inc_by(output);
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("llm_cache")
}

fn counters(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(opts(name, help), labels)?;
    r.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauges(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauges = IntGaugeVec::new(opts(name, help), labels)?;
    r.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn counter(r: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::with_opts(opts(name, help))?;
    r.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(r: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::with_opts(opts(name, help))?;
    r.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn latencies(r: &Registry, name: &str, help: &str) -> Result<HistogramVec, prometheus::Error> {
    let opts = HistogramOpts::new(name, help)
        .namespace("llm_cache")
        .buckets(LATENCY_BUCKETS.to_vec());
    let histogram = HistogramVec::new(opts, &["api", "outcome"])?;
    r.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
