//! Every metric: names, labels and buckets. Label values are closed sets; no client can add one.

use prometheus::{
    CounterVec, Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

pub use labels::{DropReason, Outcome, Removal, Tier, UpstreamErrorKind};
use register::{amounts, counter, counters, gauge, gauges, latencies, latency};

use crate::config::Rate;

mod labels;
pub mod objects;
mod register;
pub mod shared;

/// Label value where there is no upstream.
const NONE: &str = "none";

/// All series of one server. Two servers in one process have two of these.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    upstream_requests: IntCounterVec,
    upstream_errors: IntCounterVec,
    upstream_first_byte: HistogramVec,
    tokens_spent: IntCounterVec,
    tokens_saved: IntCounterVec,
    cost_spent: CounterVec,
    cost_saved: CounterVec,
    not_stored: IntCounterVec,
    tier_hits: IntCounterVec,
    store_entries: IntGaugeVec,
    store_bytes: IntGaugeVec,
    store_bytes_max: IntGaugeVec,
    store_writes_dropped: IntCounterVec,
    store_removed: IntCounterVec,
    /// Client requests being answered.
    pub requests_in_flight: IntGauge,
    /// Fills asking an upstream.
    pub fills_in_flight: IntGauge,
    /// Requests following a fill, the one that began it included.
    pub followers: IntGauge,
    /// Bytes waiting for the writer.
    pub store_write_queue_bytes: IntGauge,
    /// Answers and removals waiting for the writer.
    pub store_write_queue_entries: IntGauge,
    /// Records written to disk.
    pub store_writes: IntCounter,
    /// Records that did not pass their checks when read.
    pub store_corrupt_records: IntCounter,
    /// Look-ups that the disk did not answer.
    pub store_read_errors: IntCounter,
    /// Databases that would not open.
    pub store_set_aside: IntCounter,
    /// Whether answers are written to disk: 1 or 0.
    pub store_writable: IntGauge,
    /// From taking a batch of answers to having written it, in seconds.
    pub store_write_seconds: Histogram,
    /// Look-ups that had to wait for the disk, in seconds.
    pub store_read_seconds: Histogram,
    /// Bytes RocksDB holds in memory.
    pub store_database_memory_bytes: IntGauge,
    /// Age of the oldest entry on disk, in seconds.
    pub store_oldest_entry_seconds: IntGauge,
    /// Bytes that compaction has still to rewrite.
    pub store_compaction_pending_bytes: IntGauge,
    /// Whether RocksDB holds writes up: 1 or 0.
    pub store_write_stalled: IntGauge,
    /// Errors of RocksDB's own work since the database was opened.
    pub store_background_errors: IntGauge,
    /// Look-ups that gave up waiting for the disk.
    pub store_reads_skipped: IntCounter,
    /// Spans that did not reach the collector.
    pub trace_spans_lost: IntCounter,
    /// Access lines that standard error did not take in time.
    pub access_lines_dropped: IntCounter,
    /// Of the shared tier.
    pub shared: shared::Shared,
    /// Of the bucket below it.
    pub objects: objects::Objects,
}

impl Metrics {
    /// Registers every series. Fails only if two of them had the same name.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        #[cfg(target_os = "linux")]
        r.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let build = gauges(
            r,
            "build_info",
            "Always 1; the labels say what runs.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Metrics {
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
                &["api", "outcome"],
            )?,
            first_byte: latencies(
                r,
                "time_to_first_byte_seconds",
                "From the request's header to the answer's header.",
                &["api", "outcome"],
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
            upstream_first_byte: latencies(
                r,
                "upstream_time_to_first_byte_seconds",
                "From a request sent to an upstream to the header of its answer.",
                &["upstream"],
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
            cost_spent: amounts(
                r,
                "cost_spent_dollars_total",
                "What the tokens spent cost, by the configured prices.",
                &["upstream"],
            )?,
            cost_saved: amounts(
                r,
                "cost_saved_dollars_total",
                "What the tokens saved would have cost, by the configured prices.",
                &["upstream"],
            )?,
            not_stored: counters(
                r,
                "not_stored_total",
                "Answers to cacheable requests that were not kept.",
                &["api", "reason"],
            )?,
            tier_hits: counters(r, "tier_hits_total", "Entries found, by tier.", &["tier"])?,
            store_entries: gauges(r, "store_entries", "Entries in a tier.", &["tier"])?,
            store_bytes: gauges(
                r,
                "store_bytes",
                "Bytes of the entries in a tier.",
                &["tier"],
            )?,
            store_bytes_max: gauges(r, "store_bytes_max", "Bytes a tier may take.", &["tier"])?,
            store_writes_dropped: counters(
                r,
                "store_writes_dropped_total",
                "Answers that were not written to disk.",
                &["reason"],
            )?,
            store_removed: counters(
                r,
                "store_removed_total",
                "Entries that left the disk.",
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
            store_write_queue_entries: gauge(
                r,
                "store_write_queue_entries",
                "Answers to be written to disk, and removals from it, that wait.",
            )?,
            store_writes: counter(r, "store_writes_total", "Answers written to disk.")?,
            store_corrupt_records: counter(
                r,
                "store_corrupt_records_total",
                "Records that did not pass their checks when read.",
            )?,
            store_read_errors: counter(
                r,
                "store_read_errors_total",
                "Look-ups that the disk did not answer.",
            )?,
            store_set_aside: counter(
                r,
                "store_set_aside_total",
                "Databases that would not open and were set aside.",
            )?,
            store_writable: gauge(
                r,
                "store_writable",
                "Whether answers are written to disk (1) or not (0).",
            )?,
            store_write_seconds: latency(
                r,
                "store_write_seconds",
                "From taking a batch of answers to having written it.",
            )?,
            store_read_seconds: latency(
                r,
                "store_read_seconds",
                "Look-ups that had to wait for the disk.",
            )?,
            store_database_memory_bytes: gauge(
                r,
                "store_database_memory_bytes",
                "Bytes that RocksDB holds in memory.",
            )?,
            store_oldest_entry_seconds: gauge(
                r,
                "store_oldest_entry_seconds",
                "Age of the oldest entry on disk.",
            )?,
            store_compaction_pending_bytes: gauge(
                r,
                "store_compaction_pending_bytes",
                "Bytes that compaction has still to rewrite.",
            )?,
            store_write_stalled: gauge(
                r,
                "store_write_stalled",
                "Whether RocksDB holds writes up (1) or not (0).",
            )?,
            store_background_errors: gauge(
                r,
                "store_background_errors",
                "Errors of RocksDB's own work since the database was opened.",
            )?,
            store_reads_skipped: counter(
                r,
                "store_reads_skipped_total",
                "Look-ups that gave up waiting for the disk and went upstream.",
            )?,
            trace_spans_lost: counter(
                r,
                "trace_spans_lost_total",
                "Spans that did not reach the collector.",
            )?,
            access_lines_dropped: counter(
                r,
                "access_lines_dropped_total",
                "Access lines that were not written: the log was not read fast enough.",
            )?,
            shared: shared::Shared::new(r)?,
            objects: objects::Objects::new(r)?,
            registry,
        };
        metrics.store_known();
        Ok(metrics)
    }

    /// Makes the series of the store appear at zero.
    fn store_known(&self) {
        for tier in Tier::ALL {
            self.tier_hits(tier);
        }
        for reason in DropReason::ALL {
            self.store_writes_dropped(reason);
        }
        for reason in Removal::ALL {
            self.store_removed(reason);
        }
    }

    /// Makes the series of an upstream appear at zero: what grows from nothing has no rate.
    pub fn upstream_known(&self, upstream: &str) {
        self.upstream_requests(upstream);
        self.upstream_first_byte(upstream);
        for kind in UpstreamErrorKind::ALL {
            self.upstream_errors(upstream, kind);
        }
        let free = Rate {
            input: 0.0,
            output: 0.0,
        };
        self.spent(upstream, (0, 0), Some(free));
        self.saved(upstream, (0, 0), Some(free));
    }

    /// Counts a finished request. `api` and `upstream` come from closed sets.
    pub fn request(&self, api: &str, upstream: Option<&str>, outcome: Outcome, timing: Timing) {
        let (upstream, outcome) = (upstream.unwrap_or(NONE), outcome.as_str());
        self.requests
            .with_label_values(&[api, upstream, outcome])
            .inc();
        self.duration
            .with_label_values(&[api, outcome])
            .observe(timing.total_secs);
        if let Some(secs) = timing.first_byte_secs {
            self.first_byte
                .with_label_values(&[api, outcome])
                .observe(secs);
        }
    }

    /// Requests sent to `upstream`.
    pub fn upstream_requests(&self, upstream: &str) -> IntCounter {
        self.upstream_requests.with_label_values(&[upstream])
    }

    /// Requests to `upstream` that did not end well.
    pub fn upstream_errors(&self, upstream: &str, kind: UpstreamErrorKind) -> IntCounter {
        self.upstream_errors
            .with_label_values(&[upstream, kind.as_str()])
    }

    /// From a request sent to `upstream` to the header of its answer, in seconds.
    pub fn upstream_first_byte(&self, upstream: &str) -> Histogram {
        self.upstream_first_byte.with_label_values(&[upstream])
    }

    /// Adds (input, output) tokens that a provider was paid for, and what they cost.
    pub fn spent(&self, upstream: &str, usage: (u64, u64), rate: Option<Rate>) {
        add_tokens(&self.tokens_spent, upstream, usage);
        add_cost(&self.cost_spent, upstream, usage, rate);
    }

    /// Adds (input, output) tokens that nobody had to pay for, and what they would have cost.
    pub fn saved(&self, upstream: &str, usage: (u64, u64), rate: Option<Rate>) {
        add_tokens(&self.tokens_saved, upstream, usage);
        add_cost(&self.cost_saved, upstream, usage, rate);
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

    /// Bytes a tier may take.
    pub fn store_bytes_max(&self, tier: Tier) -> IntGauge {
        self.store_bytes_max.with_label_values(&[tier.as_str()])
    }

    /// Answers not written to disk.
    pub fn store_writes_dropped(&self, reason: DropReason) -> IntCounter {
        self.store_writes_dropped
            .with_label_values(&[reason.as_str()])
    }

    /// Entries that left the disk.
    pub fn store_removed(&self, reason: Removal) -> IntCounter {
        self.store_removed.with_label_values(&[reason.as_str()])
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

fn add_cost(dollars: &CounterVec, upstream: &str, usage: (u64, u64), rate: Option<Rate>) {
    if let Some(rate) = rate {
        dollars
            .with_label_values(&[upstream])
            .inc_by(rate.dollars(usage));
    }
}

fn add_tokens(counters: &IntCounterVec, upstream: &str, (input, output): (u64, u64)) {
    counters
        .with_label_values(&[upstream, "input"])
        .inc_by(input);
    counters
        .with_label_values(&[upstream, "output"])
        .inc_by(output);
}
