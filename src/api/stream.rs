//! What all judges of event streams share: framing, the first fault, the end.

use super::sse::{Event, Framer};
use super::{Fault, Judge, Usage, Verdict};

/// The rules of one API's event stream.
pub(super) trait StreamRules: Send + Sync {
    /// Takes the next event before the end.
    fn event(&mut self, event: Event<'_>, seen: &mut Seen);

    /// True if this event may follow the end all the same.
    fn may_follow_end(&self, _event: Event<'_>) -> bool {
        false
    }

    /// True if the stream may be over here although no event said so: for grammars whose streams end
    /// with the body.
    fn may_end_here(&self) -> bool {
        false
    }

    /// Asked once the stream has ended well: did everything come that had to?
    fn complete(&self) -> Result<(), Fault>;
}

/// What came to light so far.
#[derive(Default)]
pub(super) struct Seen {
    fault: Option<Fault>,
    ended: bool,
    usage: Option<Usage>,
}

impl Seen {
    /// Notes a fault; the first one counts.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Notes the event that ends the stream.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Notes token counts; they are cumulative, the last ones count.
    pub(super) fn spent(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    /// Gives the next event to the rules, unless the stream has ended.
    pub(super) fn take(&mut self, event: Event<'_>, rules: &mut impl StreamRules) {
        match self.ended {
            false => rules.event(event, self),
            true if rules.may_follow_end(event) => {}
            true => self.fail(Fault::AfterEnd),
        }
    }

    /// The verdict once the body is over. `framed`: it ends on a boundary of its framing.
    pub(super) fn verdict(
        self,
        rules: &impl StreamRules,
        framed: bool,
        overflowed: bool,
    ) -> Verdict {
        let whole = framed && (self.ended || rules.may_end_here());
        let cut = !whole && !overflowed;
        let keep = match self.fault {
            Some(fault) => Err(fault),
            None if overflowed => Err(Fault::TooLarge),
            None if cut => Err(Fault::Cut),
            None => rules.complete(),
        };
        Verdict::new(keep, cut, self.usage)
    }
}

/// A judge of event streams.
pub(super) struct StreamJudge<R> {
    framer: Framer,
    seen: Seen,
    rules: R,
}

impl<R: StreamRules + 'static> StreamJudge<R> {
    pub(super) fn boxed(rules: R) -> Box<dyn Judge> {
        Box::new(StreamJudge {
            framer: Framer::new(),
            seen: Seen::default(),
            rules,
        })
    }
}

impl<R: StreamRules> Judge for StreamJudge<R> {
    fn push(&mut self, chunk: &[u8]) {
        let StreamJudge {
            framer,
            seen,
            rules,
        } = self;
        framer.push(chunk, &mut |event| seen.take(event, rules));
    }

    fn finish(self: Box<Self>) -> Verdict {
        let StreamJudge {
            framer,
            mut seen,
            rules,
        } = *self;
        // Only now, so that the verdict does not depend on how the body was cut into pieces.
        if framer.has_bare_json() {
            seen.fail(Fault::BadFrame);
        }
        let overflowed = framer.overflowed();
        seen.verdict(&rules, framer.finish(), overflowed)
    }
}
