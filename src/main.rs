//! Dispatch only.

use std::process::ExitCode;

/// Its arenas give memory back where glibc's keep it: answers are allocated on one thread and freed
/// on another.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    llm_cache_server::cli::main()
}
