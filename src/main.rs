//! The `onggi` program: hands over to the command line, nothing else.

/// musl's allocator asks the kernel for nearly every block of some size and gives each back at once; the life of the
/// runtime is too short for that.
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    onggi::main()
}
