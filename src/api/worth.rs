//! Which complete answers are worth keeping.

use super::Fault;

/// Kinds of complete answers that the operator wants kept although a retry might mend them. None by
/// default: a bad answer would be believed for the lifetime of its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worth(u32);

impl Worth {
    /// The faults that can be tolerated. With any other one an answer is not known to be whole.
    pub const SWITCHABLE: [Fault; 7] = [
        Fault::Length,
        Fault::Filtered,
        Fault::Refused,
        Fault::Empty,
        Fault::BadToolCall,
        Fault::NullItem,
        Fault::WrongCount,
    ];

    /// Also answers with this fault; without effect for one that is not in [`Worth::SWITCHABLE`].
    #[must_use]
    pub fn and(self, fault: Fault) -> Worth {
        match Worth::SWITCHABLE.contains(&fault) {
            true => Worth(self.0 | 1 << fault as u32),
            false => self,
        }
    }

    /// Whether answers with this fault are kept.
    pub fn tolerates(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }

    /// The fault, unless answers with it are kept.
    pub(super) fn check(self, fault: Fault) -> Result<(), Fault> {
        match self.tolerates(fault) {
            true => Ok(()),
            false => Err(fault),
        }
    }

    /// The same for what a check found.
    pub(super) fn pass(self, found: Result<(), Fault>) -> Result<(), Fault> {
        found.or_else(|fault| self.check(fault))
    }
}

const _: () = assert!(Fault::ALL.len() <= 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_switchable_faults_can_be_tolerated() {
        let mut all = Worth::default();
        for fault in Fault::ALL {
            assert!(!all.tolerates(fault));
            all = all.and(fault);
        }
        for fault in Fault::ALL {
            let switchable = Worth::SWITCHABLE.contains(&fault);
            assert_eq!(all.tolerates(fault), switchable, "{fault:?}");
            assert_eq!(all.pass(Err(fault)).is_ok(), switchable, "{fault:?}");
            assert_eq!(Worth::default().pass(Err(fault)), Err(fault));
        }
    }
}
