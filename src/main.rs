//! Dispatch only.

use std::process::ExitCode;

fn main() -> ExitCode {
    llm_cache_server::cli::main()
}
