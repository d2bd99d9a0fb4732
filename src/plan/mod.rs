//! Policy, pure: (Config, Host, Options) becomes a Plan, a list of steps that can be printed.

pub(crate) mod capabilities;
pub(crate) mod cgroup;
pub(crate) mod hooks;
pub(crate) mod host;
pub(crate) mod layout;
pub(crate) mod mount_options;
pub(crate) mod step;
pub(crate) mod sysctl;
