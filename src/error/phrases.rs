//! The phrases by which callers tell one failure from another. There are no error codes between an engine and its
//! runtime: containerd, docker, podman and CRI-O look for words in the log's last error or on standard error, and the
//! words are runc's. An error that a caller acts on is built with a phrase of this table, never with words of its own;
//! `integration/contract/phrases.rs` has for each the situation in which a caller must find it.

/// One list: a constant for each phrase, and all of them for the test.
macro_rules! phrases {
    ($($(#[$doc:meta])* $name:ident = $words:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $words;)*

        /// Every phrase that callers look for.
        pub const PHRASES: &[&str] = &[$($name),*];
    };
}

phrases! {
    /// The id is unknown. containerd: not found, and for `delete` done; podman, CRI-O: the container is gone.
    NO_SUCH_CONTAINER = "container does not exist";
    /// The id is taken.
    ALREADY_EXISTS = "container with given ID already exists";
    /// The name breaks the rules for ids.
    INVALID_ID = "invalid container ID format";
    /// No process to signal, pause or limit. containerd: already finished; CRI-O: not found, so stopped.
    NOT_RUNNING = "container not running";
    /// No figures of a container without a process; the id stands between the two halves.
    NOT_RUNNING_WITH_ID = "is not running";
    /// `resume` of what is not paused.
    NOT_PAUSED = "container not paused";
    /// `start` of a container whose process has ended.
    START_STOPPED = "cannot start a container that has stopped";
    /// `start` for the second time.
    START_RUNNING = "cannot start an already running container";
    /// `start` in another state, which stands behind; `state` closes it.
    START_IN_STATE = "cannot start a container in the";
    /// `delete` without force; the status stands behind. Engines that see it kill first.
    DELETE_NOT_STOPPED = "that is not stopped:";
    /// `exec` without a process to join.
    EXEC_STOPPED = "cannot exec in a stopped container";
    /// `exec` into what stands still.
    EXEC_PAUSED = "cannot exec in a paused container (use --ignore-paused to override)";
    /// The program is nowhere in PATH. docker and podman: exit status 127; kubelet shows it.
    NOT_IN_PATH = "executable file not found in $PATH";
    /// A path of the program that leads nowhere. docker and podman: 127.
    NO_SUCH_FILE = "no such file or directory";
    /// A program that may not be executed. docker and podman: 126.
    PERMISSION_DENIED = "permission denied";
    /// A path through a file. docker: 127, with advice about mounts.
    NOT_A_DIRECTORY = "not a directory";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn no_phrase_stands_twice() {
        let mut sorted = PHRASES.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), PHRASES.len());
    }

    /// Where the kernel refuses, its own words are the phrase.
    #[test]
    fn errno_texts_hold_the_phrases_of_the_kernel() {
        for (errno, words) in [
            (nix::libc::ENOENT, NO_SUCH_FILE),
            (nix::libc::EACCES, PERMISSION_DENIED),
            (nix::libc::ENOTDIR, NOT_A_DIRECTORY),
        ] {
            assert!(Error::call("open", errno).to_string().ends_with(words), "{words}");
        }
    }
}
