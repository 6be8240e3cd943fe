//! Answers that have no other form, and why.

use super::super::*;

struct Refused {
    api: Api,
    /// Under tests/forms/refused.
    file: &'static str,
    text: &'static str,
    why: &'static str,
}

macro_rules! refused {
    ($($api:ident, $folder:literal: { $($file:literal => $why:literal,)+ })+) => {
        &[$($(Refused {
            api: Api::$api,
            file: concat!($folder, "/", $file),
            text: include_str!(concat!(
                "../../../../tests/forms/refused/", $folder, "/", $file)),
            why: $why,
        }),+),+]
    };
}

const REFUSED: &[Refused] = refused! {
    OpenAiChat, "chat": {
        "annotation-indexed.json" => "an entry with an index of its own may be a piece",
        "annotation-indexed-escaped.json" => "the same, and the key is spelled with escapes",
        "annotation-indexed-escaped.sse" => "the same, and the key is spelled with escapes",
        "annotation-indexed.sse" => "an entry with an index of its own may be a piece",
        "audio-in-pieces.sse" => "base64 in pieces may be padded in each",
        "azure-filter-results-repeat.sse" => "an unknown member of a choice in several pieces",
        "azure-filter.sse" => "a chunk of another object, which clients skip",
        "choice-gap.sse" => "choice 0 is missing",
        "choice-with-message.sse" => "the message is made of the deltas",
        "choice-without-end.sse" => "choice 1 has no finish_reason",
        "choice-without-index.json" => "a chunk must say which choice it is about",
        "choices-out-of-order.json" => "a stream has no order of choices but their index",
        "content-parts.json" => "content that is not a string",
        "content-parts.sse" => "content that is not a string",
        "custom-tool-in-pieces.sse" => "an unknown kind of tool call in several pieces",
        "fingerprint-in-first-chunk-only.sse" => "clients take it from the last chunk",
        "key-twice-deep.sse" => "also inside of what nobody knows",
        "key-twice.json" => "a key twice can be read in two ways",
        "key-twice.sse" => "a key twice can be read in two ways",
        "lone-surrogate-in-piece.sse" => "clients put halves of a surrogate pair together in different ways",
        "lone-surrogate.json" => "half of a surrogate pair",
        "named-event.sse" => "no event of this API has a name",
        "no-choices.json" => "not a chat answer",
        "no-content.json" => "a folded message always has content",
        "no-done.sse" => "the stream has no end",
        "no-finish-reason.json" => "a choice without an end",
        "no-role.json" => "the first delta must have a role",
        "no-usage.sse" => "JSON has usage, and the stream was recorded without",
        "obfuscation.json" => "a member of this name is padding in a stream",
        "other-object.json" => "not a chat answer",
        "reasoning-details-same-index.json" => "clients would join the two",
        "reasoning-details-signature-in-pieces.sse" => "nobody joins signatures",
        "reasoning-details-type-changes.sse" => "two kinds of detail under one index",
        "reasoning-details-unindexed.sse" => "pieces that nothing keeps apart",
        "role-changes.sse" => "the role is not the same in all pieces",
        "tool-id-twice.sse" => "clients join strings, also equal ones",
        "tool-index-gap.sse" => "tool call 0 is missing",
        "tool-with-index.json" => "the index is used up by the stream and would be lost",
        "tool-without-index.sse" => "nothing says which call a piece belongs to",
        "two-ends.sse" => "two different finish reasons",
        "unknown-chunk-field-changes.sse" => "a member that all chunks must have alike differs",
        "unknown-chunk-field-in-some.sse" => "neither a member of the head nor of one chunk",
        "unknown-in-pieces.sse" => "nobody knows how its pieces come together",
        "unknown-indexed-escaped.json" => "the same, and the key is spelled with escapes",
        "unknown-indexed-escaped.sse" => "the same, and the key is spelled with escapes",
        "unknown-indexed.json" => "what it holds has an index and may be a piece",
        "unknown-indexed.sse" => "what it holds has an index and may be a piece",
        "unknown-late-chunk-field.sse" => "clients take what stands around the choices from the first chunk",
        "usage-detail-lost.sse" => "an earlier count that the last one does not have",
        "usage-not-last.sse" => "counts are cumulative, and the last chunk has none",
    }
    OpenAiResponses, "responses": {
        "annotation-in-event-only.sse" => "the last event does not have it",
        "annotation-twice.sse" => "two annotations in one place",
        "created-says-more.sse" => "a member that the last event does not have",
        "delta-differs.sse" => "the pieces are not the text",
        "event-after-end.sse" => "something follows the end",
        "function-name-differs.sse" => "the name is not that of the call",
        "in-progress-twice.sse" => "an event that comes once",
        "incomplete.sse" => "the response is not completed",
        "item-added-says-more.sse" => "a member that the item does not have in the end",
        "item-differs.sse" => "the item is not the one in the last event",
        "item-done-twice.sse" => "two ends of one item",
        "item-not-done.sse" => "an item without an end",
        "item-not-in-last-event.sse" => "the last event does not have it",
        "item-without-id.json" => "events name the item they are about",
        "key-twice-deep.json" => "also inside of what nobody knows",
        "key-twice-deep.sse" => "also inside of what nobody knows",
        "key-twice.json" => "a key twice can be read in two ways",
        "logprobs-in-deltas-only.sse" => "the last event does not have them",
        "lone-surrogate-in-piece.sse" => "clients put halves of a surrogate pair together in different ways",
        "lone-surrogate.json" => "half of a surrogate pair",
        "member-beside-delta.sse" => "no place for it in a response",
        "member-beside-response.sse" => "no place for it in a response",
        "message-text-null.json" => "clients join strings",
        "name-differs.sse" => "two kinds of one event",
        "no-end.sse" => "the stream has no end",
        "no-output.json" => "not a response",
        "not-completed.json" => "its stream would end in another event",
        "other-id.sse" => "events of another response",
        "other-item-id.sse" => "an event about another item",
        "other-object.json" => "not a response",
        "output-empty-in-last-event.sse" => "clients of the stream see no output there",
        "part-added-says-more.sse" => "a member that the part does not have in the end",
        "part-done-says-more.sse" => "a member that the part does not have in the last event",
        "partial-image.sse" => "pictures on the way are not in the response",
        "summary-of-unknown-kind.json" => "nobody knows its events",
        "text-done-differs.sse" => "the text is not the one in the last event",
        "unknown-event.sse" => "nobody knows what it says",
    }
    AnthropicMessages, "messages": {
        "block-after-message-delta.sse" => "clients take the message for ended",
        "block-index-gap.sse" => "clients count blocks",
        "block-not-stopped.sse" => "a block without an end",
        "block-without-type.json" => "a block of no kind",
        "blocks-out-of-order.sse" => "clients count blocks",
        "citations-not-a-list.json" => "nothing to take one by one",
        "compaction-delta.sse" => "an unknown kind of delta",
        "content-a-string.json" => "not a list of blocks",
        "content-in-start.sse" => "clients put blocks behind these",
        "delta-of-another-kind.sse" => "clients leave it out",
        "end-contradicts-begin.sse" => "two stop reasons",
        "event-without-name.sse" => "clients skip it",
        "input-goes-on.sse" => "something follows the object, and would stand beside the block",
        "input-cut.sse" => "a tool input that is not JSON",
        "input-key-twice.sse" => "a key twice can be read in two ways",
        "input-not-an-object.json" => "a tool input of an unknown shape",
        "input-not-an-object.sse" => "a tool input of an unknown shape",
        "input-said-twice.sse" => "an input in the start and in pieces",
        "key-twice-deep.json" => "also inside of what nobody knows",
        "key-twice-deep.sse" => "also inside of what nobody knows",
        "key-twice.json" => "a key twice can be read in two ways",
        "lone-surrogate-in-piece.sse" => "clients put halves of a surrogate pair together in different ways",
        "lone-surrogate.json" => "half of a surrogate pair",
        "member-beside-delta.sse" => "no place for it in a message",
        "member-in-delta.sse" => "no place for it in a message",
        "no-output-tokens.json" => "clients need the count at the end",
        "no-stop-reason.json" => "the message has no end",
        "no-stop-reason.sse" => "the message has no end",
        "no-stop.sse" => "the stream has no end",
        "no-usage.json" => "clients need usage at the begin and at the end",
        "other-type.json" => "not a message",
        "signature-in-pieces.sse" => "clients keep the last one",
        "stop-sequence-taken-back.sse" => "the begin says one, the end says none",
        "stop-with-metrics.sse" => "no place for them in a message",
        "text-null.json" => "clients join strings",
        "two-message-deltas.sse" => "nobody knows whether the first still counts",
        "unknown-beside-message-delta.sse" => "nobody knows where it belongs",
        "unknown-delta.sse" => "nobody knows how its pieces come together",
        "unknown-event.sse" => "nobody knows what it says",
        "unknown-in-last-usage.sse" => "nobody knows whether it is a total",
        "unknown-in-message-delta.sse" => "nobody knows where it belongs",
        "usage-detail-lost.sse" => "an earlier count that the last one does not have",
    }
};

#[test]
fn what_would_lose_a_field_has_no_other_form() {
    for Refused {
        api,
        file,
        text,
        why,
    } in REFUSED
    {
        let made = match file.ends_with(".sse") {
            true => to_json(*api, text.as_bytes()),
            false => to_stream(*api, text.as_bytes(), false),
        };
        let made = made.map(|made| String::from_utf8(made).unwrap());
        assert_eq!(made, None, "{file}: {why}");
    }
}
