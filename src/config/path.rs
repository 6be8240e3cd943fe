//! Where a value sits in the configuration (`upstreams[0].url`), and where that was written.

use std::collections::BTreeMap;
use std::fmt;

use super::error::Place;

/// The way from the root of the configuration to one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    Item(usize),
}

impl Path {
    pub fn root() -> Self {
        Self::default()
    }

    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    pub fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    pub fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// True for the path itself and for everything below it.
    pub fn is_within(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl<const N: usize> From<[&str; N]> for Path {
    fn from(keys: [&str; N]) -> Self {
        Self(keys.map(|key| Step::Key(key.to_owned())).into())
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Where a key and its value were written; for an item of a list both are the item's place.
#[derive(Clone, Debug)]
pub struct Mark {
    pub key: Place,
    pub value: Place,
}

/// The places of everything in the configuration.
#[derive(Clone, Debug)]
pub struct Marks {
    whole: Place,
    marks: BTreeMap<Path, Mark>,
}

impl Marks {
    /// `whole` is the place of what is written nowhere.
    pub fn new(whole: Place) -> Self {
        let marks = BTreeMap::new();
        Self { whole, marks }
    }

    pub fn set(&mut self, path: Path, mark: Mark) {
        self.marks.insert(path, mark);
    }

    /// Says that `path` and all below it come from an environment variable.
    pub fn set_variable(&mut self, path: Path, name: &str) {
        self.marks.retain(|known, _| !known.is_within(&path));
        let place = Place::Variable(name.to_owned());
        self.set(
            path,
            Mark {
                key: place.clone(),
                value: place,
            },
        );
    }

    pub fn contains(&self, path: &Path) -> bool {
        self.marks.contains_key(path)
    }

    /// The place of the key, or of the nearest parent that was written.
    pub fn key(&self, path: &Path) -> Place {
        match self.marks.get(path) {
            Some(mark) => mark.key.clone(),
            None => self.parent(path),
        }
    }

    /// The place of the value, or of the nearest parent that was written.
    pub fn value(&self, path: &Path) -> Place {
        match self.marks.get(path) {
            Some(mark) => mark.value.clone(),
            None => self.parent(path),
        }
    }

    /// The variables that set `path` or something below it.
    pub fn variables_within(&self, path: &Path) -> Vec<Place> {
        let below = self.marks.range(path.clone()..);
        let mut places: Vec<_> = below
            .take_while(|(known, _)| known.is_within(path))
            .map(|(_, mark)| mark.key.clone())
            .filter(|place| matches!(place, Place::Variable(_)))
            .collect();
        places.sort();
        places.dedup();
        places
    }

    fn parent(&self, path: &Path) -> Place {
        match path.steps().split_last() {
            Some((_, parent)) => self.key(&parent.iter().cloned().collect()),
            None => self.whole.clone(),
        }
    }
}
