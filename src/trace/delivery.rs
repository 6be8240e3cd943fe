//! What the SDK's queue and exporter leave open: how many spans wait, and how many were lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfig, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use super::QUEUE_MAX;
use crate::metrics::Metrics;

/// The SDK's batch processor, behind a bound that counts what it turns away.
#[derive(Debug)]
pub struct Bounded {
    batches: BatchSpanProcessor,
    ledger: Arc<Ledger>,
}

/// The exporter, with an account of what arrived.
#[derive(Debug)]
struct Accounted {
    exporter: Otlp,
    ledger: Arc<Ledger>,
}

struct Ledger {
    /// Spans in the queue and in the batch under way.
    waiting: AtomicUsize,
    /// The last batch did not arrive: said once, not with every batch.
    down: AtomicBool,
    metrics: Arc<Metrics>,
    endpoint: String,
}

impl Bounded {
    /// Batches for `exporter`, which brings them to `endpoint`.
    pub fn new(
        exporter: Otlp,
        config: BatchConfig,
        endpoint: String,
        metrics: Arc<Metrics>,
    ) -> Bounded {
        let ledger = Arc::new(Ledger {
            waiting: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            metrics,
            endpoint,
        });
        let accounted = Accounted {
            exporter,
            ledger: ledger.clone(),
        };
        let batches = BatchSpanProcessor::builder(accounted).with_batch_config(config);
        Bounded {
            batches: batches.build(),
            ledger,
        }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.batches.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        if self.ledger.waiting.fetch_add(1, Relaxed) < QUEUE_MAX {
            self.batches.on_end(span);
        } else {
            self.ledger.waiting.fetch_sub(1, Relaxed);
            self.ledger.lost(1, "the queue is full");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

impl SpanExporter for Accounted {
    /// Tries again on its own, so this is once for each batch.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.ledger.waiting.fetch_sub(spans, Relaxed);
        match &result {
            Ok(()) => self.ledger.arrived(),
            Err(error) => self.ledger.lost(spans, &error.to_string()),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl Ledger {
    fn lost(&self, spans: usize, why: &str) {
        self.metrics.trace_spans_lost.inc_by(spans as u64);
        if !self.down.swap(true, Relaxed) {
            log::warn!("spans are lost on their way to {}: {why}", self.endpoint);
        }
    }

    fn arrived(&self) {
        if self.down.swap(false, Relaxed) {
            log::info!("spans are delivered again to {}", self.endpoint);
        }
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("endpoint", &self.endpoint)
            .finish()
    }
}
