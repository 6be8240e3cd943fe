//! Rows, and how they are written down.

use std::collections::BTreeSet;

use crate::harness::*;

/// What a row's two requests are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// One key; the second is answered by the first.
    Same,
    /// Two keys; the upstream is asked twice.
    Different,
    /// Two keys, whoever answers the second.
    OtherForm,
    /// No key, for this reason.
    Uncacheable(&'static str),
    /// Not a path of any API: the cache says nothing at all.
    Passes,
}

/// One request and how it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub ask: Ask,
    pub h2: bool,
}

impl From<Ask> for Request {
    fn from(ask: Ask) -> Request {
        Request { ask, h2: false }
    }
}

/// The same over HTTP/2.
pub fn h2(ask: Ask) -> Request {
    Request { ask, h2: true }
}

#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub pair: [Request; 2],
    pub expect: Expect,
}

/// Rows with names of their own.
#[derive(Default)]
pub struct Table {
    theme: &'static str,
    names: BTreeSet<String>,
    rows: Vec<Row>,
}

impl Table {
    /// What the names of the rows that follow begin with.
    pub fn theme(&mut self, theme: &'static str) {
        self.theme = theme;
    }

    pub fn same(&mut self, name: &str, a: impl Into<Request>, b: impl Into<Request>) {
        self.pair(name, a.into(), b.into(), Expect::Same);
    }

    pub fn different(&mut self, name: &str, a: impl Into<Request>, b: impl Into<Request>) {
        self.pair(name, a.into(), b.into(), Expect::Different);
    }

    pub fn other_form(&mut self, name: &str, a: impl Into<Request>, b: impl Into<Request>) {
        self.pair(name, a.into(), b.into(), Expect::OtherForm);
    }

    /// Asked twice.
    pub fn uncacheable(&mut self, name: &str, ask: impl Into<Request>, reason: &'static str) {
        let ask = ask.into();
        self.push(name, [ask.clone(), ask], Expect::Uncacheable(reason));
    }

    /// Asked twice.
    pub fn passes(&mut self, name: &str, ask: impl Into<Request>) {
        let ask = ask.into();
        self.push(name, [ask.clone(), ask], Expect::Passes);
    }

    /// Of all rows, in their order.
    pub fn names(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.name.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    fn pair(&mut self, name: &str, a: Request, b: Request, expect: Expect) {
        let sent = |r: &Request| {
            let Ask {
                method,
                path,
                headers,
                body,
                sending,
            } = r.ask.clone();
            (method, path, headers, body, format!("{sending:?}"), r.h2)
        };
        assert_ne!(
            sent(&a),
            sent(&b),
            "{name}: the same bytes twice show nothing"
        );
        self.push(name, [a, b], expect);
    }

    fn push(&mut self, name: &str, pair: [Request; 2], expect: Expect) {
        let name = format!("{}: {name}", self.theme);
        assert!(self.names.insert(name.clone()), "two rows called {name:?}");
        self.rows.push(Row { name, pair, expect });
    }
}
