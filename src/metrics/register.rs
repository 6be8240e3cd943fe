//! Making series and registering them.

use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Latencies from a hit (50 µs) to the slowest LLM call (82 s): hits need the fine steps at the
/// bottom, calls the doubling ones from 10 ms on.
const LATENCY_BUCKETS: &[f64] = &[
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32,
    0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// A closed set of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All there are.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $label),+ }
            }
        }
    };
}
pub(super) use labels;

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("llm_cache")
}

/// Registers a series.
pub fn counters(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(opts(name, help), labels)?;
    r.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// Registers a series.
pub fn gauges(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauges = IntGaugeVec::new(opts(name, help), labels)?;
    r.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

/// Registers a series.
pub fn counter(r: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::with_opts(opts(name, help))?;
    r.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Registers a series.
pub fn gauge(r: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::with_opts(opts(name, help))?;
    r.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// Registers a series that grows by fractions.
pub fn amounts(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<CounterVec, prometheus::Error> {
    let amounts = CounterVec::new(opts(name, help), labels)?;
    r.register(Box::new(amounts.clone()))?;
    Ok(amounts)
}

/// Registers a series.
pub fn latencies(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let opts = HistogramOpts::new(name, help)
        .namespace("llm_cache")
        .buckets(LATENCY_BUCKETS.to_vec());
    let histogram = HistogramVec::new(opts, labels)?;
    r.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// Registers a series.
pub fn latency(r: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts::new(name, help)
        .namespace("llm_cache")
        .buckets(LATENCY_BUCKETS.to_vec());
    let histogram = Histogram::with_opts(opts)?;
    r.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
