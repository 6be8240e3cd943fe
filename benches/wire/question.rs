//! Chat requests, and from an answer's bytes back to when they were sent.

use serde_json::json;

use crate::client::Connection;
use crate::events;
use crate::system::now_ns;

/// About a line of a prompt.
const LINE: &str = "Please review the change below and tell me whether its errors are handled. ";

/// A question of about so many bytes that nobody has asked before.
pub fn unique(bytes: usize, stream: bool) -> Vec<u8> {
    let mut content = format!("{} {}: ", std::process::id(), now_ns());
    while content.len() + 120 < bytes {
        content.push_str(LINE);
    }
    let messages = json!([
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": content},
    ]);
    let mut body = json!({"model": "gpt-4o-mini", "temperature": 0, "messages": messages});
    if stream {
        body["stream"] = json!(true);
    }
    body.to_string().into_bytes()
}

/// From when each event of the last answer was sent to when its last byte was here, nanoseconds.
pub fn delays_ns(connection: &Connection) -> Vec<u64> {
    let mut arrivals = connection.arrivals.iter().peekable();
    let sent = events::sent(&connection.body);
    let delay = |(end, sent_ns): (usize, u64)| {
        while arrivals.next_if(|(upto, _)| *upto < end).is_some() {}
        let (_, at_ns) = arrivals.peek()?;
        Some(at_ns.saturating_sub(sent_ns))
    };
    sent.into_iter().filter_map(delay).collect()
}
