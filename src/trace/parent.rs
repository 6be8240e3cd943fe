//! What a client's `traceparent` and `tracestate` say, read as strictly as W3C Trace Context asks.

use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// Digits of version, trace, parent and flags.
const SHAPE: [usize; 4] = [2, 32, 16, 2];

/// The client's span. `None` without one, or with one that cannot be made out.
pub fn of(headers: &HeaderMap) -> Option<SpanContext> {
    let mut all = headers.get_all("traceparent").iter();
    let parent = all.next()?.to_str().ok()?;
    // Two of them: whose request this is cannot be told.
    if all.next().is_some() || !is_well_formed(parent) {
        return None;
    }
    let states = headers.get_all("tracestate").iter();
    let states: Option<Vec<&str>> = states.map(|v| v.to_str().ok()).collect();
    let pair = Pair {
        parent,
        state: states.unwrap_or_default().join(","),
    };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &pair);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// Later versions may have more behind the four parts.
fn is_well_formed(parent: &str) -> bool {
    let parts: Vec<&str> = parent.trim().split('-').collect();
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    parts.len() >= SHAPE.len()
        && parts
            .iter()
            .zip(SHAPE)
            .all(|(part, digits)| part.len() == digits && hex(part))
}

struct Pair<'a> {
    parent: &'a str,
    state: String,
}

impl Extractor for Pair<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(list: &[(&'static str, &str)]) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn one_well_formed_parent_is_taken_with_all_its_state() {
        let span = read(&[
            ("traceparent", GOOD),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ]);
        let span = span.unwrap();
        assert_eq!(span.trace_id().to_string(), &GOOD[3..35]);
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(span.trace_state().header(), "a=1,b=2");
        let later = format!("cc{}-what-will-be", &GOOD[2..]);
        assert!(read(&[("traceparent", &later)]).is_some());
    }

    #[test]
    fn what_is_not_one_is_none() {
        for wrong in [
            "",
            "00-1-1-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(read(&[("traceparent", wrong)]), None, "{wrong}");
        }
        assert_eq!(read(&[("traceparent", GOOD), ("traceparent", GOOD)]), None);
        assert_eq!(read(&[("tracestate", "a=1")]), None);
    }
}
