//! Chat requests by size.

/// About as long as one turn of a conversation, with the escapes of prose in Markdown.
const TURN: &str = r#"Answer from the documents below, and name the one you used.\n\n## Shipping\n- Orders before noon leave the same day.\n- Ask for \"express\" if it is urgent; \u20ac 5 more.\n\n## Returns\nWithin thirty days, in the original box. Refunds take a week, sometimes two."#;

pub const IGNORED: &[&str] = &["user", "metadata", "prompt_cache_key", "safety_identifier"];

/// A chat request of about `len` bytes, with keys in the order of the canonical text or out of it.
pub fn body(len: usize, sorted: bool) -> String {
    let message = |i: usize| {
        let role = if i.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        match sorted {
            true => format!(r#"{{"content":"{i}: {TURN}","role":"{role}"}}"#),
            false => format!(r#"{{"role":"{role}","content":"{i}: {TURN}"}}"#),
        }
    };
    let messages: Vec<String> = (0..len / message(0).len()).map(message).collect();
    let messages = messages.join(",");
    match sorted {
        true => format!(
            r#"{{"messages":[{messages}],"model":"gpt-4o","stream":true,"temperature":0.7,"user":"u"}}"#
        ),
        false => format!(
            r#"{{"user":"u","model":"gpt-4o","temperature":0.7,"messages":[{messages}],"stream":true}}"#
        ),
    }
}
