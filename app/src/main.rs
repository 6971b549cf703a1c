//! The `mesher` binary: settles how memory is had, and calls [`mesher::cli`].

/// glibc's allocator keeps what a burst of events freed; mimalloc gives it back, which keeps resident memory flat.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // A huge page stays whole in memory as long as one piece of it is in use, and what events leave behind is scattered. A kernel
    // that does not know the option has no such pages, or takes what it takes.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    mesher::cli::main()
}
