//! Opening the database: at the start, again after a failure, and for reading only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, Options};

use super::change::{segments_of, sort};
use super::evict::copied_at_once;
use super::layout::{
    CF_BOOKKEEPING, CF_INDEX, CF_MAIN, CF_PROBATION, FLOOR_DONE_KEY, FORMAT, FORMAT_KEY, Families,
    Queue, SEGMENT_PREFIX, Segment,
};
use super::options::{self, Shared, Sizes};
use super::purging;
use super::table::Table;
use super::{Disk, DiskOptions};
use crate::config::Durability;
use crate::metrics::Metrics;
use crate::store::aside;
use crate::store::purge::Purges;
use crate::store::row::Totals;
use crate::store::uses::{Ghosts, Uses};
use crate::store::{StoreError, now_ms};

/// Keys that ghosts are made for, per byte of the counters: the queue they stand for holds about as many
/// entries as there are counters.
const GHOSTS_PER_COUNTER: usize = 8;

/// Why a database does not open.
enum Failure {
    /// Its files are not what they were, or of another version: they can be set aside.
    Files(String),
    /// Something that the operator has to mend.
    Other(String),
}

impl From<rocksdb::Error> for Failure {
    fn from(error: rocksdb::Error) -> Failure {
        match aside::is_damage(&error) {
            true => Failure::Files(error.to_string()),
            false => Failure::Other(explain(&error)),
        }
    }
}

/// What the database says of itself.
#[derive(Default)]
struct Loaded {
    table: Table,
    purges: Purges,
    floor_done: u64,
}

impl Disk {
    /// Opens or creates the database in a directory that is there. Files that cannot be opened are set
    /// aside, which is logged. Does not read entries.
    pub fn open(options: &DiskOptions, metrics: Arc<Metrics>) -> Result<Disk, StoreError> {
        let failed = |message: String| StoreError::Open {
            path: options.path.clone(),
            message,
        };
        let sizes = Sizes::new(options.bytes_max, options.memory_bytes);
        let shared = Shared::new(&sizes);
        let attempt = || open_and_load(&options.path, &sizes, &shared, options.durability);
        let (db, loaded) = match attempt() {
            Ok(opened) => opened,
            Err(Failure::Other(message)) => return Err(failed(message)),
            Err(Failure::Files(message)) => {
                set_aside(&options.path, &message, &metrics).map_err(failed)?;
                attempt().map_err(|(Failure::Files(m) | Failure::Other(m))| failed(m))?
            }
        };
        let disk = Disk::around(Some(db), loaded, sizes, shared, options, metrics);
        disk.look_at_files();
        Ok(disk)
    }

    fn around(
        db: Option<DB>,
        loaded: Loaded,
        sizes: Sizes,
        shared: Shared,
        options: &DiskOptions,
        metrics: Arc<Metrics>,
    ) -> Disk {
        let uses = Uses::new(options.memory_bytes_max);
        let disk = Disk {
            path: options.path.clone(),
            ghosts: Mutex::new(Ghosts::new(uses.bytes() / GHOSTS_PER_COUNTER)),
            uses,
            sizes,
            shared,
            durability: options.durability,
            pinned: options.pinned.clone(),
            stale_max_ms: u64::try_from(options.stale_max.as_millis()).unwrap_or(u64::MAX),
            db: RwLock::new(db.map(Arc::new)),
            table: Mutex::default(),
            may_copy: copied_at_once(&sizes).into(),
            purges: loaded.purges,
            remembering: Mutex::default(),
            remembering_untold: Mutex::default(),
            noted_generation: 0.into(),
            unwritten_purges: false.into(),
            logged_purges: false.into(),
            floor_done: loaded.floor_done.into(),
            copying: 0.into(),
            entries: 0.into(),
            bytes: 0.into(),
            oldest_ms: u64::MAX.into(),
            valid_from_ms: 0.into(),
            metrics,
        };
        disk.adopt(loaded.table);
        disk
    }

    /// No database, for a server without a disk: what is known of purges and uses, in memory.
    pub fn off(options: &DiskOptions, metrics: Arc<Metrics>) -> Disk {
        let sizes = Sizes::new(options.bytes_max, options.memory_bytes);
        Disk::around(
            None,
            Loaded::default(),
            sizes,
            Shared::new(&sizes),
            options,
            metrics,
        )
    }

    /// Closes the database, for as long as it takes to open it anew.
    fn let_go(&self) -> Result<(), String> {
        // Taken out first: the lock is held for that long and no longer, whatever closing takes.
        let taken = self.db.write().take();
        let Some(db) = taken else { return Ok(()) };
        db.cancel_all_background_work(true);
        if self.durability == Durability::None {
            // What had not reached a file is lost, and what it replaced must not come back.
            self.valid_from_ms.store(now_ms(), Relaxed);
        }
        match self.drop_last(db) {
            true => Ok(()),
            false => Err("somebody still reads from it".to_owned()),
        }
    }

    /// Closes the database and opens it again: after a failed write RocksDB takes no more. Files that
    /// cannot be opened any more are set aside. Blocks; look-ups meanwhile find nothing.
    pub fn reopen(&self) -> Result<(), String> {
        self.let_go()?;
        let attempt = || open_and_load(&self.path, &self.sizes, &self.shared, self.durability);
        let (db, loaded) = match attempt() {
            Ok(opened) => opened,
            Err(Failure::Other(message)) => return Err(message),
            Err(Failure::Files(message)) => {
                set_aside(&self.path, &message, &self.metrics)?;
                attempt().map_err(|(Failure::Files(m) | Failure::Other(m))| m)?
            }
        };
        self.adopt(loaded.table);
        self.floor_done.store(loaded.floor_done, Relaxed);
        *self.db.write() = Some(Arc::new(db));
        self.look_at_files();
        // Those of this process are all that there are, also if the files do not know them.
        self.remember_purges().map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Sets the files aside and starts empty. Blocks.
    pub fn start_anew(&self, why: &str) -> Result<(), String> {
        self.let_go()?;
        set_aside(&self.path, why, &self.metrics)?;
        self.valid_from_ms.store(now_ms(), Relaxed);
        self.reopen()
    }
}

/// Opens a database for reading only, whether or not a server has it open; it is as it was at that
/// moment.
pub fn read_only(path: &Path) -> Result<(DB, Table, Purges), StoreError> {
    let failed = |message: String| StoreError::Open {
        path: path.to_owned(),
        message,
    };
    let families = [CF_BOOKKEEPING, CF_INDEX, CF_PROBATION, CF_MAIN];
    let db = DB::open_cf_for_read_only(&Options::default(), path, families, false)
        .map_err(|e| failed(explain(&e)))?;
    match load(&db) {
        Ok(loaded) => Ok((db, loaded.table, loaded.purges)),
        Err(Failure::Files(message) | Failure::Other(message)) => Err(failed(message)),
    }
}

fn open_and_load(
    path: &Path,
    sizes: &Sizes,
    shared: &Shared,
    durability: Durability,
) -> Result<(DB, Loaded), Failure> {
    let database = options::database(sizes, shared, durability);
    let families = options::families(sizes, shared);
    let db = DB::open_cf_descriptors(&database, path, families)?;
    if db.get(FORMAT_KEY)?.is_none() && db.latest_sequence_number() == 0 {
        db.put(FORMAT_KEY, FORMAT)?;
    }
    let loaded = load(&db)?;
    remove_strays(&db, &loaded.table)?;
    Ok((db, loaded))
}

fn load(db: &DB) -> Result<Loaded, Failure> {
    match db.get(FORMAT_KEY)? {
        Some(format) if format == FORMAT => {}
        format => {
            let format = format.unwrap_or_default();
            return Err(Failure::Files(format!(
                "its layout is version '{}', this server's is {}",
                String::from_utf8_lossy(&format),
                String::from_utf8_lossy(FORMAT),
            )));
        }
    }
    let mut segments = BTreeMap::new();
    for item in db.prefix_iterator(SEGMENT_PREFIX) {
        let (key, totals) = item?;
        let Some(number) = key.strip_prefix(SEGMENT_PREFIX) else {
            break;
        };
        let (Some(segment), Ok(totals)) = (Segment::decode(number), Totals::decode(&totals)) else {
            return Err(Failure::Files("its table of segments is unreadable".into()));
        };
        segments.insert(segment, totals);
    }
    Ok(Loaded {
        table: Table::new(segments),
        purges: purging::restore(db)?,
        floor_done: purging::number(db, FLOOR_DONE_KEY)?,
    })
}

/// Removes files of segments that nobody knows: on their way out, or not yet known, when the process
/// died. One of them would keep all blob files that are newer than it.
fn remove_strays(db: &DB, table: &Table) -> Result<(), Failure> {
    let Some(families) = Families::of(db) else {
        return Ok(());
    };
    let data = |family: &str| Queue::ALL.iter().any(|queue| queue.family() == family);
    let files = db.live_files()?.into_iter();
    let files = files.filter(|file| data(&file.column_family_name));
    let strays: BTreeSet<Segment> = files
        .flat_map(|file| segments_of(&file))
        .flatten()
        .filter(|segment| table.get(*segment).is_none())
        .collect();
    for stray in strays {
        // Files can only be removed where this brings them.
        sort(db, families, stray).map_err(|e| Failure::Other(e.to_string()))?;
        let (begin, end) = stray.range();
        let data = families.data(stray.queue());
        db.delete_file_in_range_cf(data, begin.as_slice(), end.as_slice())?;
    }
    Ok(())
}

fn set_aside(path: &Path, why: &str, metrics: &Metrics) -> Result<(), String> {
    let aside = aside::set_aside(path)
        .map_err(|e| format!("{why}; and its files cannot be set aside: {e}"))?;
    metrics.store_set_aside.inc();
    log::error!(
        "the database cannot be used: {why}; its files are set aside in {}, the store starts empty",
        aside.display()
    );
    Ok(())
}

/// Adds what to do to the errors operators meet.
fn explain(error: &rocksdb::Error) -> String {
    let text = error.to_string();
    let hint = if text.contains("Permission denied") {
        "; the files in it belong to another user: chown them to the one this server runs as"
    } else if text.contains("lock file") || text.contains("lock hold by") {
        "; another process uses it: stop that one, or give this server its own store.path"
    } else if text.contains("No space left") {
        "; free space on that disk or move store.path"
    } else if text.contains("Read-only file system") {
        "; mount a volume that can be written there, or change store.path"
    } else {
        ""
    };
    text + hint
}
