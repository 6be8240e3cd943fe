//! Server-sent events of a chat completion. Those with content say when they were sent.

use bytes::Bytes;

use crate::system::now_ns;

/// In front of the time; nothing else in an answer looks like it.
const MARK: &[u8] = b"sent at ";
const DIGITS: usize = 20;

/// One answer of `count` events with content.
pub struct Events {
    head: String,
    next: u64,
    count: u64,
    usage: bool,
}

impl Events {
    pub fn new(number: u64, count: u64, usage: bool) -> Events {
        let head = format!(
            "data: {{\"id\":\"chatcmpl-{number:08}\",\"object\":\"chat.completion.chunk\",\
             \"created\":1700000000,\"model\":\"gpt-4o-mini\",\"system_fingerprint\":\"fp_mock\",\
             \"choices\":"
        );
        Events {
            head,
            next: 0,
            count,
            usage,
        }
    }

    /// Whether the next event is one with content.
    pub fn tells(&self) -> bool {
        self.next < self.count
    }
}

impl Iterator for Events {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let head = &self.head;
        // Behind the content: the reason for the end, the usage if it is asked for, the end.
        let behind = self.next.checked_sub(self.count);
        let event = match (behind, self.usage) {
            (None, _) => {
                let role = match self.next {
                    0 => "\"role\":\"assistant\",",
                    _ => "",
                };
                let (number, at) = (self.next, now_ns());
                format!(
                    "{head}[{{\"index\":0,\"delta\":{{{role}\"content\":\" word {number} sent at \
                     {at:0DIGITS$}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
                )
            }
            (Some(0), _) => format!(
                "{head}[{{\"index\":0,\"delta\":{{}},\"logprobs\":null,\
                 \"finish_reason\":\"stop\"}}]}}\n\n"
            ),
            (Some(1), true) => format!(
                "{head}[],\"usage\":{{\"prompt_tokens\":210,\"completion_tokens\":{count},\
                 \"total_tokens\":{}}}}}\n\n",
                210 + self.count,
                count = self.count,
            ),
            (Some(1), false) | (Some(2), true) => "data: [DONE]\n\n".to_owned(),
            _ => return None,
        };
        self.next += 1;
        Some(event.into())
    }
}

/// Where in a body each event with content ends, roughly, and when it was sent (nanoseconds).
pub fn sent(body: &[u8]) -> Vec<(usize, u64)> {
    let found = memchr::memmem::find_iter(body, MARK);
    let read = |at: usize| {
        let end = at + MARK.len() + DIGITS;
        let digits = std::str::from_utf8(body.get(at + MARK.len()..end)?).ok()?;
        Some((end, digits.parse().ok()?))
    };
    found.filter_map(read).collect()
}

/// Whether a body is a whole stream.
pub fn is_whole(body: &[u8]) -> bool {
    body.ends_with(b"\ndata: [DONE]\n\n")
}
