//! Markdown tables, and figures as people read them.

use std::time::Duration;

/// A table with aligned columns.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N]) -> Table {
        Table::from_head(head.map(str::to_owned).to_vec())
    }

    pub fn from_head(head: Vec<String>) -> Table {
        Table { rows: vec![head] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// First column left, numbers right.
    pub fn print(&self) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|c| c.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        println!();
        for (at, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, w))| {
                if i == 0 {
                    format!(" {cell:<w$} ")
                } else {
                    format!(" {cell:>w$} ")
                }
            });
            println!("|{}|", cells.collect::<Vec<_>>().join("|"));
            if at == 0 {
                let lines = widths.iter().enumerate().map(|(i, w)| match i {
                    0 => "-".repeat(w + 2),
                    _ => "-".repeat(w + 1) + ":",
                });
                println!("|{}|", lines.collect::<Vec<_>>().join("|"));
            }
        }
        println!();
    }
}

pub fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Two or three digits that count.
pub fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "µs"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    if value < 10.0 {
        format!("{value:.2} {unit}")
    } else if value < 100.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}
