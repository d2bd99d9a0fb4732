//! onggi: config.json becomes a plan, a list of steps that can be printed; the runtime gives birth to one process,
//! which walks the list; the two meet at a few named points.

mod error;

pub use error::{Error, Result};

/// The program.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
