//! runtime-linux.md: the file descriptors and the symbolic links of /dev that a container finds.

use crate::harness::Sandbox;

clauses! {
    301 MUST "File descriptors", "keep only stdin, stdout and stderr open by default"
        => only_stdin_stdout_and_stderr_are_open;
    302 MUST "Dev symbolic links", "make /dev/fd" => dev_fd = |it| link(it, "fd", "/proc/self/fd");
    303 MUST "Dev symbolic links", "make /dev/stdin" => dev_stdin = |it| link(it, "stdin", "/proc/self/fd/0");
    304 MUST "Dev symbolic links", "make /dev/stdout" => dev_stdout = |it| link(it, "stdout", "/proc/self/fd/1");
    305 MUST "Dev symbolic links", "make /dev/stderr" => dev_stderr = |it| link(it, "stderr", "/proc/self/fd/2");
}

/// Descriptors 3, 7 and 9 are open in the runtime.
const LEAKY: &[&str] = &["/bin/sh", "-c", "exec 3</dev/null 7</dev/null 9</dev/null; exec \"$@\"", "sh"];

fn only_stdin_stdout_and_stderr_are_open(it: &mut Sandbox) {
    // The shell's own glob needs one descriptor while it reads the directory; each one is looked at afterwards.
    it.script("for fd in /proc/$$/fd/*; do [ -e $fd ] && echo ${fd##*/}; done; true");
    assert_eq!(it.live_as(&it.token, |create| create.through(LEAKY)), "0\n1\n2");
}

fn link(it: &mut Sandbox, name: &str, target: &str) {
    assert_eq!(it.see(&format!("readlink /dev/{name}")), target);
}
