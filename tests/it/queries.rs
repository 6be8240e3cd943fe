//! Every query of the dashboard, the alerts and the docs asks for what the server exports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use marked_yaml::Node;
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, LabelModifier};
use serde_json::{Value, json};

use crate::harness::*;

/// What Prometheus and the scrape configuration add.
const SCRAPED: &[&str] = &["job", "instance", "namespace", "pod", "le"];
/// Series that Prometheus makes itself.
const OF_PROMETHEUS: &[&str] = &["up", "ALERTS"];
/// Labels whose every value the story below brings about, so that a misspelt one is found.
const CLOSED: &[&str] = &["outcome", "tier", "kind"];

/// And of these, whose values are all there from the start.
const REASONS: &[&str] = &[
    "llm_cache_store_writes_dropped_total",
    "llm_cache_store_removed_total",
];

/// One query and where it stands.
struct Query {
    place: String,
    text: String,
}

/// What can be asked for: names of series with the values of their labels.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

#[tokio::test]
async fn every_query_names_series_and_labels_that_the_server_exports() {
    let mut exported = exported().await;
    let (queries, recorded) = queries();
    assert!(
        queries.len() > 40,
        "only {} queries were found",
        queries.len()
    );
    for name in recorded
        .iter()
        .map(String::as_str)
        .chain(OF_PROMETHEUS.iter().copied())
    {
        exported.insert(name.to_owned(), BTreeMap::new());
    }
    let faults: Vec<String> = queries
        .iter()
        .flat_map(|query| {
            let place = &query.place;
            let found = faults(&query.text, &exported, &recorded);
            found.into_iter().map(move |f| format!("{place}: {f}"))
        })
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn wrong_queries_are_found() {
    let values = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    let labels = BTreeMap::from([("outcome".to_owned(), values(&["hit", "miss"]))]);
    let exported = BTreeMap::from([("a_total".to_owned(), labels)]);
    let faults = |text: &str| faults(text, &exported, &BTreeSet::new());
    for good in [
        "sum by (outcome) (rate(a_total{outcome=~\"hit|miss\"}[$__rate_interval])) > 0",
        "a_total{instance=~\"$instance\", outcome!=\"hit\"} / on (job) a_total offset 1d",
        "topk(3, max_over_time(sum(a_total)[1h:1m]))",
    ] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
    for (wrong, words) in [
        ("rate(b_total[5m])", "no series b_total"),
        ("sum by (api) (a_total)", "label api"),
        ("a_total{api=\"chat\"}", "label api"),
        ("a_total{outcome=\"hits\"}", "outcome=hits"),
        ("a_total{outcome=~\"hit|mis\"}", "outcome=mis"),
        ("a_total / on (api) a_total", "label api"),
        ("sum(rate(a_total)", "no PromQL"),
        ("vector(1) or b_total", "no series b_total"),
    ] {
        let found = faults(wrong).join("\n");
        assert!(found.contains(words), "{wrong}: {found}");
    }
}

/// A scrape of a server that has seen every outcome.
async fn exported() -> Exported {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.json().to_string() {
        body if body.contains("held") => llm::any(call).held(&held),
        body if body.contains("cut short") => Reply::frames(["data: {}\n\n"]),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let prices = json!({"prices": [{"models": ["*"], "input": 1, "output": 2}]});
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, prices);
        })
        .set("cache.stale_while_revalidate", "1h")
        .start()
        .await;
    proxy.ask(&chat("twice")).await.is(200, "miss");
    proxy.ask(&chat("twice")).await.is(200, "hit");
    proxy
        .ask(&chat("twice").cache_control("no-cache"))
        .await
        .is(200, "refresh");
    proxy
        .ask(&chat("once").cache_control("no-store"))
        .await
        .is(200, "bypass");
    proxy.ask(&chat_stream("cut short")).await;
    let brief = chat("brief").header("x-llm-cache-ttl", "1ms");
    proxy.ask(&brief).await.is(200, "miss");
    let expired = || async {
        match proxy.ask(&chat("brief")).await.outcome() {
            "stale" => Ok(()),
            outcome => Err(outcome.to_owned()),
        }
    };
    within(Duration::from_secs(5), "the answer expires", expired).await;
    let both = vec![chat("held"); 2];
    let opened = async {
        proxy.following(2).await;
        gate.open();
    };
    tokio::join!(ask_all(&proxy, &both), opened);
    proxy.falls_to("llm_cache_requests_in_flight", 0.0).await;
    proxy.reaches("llm_cache_not_stored_total", 1.0).await;

    let metrics = proxy.metrics().await;
    let mut exported = Exported::new();
    for (name, labels) in metrics.series() {
        let known = exported.entry(name.to_owned()).or_default();
        for (label, value) in labels {
            known
                .entry(label.clone())
                .or_default()
                .insert(value.clone());
        }
    }
    exported
}

/// Every query of the repository, and the names that recording rules give.
fn queries() -> (Vec<Query>, BTreeSet<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut queries = Vec::new();
    let mut recorded = BTreeSet::new();
    let monitoring = root.join("deploy/monitoring");
    let dashboard = std::fs::read_to_string(monitoring.join("dashboard.json")).unwrap();
    panels(
        &serde_json::from_str(&dashboard).unwrap(),
        "dashboard.json",
        &mut queries,
    );
    let alerts = std::fs::read_to_string(monitoring.join("alerts.yaml")).unwrap();
    let rules = marked_yaml::parse_yaml(0, &alerts).unwrap();
    let before = queries.len();
    self::rules(&rules, &mut queries, &mut recorded);
    assert!(
        before > 0 && queries.len() > before,
        "one of the files has no query"
    );
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|e| e == "md"))
    {
        let text = std::fs::read_to_string(page).unwrap();
        for block in text.split("```promql\n").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            // Several queries in one block are separated by blank lines.
            for text in block.split("\n\n") {
                queries.push(Query {
                    place: page.file_name().unwrap().to_string_lossy().into_owned(),
                    text: text.to_owned(),
                });
            }
        }
    }
    (queries, recorded)
}

/// The queries of panels, and those that fill the dashboard's variables.
fn panels(value: &Value, place: &str, queries: &mut Vec<Query>) {
    match value {
        Value::Object(members) => {
            let title = value["title"].as_str().or(value["name"].as_str());
            let place = title.map_or(place.to_owned(), |title| format!("dashboard.json: {title}"));
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if name == "expr" => queries.push(Query {
                        place: place.clone(),
                        text: text.to_owned(),
                    }),
                    Some(text) if text.starts_with("label_values(") => {
                        let inner = text
                            .trim_start_matches("label_values(")
                            .trim_end_matches(')');
                        let (series, label) = inner.rsplit_once(',').unwrap();
                        queries.push(Query {
                            place: place.clone(),
                            text: format!("count by ({}) ({series})", label.trim()),
                        });
                    }
                    _ => panels(member, &place, queries),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| panels(item, place, queries)),
        _ => {}
    }
}

fn rules(node: &Node, queries: &mut Vec<Query>, recorded: &mut BTreeSet<String>) {
    match node {
        Node::Mapping(mapping) => {
            let text = |key: &str| Some(mapping.get_scalar(key)?.as_str().to_owned());
            if let Some(name) = text("record") {
                recorded.insert(name);
            }
            if let Some(expr) = text("expr") {
                let name = text("alert").or(text("record")).unwrap_or_default();
                queries.push(Query {
                    place: format!("alerts.yaml: {name}"),
                    text: expr,
                });
            }
            mapping
                .iter()
                .for_each(|(_, node)| rules(node, queries, recorded));
        }
        Node::Sequence(items) => items.iter().for_each(|node| rules(node, queries, recorded)),
        Node::Scalar(_) => {}
    }
}

/// What is wrong with a query.
fn faults(text: &str, exported: &Exported, recorded: &BTreeSet<String>) -> Vec<String> {
    let mut plain = text.to_owned();
    for variable in ["$__rate_interval", "$__interval", "$__range"] {
        plain = plain.replace(variable, "5m");
    }
    let expr = match parser::parse(&plain) {
        Ok(expr) => expr,
        Err(error) => return vec![format!("no PromQL: {error}: {text}")],
    };
    let mut check = Check {
        exported,
        recorded,
        faults: Vec::new(),
    };
    check.labels(&expr);
    check.faults
}

struct Check<'a> {
    exported: &'a Exported,
    recorded: &'a BTreeSet<String>,
    faults: Vec<String>,
}

impl Check<'_> {
    /// Checks an expression; the labels its series may have, `None` if anything goes.
    fn labels(&mut self, expr: &Expr) -> Option<BTreeSet<String>> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    self.labels(param);
                }
                let labels = self.labels(&aggregate.expr);
                self.modifier(aggregate.modifier.as_ref(), labels.as_ref());
                labels
            }
            Expr::Binary(binary) => {
                let left = self.labels(&binary.lhs);
                let right = self.labels(&binary.rhs);
                let matching = binary.modifier.as_ref().and_then(|m| m.matching.as_ref());
                for side in [&left, &right] {
                    self.modifier(matching, side.as_ref());
                }
                Some(left?.union(&right?).cloned().collect())
            }
            Expr::Call(call) => {
                let all: Vec<_> = call.args.args.iter().map(|arg| self.labels(arg)).collect();
                // What a function makes of labels is its own affair (label_replace, vector, time).
                let one = all
                    .into_iter()
                    .flatten()
                    .reduce(|a, b| a.union(&b).cloned().collect());
                one.filter(|_| !call.func.name.starts_with("label_"))
            }
            Expr::Paren(inner) => self.labels(&inner.expr),
            Expr::Unary(inner) => self.labels(&inner.expr),
            Expr::Subquery(inner) => self.labels(&inner.expr),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => None,
            other => {
                self.faults.push(format!("not understood: {other:?}"));
                None
            }
        }
    }

    fn selector(&mut self, selector: &parser::VectorSelector) -> Option<BTreeSet<String>> {
        let Some(name) = &selector.name else {
            self.faults
                .push(format!("a selector without a name: {selector}"));
            return None;
        };
        let Some(labels) = self.exported.get(name) else {
            self.faults.push(format!("no series {name}"));
            return None;
        };
        if self.recorded.contains(name) {
            return None;
        }
        for matcher in &selector.matchers.matchers {
            self.matcher(name, labels, matcher);
        }
        let own = labels.keys().cloned();
        Some(own.chain(SCRAPED.iter().map(|l| (*l).to_owned())).collect())
    }

    fn matcher(
        &mut self,
        name: &str,
        labels: &BTreeMap<String, BTreeSet<String>>,
        matcher: &Matcher,
    ) {
        let label = matcher.name.as_str();
        let Some(values) = labels.get(label) else {
            if !SCRAPED.contains(&label) {
                self.faults.push(format!("{name} has no label {label}"));
            }
            return;
        };
        let closed = CLOSED.contains(&label) || label == "reason" && REASONS.contains(&name);
        if !closed || matcher.value.contains('$') {
            return;
        }
        let asked: Vec<&str> = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
            MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
        };
        for value in asked {
            if !values.contains(value) && !value.contains(['.', '*', '+']) {
                self.faults
                    .push(format!("{name} never has {label}={value}"));
            }
        }
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>, labels: Option<&BTreeSet<String>>) {
        let (Some(modifier), Some(labels)) = (modifier, labels) else {
            return;
        };
        for label in &modifier.labels().labels {
            if !labels.contains(label) {
                self.faults
                    .push(format!("nothing here has the label {label}"));
            }
        }
    }
}
