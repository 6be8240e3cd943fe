//! Access lines on their way to standard error.
//!
//! A line is put into a buffer, and one thread writes the buffer: a request pays for copying two
//! hundred bytes and not for a system call, and whoever reads the log too slowly holds up nobody.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

/// Bytes that wait at most, some 20,000 lines; further lines are dropped and counted.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// A buffer that has grown beyond this is given back.
const KEPT_BYTES: usize = 256 << 10;
/// Lines are written in slices of up to this many bytes, a pipe's length.
const SLICE_BYTES: usize = 64 << 10;
/// After a write, lines are collected for this long. A line comes so much later at most, and under
/// load a write takes many.
const LINGER: Duration = Duration::from_millis(10);
/// For so long is waited for the last lines to be taken.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// The way to standard error. Clones share it.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There are lines.
    filled: Condvar,
    /// The writer has nothing left.
    emptied: Condvar,
    /// It is time to end.
    closed: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Lines dropped since the last write.
    lost: u64,
    writing: bool,
    closing: bool,
}

impl Sink {
    /// Starts the thread. Fails only if the system has none left.
    pub fn start(dropped: IntCounter) -> io::Result<Sink> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            closed: Condvar::new(),
            dropped,
        });
        let writer = shared.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.write(|lines| io::stderr().lock().write_all(lines)))?;
        Ok(Sink(shared))
    }

    /// Takes a line with its line break, or drops it if too much waits.
    pub fn push(&self, line: &[u8]) {
        self.0.push(line);
    }

    /// Waits until everything is written.
    pub fn close(&self) {
        let mut state = self.0.state.lock();
        state.closing = true;
        self.0.filled.notify_one();
        self.0.closed.notify_one();
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        self.0.emptied.wait_while_for(&mut state, busy, CLOSE_MAX);
    }
}

impl Shared {
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.lines.len() + line.len() > WAITING_BYTES_MAX {
            state.lost += 1;
            self.dropped.inc();
            return;
        }
        let first = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if first {
            self.filled.notify_one();
        }
    }

    /// The writer's thread, until it is closed and nothing is left.
    fn write(&self, mut out: impl FnMut(&[u8]) -> io::Result<()>) {
        let mut taken = Vec::new();
        loop {
            let mut state = self.state.lock();
            while state.lines.is_empty() {
                if state.closing {
                    return;
                }
                self.filled.wait(&mut state);
            }
            std::mem::swap(&mut taken, &mut state.lines);
            let lost = std::mem::take(&mut state.lost);
            state.writing = true;
            drop(state);
            let unwritten = written_by_slices(&taken, &mut out);
            self.dropped.inc_by(unwritten as u64);
            if lost > 0 {
                log::warn!("{lost} access lines were dropped: the log is not read fast enough");
            }
            taken.clear();
            taken.shrink_to(KEPT_BYTES);
            let mut state = self.state.lock();
            state.writing = false;
            self.emptied.notify_all();
            if !state.closing {
                self.closed.wait_for(&mut state, LINGER);
            }
        }
    }
}

/// Writes lines some at a time, so that others who write to the same place get their turn. Returns how
/// many lines could not be written: nobody is left to be told why.
fn written_by_slices(lines: &[u8], out: &mut impl FnMut(&[u8]) -> io::Result<()>) -> usize {
    let mut rest = lines;
    let mut unwritten = 0;
    while !rest.is_empty() {
        let fits = rest.get(..SLICE_BYTES).unwrap_or(rest);
        let end = memchr::memrchr(b'\n', fits).map_or(fits.len(), |at| at + 1);
        let (slice, behind) = rest.split_at(end);
        if out(slice).is_err() {
            unwritten += memchr::memchr_iter(b'\n', slice).count();
        }
        rest = behind;
    }
    unwritten
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            closed: Condvar::new(),
            dropped: IntCounter::new("dropped", "lines").unwrap(),
        })
    }

    /// Whoever does not read holds up nobody; what is not taken is counted, and what is comes whole
    /// and in order.
    #[test]
    fn a_reader_that_stops_costs_lines_and_no_waiting() {
        let shared = shared();
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock();
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = std::thread::spawn({
            let (shared, written, gate) = (shared.clone(), written.clone(), gate.clone());
            move || {
                shared.write(|lines| {
                    drop(gate.lock());
                    written.lock().extend_from_slice(lines);
                    Ok(())
                });
            }
        });
        let line = |n: usize| format!("{n:01000}\n");
        let pushed = 3 * WAITING_BYTES_MAX / 1000;
        for n in 0..pushed {
            shared.push(line(n).as_bytes());
        }
        let dropped = shared.dropped.get() as usize;
        // The writer may have taken one buffer before it was held up.
        assert!(
            (pushed / 3 - 10..pushed * 2 / 3 + 10).contains(&dropped),
            "{dropped}"
        );
        drop(held);
        Sink(shared.clone()).close();
        writer.join().unwrap();
        let written = String::from_utf8(written.lock().clone()).unwrap();
        let numbers: Vec<usize> = written.lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(numbers.len() + dropped, pushed);
        assert!(numbers.is_sorted());
        assert!(written.ends_with('\n'));
    }

    #[test]
    fn lines_are_written_whole_and_those_that_are_not_are_counted() {
        let lines = format!("{}\n", "x".repeat(999)).repeat(200);
        let mut calls = 0;
        let unwritten = written_by_slices(lines.as_bytes(), &mut |slice| {
            calls += 1;
            assert!(slice.len() <= SLICE_BYTES && slice.ends_with(b"\n"));
            match calls {
                2 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        });
        assert_eq!((calls, unwritten), (4, 65));
    }

    #[test]
    fn closing_waits_for_the_last_line() {
        let shared = shared();
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = std::thread::spawn({
            let (shared, written) = (shared.clone(), written.clone());
            move || {
                shared.write(|lines| {
                    written.lock().extend_from_slice(lines);
                    Ok(())
                });
            }
        });
        for n in 0..100 {
            shared.push(format!("{n}\n").as_bytes());
        }
        Sink(shared.clone()).close();
        assert_eq!(written.lock().split(|b| *b == b'\n').count(), 101);
        writer.join().unwrap();
        assert_eq!(shared.dropped.get(), 0);
    }
}
