//! The series of the bucket below the shared tier.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::register::{counter, counters, gauge, labels, latencies};
use super::shared::{BadValue, OperationResult};

/// Every series of the bucket; without one they stay at zero.
pub struct Objects {
    operations: IntCounterVec,
    operation_seconds: HistogramVec,
    bad_values: IntCounterVec,
    /// Its breaker: 0 closed, 1 half-open, 2 open.
    pub breaker: IntGauge,
    /// Bytes of answers waiting to be written.
    pub queue_bytes: IntGauge,
    /// Answers that were not written.
    pub writes_dropped: IntCounter,
}

labels! {
    /// What is asked of the bucket.
    Operation { Get => "get", Put => "put", Delete => "delete" }
}

impl Objects {
    /// Registers every series.
    pub(super) fn new(r: &Registry) -> Result<Objects, prometheus::Error> {
        let objects = Objects {
            operations: counters(
                r,
                "objects_operations_total",
                "Requests to the bucket, by how they ended.",
                &["operation", "result"],
            )?,
            operation_seconds: latencies(
                r,
                "objects_operation_seconds",
                "Requests to the bucket that were answered.",
                &["operation"],
            )?,
            bad_values: counters(
                r,
                "objects_bad_values_total",
                "Objects that are not the answer they should be.",
                &["reason"],
            )?,
            breaker: gauge(
                r,
                "objects_breaker",
                "The circuit breaker of the bucket: closed (0), half-open (1), open (2).",
            )?,
            queue_bytes: gauge(
                r,
                "objects_queue_bytes",
                "Bytes waiting to be written to the bucket.",
            )?,
            writes_dropped: counter(
                r,
                "objects_writes_dropped_total",
                "Answers that were not written to the bucket.",
            )?,
        };
        objects.known();
        Ok(objects)
    }

    /// Makes the series appear at zero: what grows from nothing has no rate.
    fn known(&self) {
        for operation in Operation::ALL {
            for result in OperationResult::ALL {
                self.operations(*operation, *result);
            }
            self.operation_seconds(*operation);
        }
        BadValue::ALL
            .iter()
            .for_each(|reason| drop(self.bad_values(*reason)));
    }

    /// Requests, by how they ended.
    pub fn operations(&self, operation: Operation, result: OperationResult) -> IntCounter {
        let labels = [operation.as_str(), result.as_str()];
        self.operations.with_label_values(&labels)
    }

    /// Requests that were answered, in seconds.
    pub fn operation_seconds(&self, operation: Operation) -> prometheus::Histogram {
        self.operation_seconds
            .with_label_values(&[operation.as_str()])
    }

    /// Objects that are no answers.
    pub fn bad_values(&self, reason: BadValue) -> IntCounter {
        self.bad_values.with_label_values(&[reason.as_str()])
    }
}
