//! What every test stands on: the two cgroup layouts, a sandbox per test, calls with a time limit, requirements,
//! and the search for leftovers. It never decides what is right: expectations live in the tests.

#[macro_use]
mod case;
mod bundle;
mod call;
mod example;
mod layout;
mod leaks;
pub(crate) mod needs;
mod patience;
pub(crate) mod processes;
mod pty;
mod sandbox;
pub(crate) mod world;

pub(crate) use call::{Call, Output, Running};
pub(crate) use case::Case;
pub(crate) use example::example;
pub(crate) use layout::Layout;
pub(crate) use needs::Need;
pub(crate) use patience::{limit, patience};
pub(crate) use processes::{
    forget, hold, is_alive, output, parent, processes_in_state, reap_orphans, spawn, start_time, state_of,
    status_field,
};
pub(crate) use pty::Pty;
pub(crate) use sandbox::{Sandbox, until};
#[allow(unused_imports, reason = "only the tests of engines share something that must be taken down")]
pub(crate) use world::main_and_then;
pub(crate) use world::{binary, main};
