//! Times in a histogram, and as JSON.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Times up to two minutes, to three digits.
pub struct Times(Histogram<u64>);

impl Times {
    pub fn new() -> Times {
        let histogram = Histogram::new_with_bounds(1, 120_000_000_000, 3);
        Times(histogram.expect("bounds in order"))
    }

    pub fn of(nanos: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::new();
        nanos.into_iter().for_each(|ns| times.add(ns));
        times
    }

    pub fn add(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of the times does not exceed, in microseconds.
    pub fn us(&self, share: f64) -> f64 {
        micros(self.0.value_at_quantile(share) as i64)
    }

    pub fn max_us(&self) -> f64 {
        micros(self.0.max() as i64)
    }

    pub fn json(&self) -> Value {
        json!({
            "p50_us": self.us(0.5),
            "p90_us": self.us(0.9),
            "p99_us": self.us(0.99),
            "p99.9_us": self.us(0.999),
            "max_us": self.max_us(),
        })
    }
}

/// Microseconds with one decimal.
pub fn micros(nanos: i64) -> f64 {
    (nanos as f64 / 100.0).round() / 10.0
}

/// Milliseconds with one decimal.
pub fn millis(nanos: u64) -> f64 {
    (nanos as f64 / 1e5).round() / 10.0
}

/// A part of the whole, with two decimals.
pub fn share(part: u64, whole: u64) -> f64 {
    (part as f64 * 100.0 / whole.max(1) as f64).round() / 100.0
}
