//! Traces: which request caused which, across services. W3C `traceparent` in and out, spans to an
//! OpenTelemetry collector if the configuration names one.
//!
//! A client's request is a server span. The one request to the upstream is a client span below the
//! request that caused it; requests that joined it link to it. Without a collector nothing is made,
//! and a client's `traceparent` goes upstream as it came.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanLimits,
};
use tokio::runtime::Handle;

use crate::config;
use crate::metrics::Metrics;
pub use call::{Call, Subject};
use courier::Courier;
use delivery::Bounded;

mod call;
mod courier;
mod delivery;
mod parent;

/// Spans that wait for the collector; more are lost. About 1 KiB each: what clients choose is cut.
const QUEUE_MAX: usize = 4096;
/// Spans in one request to the collector.
const BATCH_MAX: usize = 512;
/// A batch that is not full leaves after this time.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// A batch that is refused or does not arrive is tried again within this time.
const EXPORT_MAX: Duration = Duration::from_secs(10);
/// At the end, the collector gets this long to take what is left.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Makes spans, or nothing if no collector is configured.
#[derive(Clone, Default)]
pub struct Traces {
    on: Option<Arc<On>>,
}

struct On {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Traces that go to the configured collector, sent by tasks on `runtime`.
    ///
    /// # Errors
    /// What the exporter does not like, in words.
    pub fn new(
        config: &config::Tracing,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> Result<Traces, String> {
        let courier = Courier::new(runtime);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(courier)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(config.endpoint.as_str())
            .with_timeout(EXPORT_MAX)
            .build()
            .map_err(|e| e.to_string())?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let endpoint = config.endpoint.to_string();
        let processor = Bounded::new(exporter, batches, endpoint, metrics);
        let resource = Resource::builder_empty()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let ratio = Sampler::TraceIdRatioBased(config.sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            // Else variables of the environment would say how much of a span is told.
            .with_span_limits(SpanLimits::default())
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("llm-cache-server");
        Ok(Traces {
            on: Some(Arc::new(On { provider, tracer })),
        })
    }

    /// What a client's request says, and its span.
    pub fn visit(&self, headers: &HeaderMap) -> Visit {
        let parent = parent::of(headers);
        let span = self.on.as_ref().map(|on| {
            let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server);
            let parent = match &parent {
                Some(parent) => Context::new().with_remote_span_context(parent.clone()),
                None => Context::new(),
            };
            on.tracer.build_with_context(builder, &parent)
        });
        Visit {
            parent,
            span: span.map(Box::new),
        }
    }

    /// The span of a request to an upstream on behalf of `visit`.
    pub fn call(&self, visit: &Visit) -> Call {
        let span = self.on.as_ref().map(|on| {
            let parent = Context::new().with_remote_span_context(visit.context());
            let builder = SpanBuilder::from_name("upstream").with_kind(SpanKind::Client);
            on.tracer.build_with_context(builder, &parent)
        });
        Call::new(span)
    }

    /// Sends what is left. Blocks, for 5 s at most.
    pub fn close(&self) {
        if let Some(on) = &self.on
            && let Err(error) = on.provider.shutdown_with_timeout(CLOSE_MAX)
        {
            log::warn!("the last traces were not delivered: {error}");
        }
    }
}

/// A client's request as traces see it.
#[derive(Default)]
pub struct Visit {
    parent: Option<SpanContext>,
    /// Boxed: most requests have none.
    span: Option<Box<SdkSpan>>,
}

impl Visit {
    /// The trace to look for: its client's, or its own if it is recorded.
    pub fn trace_id(&self) -> Option<String> {
        let own = self.span.as_ref().filter(|span| span.is_recording());
        let context = own.map(|span| span.span_context());
        let context = context.or(self.parent.as_ref())?;
        Some(context.trace_id().to_string())
    }

    /// Whether anyone will read what is said about this request.
    pub fn is_recorded(&self) -> bool {
        self.span.as_ref().is_some_and(|span| span.is_recording())
    }

    /// This request waits for a call that another one caused.
    pub fn joined(&mut self, call: Option<&SpanContext>) {
        if let (Some(span), Some(call)) = (&mut self.span, call) {
            span.add_link(call.clone(), Vec::new());
        }
    }

    /// Says what became of the request, and ends its span.
    pub fn end(&mut self, name: String, attributes: Vec<KeyValue>, failed: Option<&'static str>) {
        if let Some(span) = &mut self.span {
            span.update_name(name);
            span.set_attributes(attributes);
            if let Some(why) = failed {
                span.set_status(Status::error(why));
            }
            span.end();
        }
    }

    /// What is left of it for a call that is made without it.
    pub fn cause(&self) -> Visit {
        Visit {
            parent: Some(self.context()),
            span: None,
        }
    }

    fn context(&self) -> SpanContext {
        match (&self.span, &self.parent) {
            (Some(span), _) => span.span_context().clone(),
            (None, Some(parent)) => parent.clone(),
            (None, None) => SpanContext::empty_context(),
        }
    }
}
