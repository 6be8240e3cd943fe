//! The clock that two processes share, the memory of another one, and how many files this one may open.

use std::os::fd::AsFd;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime};
use tokio::net::unix::pipe::Receiver;

/// How often a peak is looked for. Memory that is needed for less than this is not seen.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// Nanoseconds of `CLOCK_MONOTONIC`, which is the same in every process.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Wakes at a time to some microseconds; tokio's own timer counts in milliseconds.
pub struct Alarm {
    timer: TimerFd,
    /// The same timer: to who polls it, its file is like a pipe.
    file: Receiver,
}

impl Alarm {
    pub fn new() -> Alarm {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, flags).expect("a timer");
        let file = timer.as_fd().try_clone_to_owned().expect("one more file");
        let file = Receiver::from_owned_fd_unchecked(file).expect("a runtime that polls files");
        Alarm { timer, file }
    }

    /// Returns at once if that time has passed.
    pub async fn until(&self, at_ns: u64) {
        while now_ns() < at_ns {
            let seconds = (at_ns / 1_000_000_000) as i64;
            let time = TimeSpec::new(seconds, (at_ns % 1_000_000_000) as i64);
            let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
            let set = self.timer.set(Expiration::OneShot(time), flags);
            set.expect("the timer takes a time");
            self.file.readable().await.expect("a timer");
            // How often it went off, which is of no interest. It must be read to be polled again.
            let _ = self.file.try_read(&mut [0; 8]);
        }
    }
}

/// Bytes of another process in memory (VmRSS).
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_else(|e| panic!("no process {pid}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("a process has memory") * 1024
}

/// Looks at a process's memory until it is stopped.
pub struct Peak {
    stop: SyncSender<()>,
    thread: JoinHandle<u64>,
}

impl Peak {
    pub fn of(pid: u32) -> Peak {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let mut peak = resident_bytes(pid);
            while stopped.recv_timeout(SAMPLE_EVERY) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(resident_bytes(pid));
            }
            peak.max(resident_bytes(pid))
        });
        Peak { stop, thread }
    }

    /// The most it had, in bytes.
    pub fn stop(self) -> u64 {
        let _ = self.stop.send(());
        self.thread.join().expect("the sampler does not panic")
    }
}

/// Nanoseconds that this process has been on a CPU: a client that is on one all the time measures itself.
pub fn cpu_ns() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the usage of this process");
    let nanos = |time: TimeVal| time.num_microseconds().unsigned_abs() * 1000;
    nanos(usage.user_time()) + nanos(usage.system_time())
}

/// As many open files as this process may have.
pub fn allow_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of files");
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
}
