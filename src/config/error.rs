//! What is wrong with a configuration and where, and the collector that brings all of it together.

use std::fmt;

use super::path::{Marks, Path};

/// Where an error was written. Sorts in the order of reading: the file first, then the variables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole: it cannot be read, or something is missing in it.
    File(String),
    /// A place in the file; line and column count from 1.
    Line {
        /// As it was named on the command line.
        file: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An environment variable, by name.
    Variable(String),
}

/// One error of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// The key it is about, such as `upstreams[0].url`; empty if it is about none.
    pub path: String,
    /// What is wrong and what to write instead. Never holds a secret.
    pub message: String,
}

/// All errors of a configuration, sorted by place; never empty. Displayed with one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors(Vec<ConfigError>);

impl Errors {
    /// The errors, sorted by place.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        Self(errors)
    }

    pub(super) fn one(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Collects errors, finds their places, and reports nothing twice.
pub(super) struct Problems {
    marks: Marks,
    /// What lies at or below these has been reported already.
    failed: Vec<Path>,
    errors: Vec<ConfigError>,
}

impl Problems {
    /// `errors`: what reading the YAML has found.
    pub fn new(marks: Marks, errors: Vec<ConfigError>) -> Self {
        Self {
            marks,
            failed: Vec::new(),
            errors,
        }
    }

    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    pub fn marks_mut(&mut self) -> &mut Marks {
        &mut self.marks
    }

    /// Reports an error of the value at `path`, unless this or a parent of it failed before: what
    /// is left there is no longer what was written.
    pub fn report(&mut self, path: &Path, message: impl Into<String>) {
        self.report_at(self.marks.value(path), path, message);
    }

    /// The same with another place: that of the key, or of a variable that has to do with it.
    pub fn report_at(&mut self, place: Place, path: &Path, message: impl Into<String>) {
        if !self.has_failed(path) {
            self.failed.push(path.clone());
            self.push(place, path, message);
        }
    }

    /// Reports without marking the path as failed: what was there before stays valid.
    pub fn push(&mut self, place: Place, path: &Path, message: impl Into<String>) {
        let (path, message) = (path.to_string(), message.into());
        self.errors.push(ConfigError {
            place,
            path,
            message,
        });
    }

    /// Says that there is nothing good at `path`, and that this has been reported.
    pub fn fail(&mut self, path: &Path) {
        self.failed.push(path.clone());
    }

    pub fn extend(&mut self, errors: Vec<ConfigError>) {
        self.errors.extend(errors);
    }

    pub fn finish(self) -> Result<(), Errors> {
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Errors::new(self.errors)),
        }
    }

    fn has_failed(&self, path: &Path) -> bool {
        self.failed.iter().any(|failed| path.is_within(failed))
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => write!(f, "{}: {}", self.place, self.message),
            false => write!(f, "{}: {}: {}", self.place, self.path, self.message),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file) => f.write_str(file),
            Place::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Variable(name) => f.write_str(name),
        }
    }
}
