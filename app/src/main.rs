//! The `mesher` binary: calls [`mesher::cli`], nothing else.

/// glibc's allocator keeps what a burst of events freed; mimalloc gives it back, which keeps resident memory flat.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mesher::cli::main()
}
