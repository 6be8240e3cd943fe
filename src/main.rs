//! Dispatch only.

use std::process::ExitCode;

/// Answers are allocated on one thread and freed on another, which glibc's arenas take badly. Its
/// background threads give back what an idle server no longer needs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    llm_cache_server::cli::main()
}
