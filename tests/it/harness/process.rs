//! The binary as a child process: signals, exit codes, captured output.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::gate::within;

/// A running child; killed, and its output shown if the test failed, when dropped.
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
    dir: PathBuf,
    name: String,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts the binary in `dir` with these variables and hardly any other.
    pub fn start(dir: &Path, args: &[&str], env: &BTreeMap<String, String>) -> Self {
        let name = args.first().unwrap_or(&"bare").to_string();
        let log = |stream: &str| -> File {
            let path = dir.join(format!("{name}.{stream}"));
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .unwrap()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_llm-cache-server"))
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .env("RUST_BACKTRACE", "1")
            .envs(env)
            .stdin(Stdio::null())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .expect("the server's binary can be started");
        Self {
            child,
            status: None,
            dir: dir.to_owned(),
            name,
        }
    }

    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
            kill(pid, signal).expect("a signal to our own child");
        }
    }

    /// The exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Waits for the end without causing it.
    #[track_caller]
    pub fn exits_within(&mut self, bound: Duration) -> impl Future<Output = ExitStatus> {
        within(bound, "the process ends", move || {
            std::future::ready(self.exited().ok_or_else(|| "it runs".to_owned()))
        })
    }

    pub fn stdout(&self) -> String {
        read_to_string(self.dir.join(format!("{}.stdout", self.name))).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        read_to_string(self.dir.join(format!("{}.stderr", self.name))).unwrap_or_default()
    }

    pub fn output(&self) -> String {
        self.stdout() + &self.stderr()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let config = read_to_string(self.dir.join("config.yaml")).unwrap_or_default();
            let (status, output) = (self.status, self.output());
            eprintln!("--- {} ({status:?}), configured with\n{config}", self.name);
            eprintln!("--- its output\n{output}---");
        }
    }
}

/// Runs the binary to its end.
pub async fn command(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Finished {
    let env = env
        .iter()
        .map(|(n, v)| (n.to_string(), v.to_string()))
        .collect();
    let mut process = Process::start(dir, args, &env);
    let status = process.exits_within(Duration::from_secs(20)).await;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    // The next command in this directory starts with clean files.
    for stream in ["stdout", "stderr"] {
        let _ = std::fs::remove_file(dir.join(format!("{}.{stream}", process.name)));
    }
    Finished {
        code: status.code(),
        stdout,
        stderr,
    }
}
