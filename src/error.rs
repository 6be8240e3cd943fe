//! What a client is told when this server answers with an error of its own.

use serde_json::json;

/// An error as the OpenAI API words it: status, type, code, message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, 4xx or 5xx.
    pub status: u16,
    /// `error.type`: the class clients branch on.
    pub kind: &'static str,
    /// `error.code`: the one thing that went wrong.
    pub code: &'static str,
    /// `error.message`: for people; says what to change where that is known.
    pub message: String,
}

impl ApiError {
    /// The request body is longer than the configured limit.
    pub fn body_too_large(bytes_max: usize) -> ApiError {
        ApiError {
            status: 413,
            kind: "invalid_request_error",
            code: "body_too_large",
            message: format!(
                "the request body is larger than {bytes_max} bytes, the limit of this proxy \
                 (limits.body_bytes_max)"
            ),
        }
    }

    /// The client stopped sending its body.
    pub fn body_timeout() -> ApiError {
        ApiError {
            status: 408,
            kind: "invalid_request_error",
            code: "body_timeout",
            message: "the request body did not arrive in time (limits.body_timeout)".into(),
        }
    }

    /// The client asked for a stored answer only, and there is none.
    pub fn only_if_cached() -> ApiError {
        ApiError {
            status: 504,
            kind: "cache_error",
            code: "not_cached",
            message: "no stored answer, and the request said only-if-cached".into(),
        }
    }

    /// No connection to the upstream.
    pub fn upstream_unreachable(upstream: &str) -> ApiError {
        ApiError {
            status: 502,
            kind: "upstream_error",
            code: "upstream_unreachable",
            message: format!("the upstream {upstream:?} cannot be reached"),
        }
    }

    /// The upstream took the request and did not answer in time.
    pub fn upstream_timeout(upstream: &str) -> ApiError {
        ApiError {
            status: 504,
            kind: "upstream_error",
            code: "upstream_timeout",
            message: format!("the upstream {upstream:?} did not answer in time"),
        }
    }

    /// The upstream broke off before it answered.
    pub fn upstream_broken(upstream: &str) -> ApiError {
        ApiError {
            status: 502,
            kind: "upstream_error",
            code: "upstream_broken",
            message: format!("the upstream {upstream:?} closed the connection without an answer"),
        }
    }

    /// The answer broke off, or is too long, for a client that needs it whole.
    pub fn broken_answer() -> ApiError {
        ApiError {
            status: 502,
            kind: "upstream_error",
            code: "upstream_broken",
            message: "the answer broke off, and HTTP/1.0 has no way to say so later".into(),
        }
    }

    /// More headers than can be passed on.
    pub fn too_many_headers(max: usize) -> ApiError {
        ApiError {
            status: 431,
            kind: "invalid_request_error",
            code: "too_many_headers",
            message: format!("the request has more than {max} headers"),
        }
    }

    /// The request line or its headers are not acceptable.
    pub fn bad_request(message: &str) -> ApiError {
        ApiError {
            status: 400,
            kind: "invalid_request_error",
            code: "bad_request",
            message: message.into(),
        }
    }

    /// A fault of this server.
    pub fn internal() -> ApiError {
        ApiError {
            status: 500,
            kind: "proxy_error",
            code: "internal_error",
            message: "the proxy failed; its log says why".into(),
        }
    }

    /// The body in the OpenAI shape.
    pub fn to_json(&self) -> Vec<u8> {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": null,
            "code": self.code,
        }})
        .to_string()
        .into_bytes()
    }
}
