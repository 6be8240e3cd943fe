//! The span of one request to an upstream.

use http::HeaderName;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Injector, TextMapPropagator};
use opentelemetry::trace::{Span, SpanContext, Status, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span as SdkSpan;
use pingora::http::RequestHeader;

use crate::access_log::cut;

/// What a request to an upstream is about, in the words of OpenTelemetry's GenAI conventions.
pub struct Subject<'a> {
    /// `gen_ai.operation.name`, if it is one of the known APIs.
    pub operation: Option<&'static str>,
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Host of the upstream.
    pub host: &'a str,
    /// Port of the upstream.
    pub port: u16,
    /// The model the client named.
    pub model: Option<&'a str>,
}

/// The span of one request to an upstream. Ended by [`Call::end`], or as failed when it is dropped.
#[derive(Default)]
pub struct Call {
    /// Boxed: most requests have none.
    span: Option<Box<SdkSpan>>,
}

impl Call {
    pub(super) fn new(span: Option<SdkSpan>) -> Call {
        Call {
            span: span.map(Box::new),
        }
    }

    /// What others can link to; `None` without a collector.
    pub fn context(&self) -> Option<SpanContext> {
        self.span.as_ref().map(|span| span.span_context().clone())
    }

    /// Says what is asked of whom.
    pub fn about(&mut self, subject: &Subject<'_>) {
        let Some(span) = self.span.as_mut().filter(|span| span.is_recording()) else {
            return;
        };
        let operation = subject.operation.unwrap_or("pass_through");
        // As long as the client likes, else.
        let model = subject.model.map(cut);
        span.update_name(match model {
            Some(model) => format!("{operation} {model}"),
            None => operation.to_owned(),
        });
        let text = |name, value: &str| KeyValue::new(name, value.to_owned());
        span.set_attribute(text("gen_ai.provider.name", subject.upstream));
        span.set_attribute(text("server.address", subject.host));
        span.set_attribute(KeyValue::new("server.port", i64::from(subject.port)));
        if let Some(operation) = subject.operation {
            span.set_attribute(text("gen_ai.operation.name", operation));
        }
        if let Some(model) = model {
            span.set_attribute(text("gen_ai.request.model", model));
        }
    }

    /// Puts this call in the place of the client's span in the request's `traceparent`.
    pub fn pass_on(&self, request: &mut RequestHeader) {
        if let Some(context) = self.context() {
            let context = opentelemetry::Context::new().with_remote_span_context(context);
            TraceContextPropagator::new().inject_context(&context, &mut Headers(request));
        }
    }

    /// The upstream's status.
    pub fn answered(&mut self, status: u16) {
        if let Some(span) = &mut self.span {
            let name = "http.response.status_code";
            span.set_attribute(KeyValue::new(name, i64::from(status)));
            if status >= 400 {
                span.set_status(Status::error(status.to_string()));
                span.set_attribute(KeyValue::new("error.type", status.to_string()));
            }
        }
    }

    /// The exchange is over: well, or with a word for what went wrong. `usage` is what the provider
    /// counted, (input, output).
    pub fn end(mut self, usage: Option<(u64, u64)>, failed: Option<&'static str>) {
        let Some(mut span) = self.span.take() else {
            return;
        };
        if let Some((input, output)) = usage {
            let count = |tokens| i64::try_from(tokens).unwrap_or(i64::MAX);
            span.set_attribute(KeyValue::new("gen_ai.usage.input_tokens", count(input)));
            span.set_attribute(KeyValue::new("gen_ai.usage.output_tokens", count(output)));
        }
        if let Some(why) = failed {
            span.set_status(Status::error(why));
            span.set_attribute(KeyValue::new("error.type", why));
        }
        span.end();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(span) = &mut self.span {
            span.set_status(Status::error("given up"));
        }
    }
}

/// Pingora keeps the spelling of header names beside the map, so it wants to be told.
struct Headers<'a>(&'a mut RequestHeader);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            return;
        };
        if value.is_empty() {
            self.0.remove_header(&name);
        } else if self.0.insert_header(name, value).is_err() {
            log::debug!("a trace header cannot be sent: {key}");
        }
    }
}
