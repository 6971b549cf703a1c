//! The `mesher` binary: settles how memory is had, and calls [`mesher::cli`].

/// glibc's allocator keeps what a burst of events freed; mimalloc gives it back, which keeps resident memory flat.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[cfg(unix)]
    give_back_soon();
    // A huge page stays whole in memory as long as one piece of it is in use, and what events leave behind is scattered. A kernel
    // that does not know the option has no such pages, or takes what it takes.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    mesher::cli::main()
}

/// mimalloc keeps freed pages for a second, which under load is as much memory again as is in use. It reads how long it may from the
/// environment before anything of this program runs; so where nobody has said, this says it and begins anew, as the same process.
#[cfg(unix)]
fn give_back_soon() {
    use std::env;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    const DELAY: &str = "MIMALLOC_PURGE_DELAY";
    const DELAY_MS: &str = "100";
    let mut arguments = env::args_os();
    if env::var_os(DELAY).is_some() {
        return;
    }
    if let (Some(name), Ok(program)) = (arguments.next(), env::current_exe()) {
        let mut anew = Command::new(program);
        // It returns only where it fails, and then all goes on with more memory.
        let _ = anew.arg0(name).args(arguments).env(DELAY, DELAY_MS).exec();
    }
}
