//! runtime-linux.md: the file descriptors and the symbolic links of /dev that a container finds.

use crate::harness::Sandbox;

cases! {
    only_stdin_stdout_and_stderr_are_open;
    preserved_descriptors_are_open;
    dev_has_its_symbolic_links;
}

/// Descriptors 3, 7 and 63 are open in the runtime.
const LEAKY: &[&str] =
    &["/bin/bash", "-c", "exec 3</etc/hostname 7</etc/hostname 63</etc/hostname; exec \"$@\"", "bash"];

fn only_stdin_stdout_and_stderr_are_open(sandbox: &mut Sandbox) {
    // The shell's own glob needs one descriptor while it reads the directory; each one is looked at afterwards.
    sandbox.script("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true");
    let output = sandbox.begin("run", &[]).through(LEAKY).finish().ok();
    assert_eq!(output.text(), "0\n1\n2", "{}", output.describe());
}

fn preserved_descriptors_are_open(sandbox: &mut Sandbox) {
    sandbox.script("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true");
    let output = sandbox.begin("run", &["--preserve-fds", "1"]).through(LEAKY).finish().ok();
    assert_eq!(output.text(), "0\n1\n2\n3", "{}", output.describe());
}

fn dev_has_its_symbolic_links(sandbox: &mut Sandbox) {
    let links = sandbox.prove("for link in fd stdin stdout stderr; do readlink /dev/$link; done");
    assert_eq!(links, "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2");
}
