//! The closed sets of reasons, used as metric labels.

macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every reason, in a fixed order.
            pub const ALL: [$name; [$($label),+].len()] = [$($name::$variant),+];

            /// The kebab-case metric label.
            pub const fn label(self) -> &'static str {
                match self { $($name::$variant => $label),+ }
            }
        }
    };
}

labels! {
    /// Why an answer is not kept. Where several hold, the first one met is reported.
    Fault {
        /// The body ends before its grammar's end, or not on a frame boundary.
        Cut = "cut",
        /// An error object or event under a success status.
        ErrorObject = "error-object",
        /// A choice ended because the server failed or gave up.
        ErrorFinish = "error-finish",
        /// A choice or message never said why it ended.
        NoFinishReason = "no-finish-reason",
        /// Fewer choices than asked for, or none.
        MissingChoices = "missing-choices",
        /// A body that was to be JSON is not.
        NotJson = "not-json",
        /// A frame of a stream is not what this API sends.
        BadFrame = "bad-frame",
        /// JSON, but not an answer of this API.
        BadShape = "bad-shape",
        /// The answer itself says that it is not completed.
        IncompleteStatus = "incomplete-status",
        /// Other items than asked for, an index twice or out of range, or nobody knows how many
        /// were asked for.
        WrongCount = "wrong-count",
        /// An item, or a part of one, is null or empty.
        NullItem = "null-item",
        /// Something follows the event that ends the stream.
        AfterEnd = "after-end",
        /// Complete, but ended by a limit on tokens.
        Length = "length",
        /// Complete, but ended by a filter.
        Filtered = "filtered",
        /// Complete, but the model refused to answer.
        Refused = "refused",
        /// Complete, but a choice or message holds nothing a user or tool could take.
        Empty = "empty",
        /// Complete, but the arguments of a tool call are not JSON.
        BadToolCall = "bad-tool-call",
        /// A link in the answer dies long before an entry would.
        ExpiringLink = "expiring-link",
        /// The answer was made from the web, which changes.
        WebSearch = "web-search",
        /// A limit of the judge was passed, so that it cannot tell.
        TooLarge = "too-large",
    }
}

labels! {
    /// Why a request must not be cached. Where several hold, the first one met is reported.
    Bypass {
        /// `model` is absent, empty or not a string.
        NoModel = "no-model",
        /// `stream` is neither a boolean nor null.
        OddStream = "odd-stream",
        /// `n` (`candidateCount`) is not a positive integer, is there twice, or asks for more choices than can be counted.
        OddN = "odd-n",
        /// `prompt` is of an unknown shape, so that the number of choices is unknown.
        OddPrompt = "odd-prompt",
        /// `store`, `outputConfig`: the provider keeps the answer for later use.
        Store = "store",
        /// `previous_response_id`, `continuationToken`: state at the provider.
        PreviousResponse = "previous-response",
        /// `conversation`: state at the provider, changed by the request.
        Conversation = "conversation",
        /// `background`: the answer is fetched later by its id.
        Background = "background",
        /// `prompt` of the responses API: a template at the provider, which may change.
        PromptTemplate = "prompt-template",
        /// The input refers to an item at the provider.
        ItemReference = "item-reference",
        /// A file at the provider is referred to by its id.
        FileId = "file-id",
        /// `web_search_options`: the answer depends on the web.
        WebSearch = "web-search",
        /// A tool that the server may run, or one of an unknown shape.
        ServerTools = "server-tools",
        /// `mcp_servers`: tools the provider calls.
        McpServers = "mcp-servers",
        /// `container`: state at the provider.
        Container = "container",
        /// `cachedContent`: the begin of the prompt lies at the provider.
        CachedContent = "cached-content",
        /// Nothing is asked: the server loads or unloads the model.
        ModelLoad = "model-load",
        /// A field in another case than it should have, which some servers read all the same.
        OddField = "odd-field",
        /// The format of the answer is none that is known, so that nobody can judge it.
        OddFormat = "odd-format",
    }
}

#[cfg(test)]
mod tests {
    use super::{Bypass, Fault};
    use std::collections::HashSet;

    #[test]
    fn labels_are_distinct_and_kebab_case() {
        let faults = Fault::ALL.map(Fault::label);
        let bypasses = Bypass::ALL.map(Bypass::label);
        for labels in [&faults[..], &bypasses[..]] {
            assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len());
            for label in labels {
                assert!(
                    label.bytes().all(|b| b == b'-' || b.is_ascii_lowercase()),
                    "{label}"
                );
            }
        }
    }
}
