//! Reading the Prometheus text format, strictly enough for assertions.

use std::collections::BTreeSet;

/// One scrape.
#[derive(Debug, Clone)]
pub struct Metrics {
    series: Vec<Series>,
    pub text: String,
}

#[derive(Debug, Clone)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        let series = lines.map(|line| {
            series(line).unwrap_or_else(|| panic!("not a line of the text format: {line:?}"))
        });
        Self {
            series: series.collect(),
            text: text.to_owned(),
        }
    }

    /// The sum of all series of that name that carry these labels: `name{a="x",b="y"}`.
    /// A series that was never touched counts 0.
    #[track_caller]
    pub fn value(&self, selector: &str) -> f64 {
        let (name, wanted) = head(selector).expect("a selector such as name{label=\"value\"}");
        let fits = |s: &&Series| s.name == name && wanted.iter().all(|l| s.labels.contains(l));
        self.series.iter().filter(fits).map(|s| s.value).sum()
    }

    /// Every series: its name and labels.
    pub fn series(&self) -> impl Iterator<Item = (&str, &[(String, String)])> {
        self.series
            .iter()
            .map(|s| (s.name.as_str(), s.labels.as_slice()))
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.series.iter().map(|s| s.name.as_str()).collect()
    }

    /// The values one label takes over all series of that name.
    pub fn label_values(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let series = self.series.iter().filter(|s| s.name == name);
        let labels = series.flat_map(|s| s.labels.iter().filter(|(l, _)| l == label));
        labels.map(|(_, value)| value.as_str()).collect()
    }
}

fn series(line: &str) -> Option<Series> {
    let end = line
        .rfind('}')
        .map_or_else(|| line.find(' '), |at| Some(at + 1))?;
    let (name, labels) = head(line.get(..end)?)?;
    let value = line.get(end..)?.split_whitespace().next()?.parse().ok()?;
    Some(Series {
        name,
        labels,
        value,
    })
}

fn head(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let Some((name, labels)) = text.split_once('{') else {
        return Some((text.to_owned(), Vec::new()));
    };
    let labels = labels.strip_suffix('}')?;
    let mut list = Vec::new();
    for label in labels
        .split("\",")
        .map(|l| l.trim_end_matches('"'))
        .filter(|l| !l.is_empty())
    {
        let (name, value) = label.split_once("=\"")?;
        list.push((name.trim().to_owned(), value.to_owned()));
    }
    Some((name.to_owned(), list))
}

#[test]
fn series_are_summed_by_the_labels_named() {
    let text = "# TYPE a counter\na{x=\"1\",y=\"p\"} 2\na{x=\"2\",y=\"p\"} 3\na_b 7.5\n";
    let metrics = Metrics::parse(text);
    assert_eq!(metrics.value("a"), 5.0);
    assert_eq!(metrics.value("a{x=\"2\"}"), 3.0);
    assert_eq!(metrics.value("a{y=\"p\",x=\"1\"}"), 2.0);
    assert_eq!(metrics.value("a_b"), 7.5);
    assert_eq!(metrics.value("absent"), 0.0);
    assert_eq!(metrics.label_values("a", "x"), BTreeSet::from(["1", "2"]));
}
