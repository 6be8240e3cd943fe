//! The series of the shared tier.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::register::{counter, counters, gauge, labels, latencies};

/// Every series of the shared tier; without one they stay at zero.
pub struct Shared {
    operations: IntCounterVec,
    operation_seconds: HistogramVec,
    bad_values: IntCounterVec,
    leases: IntCounterVec,
    followed: IntCounterVec,
    purges: IntCounterVec,
    /// The worst breaker of all servers: 0 closed, 1 half-open, 2 open.
    pub breaker: IntGauge,
    /// Servers known.
    pub servers: IntGauge,
    /// Servers with a connection.
    pub servers_connected: IntGauge,
    /// Bytes of answers waiting to be written.
    pub queue_bytes: IntGauge,
    /// Answers that were not written.
    pub writes_dropped: IntCounter,
    /// Whether the purges of the fleet are known since the start: 1 or 0.
    pub purges_known: IntGauge,
}

labels! {
    /// What is asked of a server.
    Operation {
        Claim => "claim", Get => "get", Put => "put", Publish => "publish", Follow => "follow",
        Lease => "lease", Purges => "purges",
    }
}
labels! {
    /// How an operation ended.
    OperationResult {
        Ok => "ok", Deadline => "deadline", Unreachable => "unreachable", Busy => "busy",
        Open => "open", Refused => "refused",
    }
}
labels! {
    /// Why a value is not an answer.
    BadValue {
        Foreign => "foreign", Damaged => "damaged", Version => "version", Key => "key",
        Purged => "purged", TooLarge => "too-large",
    }
}
labels! {
    /// What became of a lease.
    LeaseResult { Taken => "taken", Elsewhere => "elsewhere", Lost => "lost" }
}
labels! {
    /// What became of an answer of another replica that was followed.
    Followed {
        Complete => "complete", Broken => "broken", TakenOver => "taken-over", Refused => "refused",
    }
}
labels! {
    /// Whose purge it was.
    Direction { Sent => "sent", Received => "received" }
}

impl Shared {
    /// Registers every series.
    pub(super) fn new(r: &Registry) -> Result<Shared, prometheus::Error> {
        let shared = Shared {
            operations: counters(
                r,
                "shared_operations_total",
                "Operations of the shared tier, by how they ended.",
                &["operation", "result"],
            )?,
            operation_seconds: latencies(
                r,
                "shared_operation_seconds",
                "Operations of the shared tier that were answered.",
                &["operation"],
            )?,
            bad_values: counters(
                r,
                "shared_bad_values_total",
                "Values of the shared tier that are not the answer they should be.",
                &["reason"],
            )?,
            leases: counters(
                r,
                "shared_leases_total",
                "Leases on questions that the whole fleet asks once.",
                &["result"],
            )?,
            followed: counters(
                r,
                "shared_followed_total",
                "Answers on their way to another replica that were followed.",
                &["result"],
            )?,
            purges: counters(
                r,
                "shared_purges_total",
                "Purges told to the fleet and heard from it.",
                &["direction"],
            )?,
            breaker: gauge(
                r,
                "shared_breaker",
                "The worst circuit breaker of the shared tier: closed (0), half-open (1), open (2).",
            )?,
            servers: gauge(r, "shared_servers", "Servers of the shared tier.")?,
            servers_connected: gauge(
                r,
                "shared_servers_connected",
                "Servers of the shared tier that there is a connection to.",
            )?,
            queue_bytes: gauge(
                r,
                "shared_queue_bytes",
                "Bytes waiting to be written to the shared tier.",
            )?,
            writes_dropped: counter(
                r,
                "shared_writes_dropped_total",
                "Answers that were not written to the shared tier.",
            )?,
            purges_known: gauge(
                r,
                "shared_purges_known",
                "Whether the purges of the fleet are known (1) or not yet (0).",
            )?,
        };
        shared.known();
        Ok(shared)
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
        LeaseResult::ALL
            .iter()
            .for_each(|result| drop(self.leases(*result)));
        Followed::ALL
            .iter()
            .for_each(|result| drop(self.followed(*result)));
        Direction::ALL
            .iter()
            .for_each(|way| drop(self.purges(*way)));
    }

    /// Operations, by how they ended.
    pub fn operations(&self, operation: Operation, result: OperationResult) -> IntCounter {
        let labels = [operation.as_str(), result.as_str()];
        self.operations.with_label_values(&labels)
    }

    /// Operations that were answered, in seconds.
    pub fn operation_seconds(&self, operation: Operation) -> prometheus::Histogram {
        self.operation_seconds
            .with_label_values(&[operation.as_str()])
    }

    /// Values that are no answers.
    pub fn bad_values(&self, reason: BadValue) -> IntCounter {
        self.bad_values.with_label_values(&[reason.as_str()])
    }

    /// Leases.
    pub fn leases(&self, result: LeaseResult) -> IntCounter {
        self.leases.with_label_values(&[result.as_str()])
    }

    /// Answers of other replicas that were followed.
    pub fn followed(&self, result: Followed) -> IntCounter {
        self.followed.with_label_values(&[result.as_str()])
    }

    /// Purges told and heard.
    pub fn purges(&self, direction: Direction) -> IntCounter {
        self.purges.with_label_values(&[direction.as_str()])
    }
}
