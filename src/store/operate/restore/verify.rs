//! Seeing that a copy is one before anything is given up for it.

use std::path::Path;

use rocksdb::{DB, Direction, IteratorMode};

use super::Offline;
use crate::key::Key;
use crate::store::disk::layout::{Families, Kind, Segment, data_key, kind_prefix, read_data_key};
use crate::store::row::Row;

/// Rows looked at in each segment, for the largest records among them: large ones lie in files of their
/// own.
const ROWS_MAX: usize = 1000;
/// Records tried in each segment. A damaged one is a miss and no reason to refuse the copy; if all of
/// these are, their file is not what it was.
const TRIED_MAX: usize = 8;

/// Opens a database and reads from every segment; returns the number of its entries.
pub fn entries(path: &Path) -> Result<u64, String> {
    let copy = Offline::open_as_it_is(path).map_err(|e| e.to_string())?;
    let families = Families::of(&copy.db).ok_or("it has not all of its parts")?;
    for (segment, totals) in copy.table.iter() {
        if totals.live > 0 {
            read_one(&copy.db, families, segment)
                .map_err(|why| format!("records cannot be read: {why}"))?;
        }
    }
    Ok(copy.entries())
}

fn read_one(db: &DB, families: Families<'_>, segment: Segment) -> Result<(), String> {
    let data = families.data(segment.queue());
    let prefix = kind_prefix(segment, Kind::Row);
    let mut rows: Vec<(u32, Key)> = Vec::new();
    let mode = IteratorMode::From(&prefix, Direction::Forward);
    for item in db.iterator_cf(data, mode).take(ROWS_MAX) {
        let (key, row) = item.map_err(|e| e.to_string())?;
        if !key.starts_with(&prefix) {
            break;
        }
        if let (Some((_, _, key)), Ok(row)) = (read_data_key(&key), Row::decode(&row)) {
            rows.push((row.bytes, key));
        }
    }
    rows.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let mut why = "there are none".to_owned();
    for (_, key) in rows.iter().take(TRIED_MAX) {
        match db.get_pinned_cf(data, data_key(segment, Kind::Record, key)) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(e) => why = e.to_string(),
        }
    }
    Err(why)
}
