//! The command line.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Source};
use crate::{access_log, demo, server};
use operate::Operate;
use remote::Failure;

mod operate;
mod remote;
mod tables;

/// What `run` and `check` read when nothing else is said; without it the embedded defaults apply.
const DEFAULT_CONFIG: &str = "conf/llm-cache-server.yaml";
/// EX_USAGE of sysexits.h: the operator's input is wrong, not the program.
const EXIT_CONFIG: u8 = 64;
/// A health check that takes longer has failed.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// The demo's proxy is given this long to start.
const DEMO_START_MAX: Duration = Duration::from_secs(20);

#[derive(Parser)]
#[command(
    name = "llm-cache-server",
    version,
    about = "A caching proxy for LLM APIs"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The YAML file [default: conf/llm-cache-server.yaml if it exists, else embedded defaults]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (the default)
    Run,
    /// Load the configuration, build everything it asks for, print every error, and exit
    Check,
    /// Show what the cache does, with a stand-in LLM: needs no key and no network
    Demo,
    /// Ask a running server whether it is ready; exit 0 if it is
    Healthcheck,
    /// Print the JSON Schema of the configuration file
    Schema,
    #[command(flatten)]
    Operate(Operate),
}

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() {
                EXIT_CONFIG.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let file = cli.config.as_deref();
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => with_config(file, run),
        Command::Check => with_config(file, check),
        Command::Demo => exit_code(play_demo()),
        Command::Healthcheck => with_config(file, healthcheck),
        Command::Schema => schema(),
        Command::Operate(command) => operate(command, file),
    }
}

fn operate(command: Operate, file: Option<&Path>) -> ExitCode {
    let (source, env) = (source(file), environment());
    let config = match config::load_for_tools(source, &env, command.asks_server()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return EXIT_CONFIG.into();
        }
    };
    match command.run(&config) {
        Err(Failure::Usage(why)) => {
            eprintln!("llm-cache-server: {why}");
            EXIT_CONFIG.into()
        }
        result => exit_code(result),
    }
}

fn with_config(file: Option<&Path>, then: fn(Config) -> ExitCode) -> ExitCode {
    match load(file) {
        Ok(config) => then(config),
        Err(errors) => {
            eprintln!("{errors}");
            EXIT_CONFIG.into()
        }
    }
}

fn load(file: Option<&Path>) -> Result<Config, config::Errors> {
    config::load(source(file), &environment())
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn source(file: Option<&Path>) -> Source<'_> {
    let default = Path::new(DEFAULT_CONFIG);
    match file {
        Some(file) => Source::File(file),
        None if default.exists() => Source::File(default),
        None => Source::Embedded,
    }
}

fn run(config: Config) -> ExitCode {
    access_log::init(config.log.format, config.log.level);
    match server::run(config) {
        Err(e) if e.is_configuration() => {
            eprintln!("llm-cache-server: {e}");
            EXIT_CONFIG.into()
        }
        result => exit_code(result),
    }
}

fn check(config: Config) -> ExitCode {
    match server::check(&config) {
        Ok(()) => {
            println!("the configuration is good");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            EXIT_CONFIG.into()
        }
    }
}

fn healthcheck(config: Config) -> ExitCode {
    exit_code(ask_ready(server::reachable(config.server.admin)))
}

fn ask_ready(admin: SocketAddr) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("no answer from {admin}: {e}");
    let mut stream = TcpStream::connect_timeout(&admin, HEALTH_TIMEOUT).map_err(failed)?;
    stream
        .set_read_timeout(Some(HEALTH_TIMEOUT))
        .map_err(failed)?;
    stream
        .set_write_timeout(Some(HEALTH_TIMEOUT))
        .map_err(failed)?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(failed)?;
    if head.ends_with(b" 200") {
        return Ok(());
    }
    Err(format!(
        "{admin} is not ready: {}",
        String::from_utf8_lossy(&head)
    ))
}

fn schema() -> ExitCode {
    match serde_json::to_string_pretty(&config::schema()) {
        Ok(text) => {
            print(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err(e) => exit_code(Err::<(), _>(e)),
    }
}

/// A reader that has seen enough (`| head`) is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn play_demo() -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let dir = std::env::temp_dir().join(format!("llm-cache-server-demo-{}", std::process::id()));
    let runtime = tokio::runtime::Runtime::new().map_err(text)?;
    let stand_in = runtime.block_on(demo::start_stand_in()).map_err(text)?;
    let (listen, admin) = (free_port().map_err(text)?, free_port().map_err(text)?);
    let yaml = demo::config_yaml(listen, admin, stand_in.addr, &dir);
    std::fs::create_dir_all(&dir).map_err(text)?;
    let file = dir.join("demo.yaml");
    std::fs::write(&file, yaml).map_err(text)?;
    let config = config::load(Source::File(&file), &BTreeMap::new()).map_err(|e| e.to_string())?;
    access_log::init(config.log.format, config.log.level);
    let proxy = std::thread::spawn(move || server::run(config).map_err(|e| e.to_string()));
    let started = Instant::now();
    while ask_ready(admin).is_err() {
        if proxy.is_finished() || started.elapsed() > DEMO_START_MAX {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let mut out = std::io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let played = runtime.block_on(demo::play(listen, &stand_in, &mut out, colour));
    let result = match played {
        Ok(()) => {
            println!("{}", demo::hints(listen, admin));
            proxy
                .join()
                .unwrap_or_else(|_| Err("the proxy ended by a panic".into()))
        }
        Err(e) => Err(e.to_string()),
    };
    let _ = std::fs::remove_dir_all(&dir);
    result
}

fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn exit_code(result: Result<(), impl std::fmt::Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("llm-cache-server: {e}");
            ExitCode::FAILURE
        }
    }
}
