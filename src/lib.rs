//! onggi: config.json becomes a plan, a list of steps that can be printed; the runtime gives birth to one process,
//! which walks the list; the two meet at a few named points.
//!
//! ```text
//! config.json --spec--> Config --plan(Host, Options)--> Plan --clone3--> init: for step in plan { run(step)? } --> execve
//!                                                         |                       ^        |
//!                                                         +--- container::attend -+-- At / Go / Failed
//! ```

mod cgroup;
mod cli;
mod container;
mod error;
mod init;
mod log;
mod plan;
mod spec;
mod sys;

pub use error::phrases::PHRASES;
pub use error::{Error, Result};

/// The program: reads the process's arguments, does what they say, gives the exit status.
pub fn main() -> std::process::ExitCode {
    cli::main()
}
