//! The `onggi` program: hands over to the command line, nothing else.

fn main() -> std::process::ExitCode {
    onggi::main()
}
