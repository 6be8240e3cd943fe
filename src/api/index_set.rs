//! A set of small numbers, one bit each.

/// Highest index that is accepted. No provider gives more than a few thousand choices or items;
/// the limit keeps one frame from claiming gigabytes.
pub(super) const INDEX_MAX: u64 = 1 << 20;

/// The choice or item indices met in an answer.
#[derive(Default)]
pub(super) struct IndexSet {
    words: Vec<u64>,
    len: u64,
}

impl IndexSet {
    /// Adds an index; false if it was there already or is above the limit.
    pub(super) fn insert(&mut self, index: u64) -> bool {
        if index > INDEX_MAX {
            return false;
        }
        let (word, bit) = ((index / 64) as usize, 1 << (index % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        match self.words.get_mut(word) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                self.len += 1;
                true
            }
            _ => false,
        }
    }

    /// True if this index was added.
    pub(super) fn contains(&self, index: u64) -> bool {
        let word = usize::try_from(index / 64).ok();
        word.and_then(|word| self.words.get(word))
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// How many indices there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_counts_once() {
        let mut set = IndexSet::default();
        for index in [0, 63, 64, 1000, INDEX_MAX] {
            assert!(!set.contains(index), "{index}");
            assert!(set.insert(index), "{index}");
            assert!(!set.insert(index), "{index} again");
            assert!(set.contains(index), "{index}");
        }
        assert!(!set.insert(INDEX_MAX + 1));
        assert!(!set.insert(u64::MAX));
        assert_eq!(set.len(), 5);
    }
}
