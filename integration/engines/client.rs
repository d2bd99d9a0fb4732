//! The command line that podman and docker have in common, on behalf of one test.

use std::path::Path;
use std::sync::Arc;

use crate::harness::{Call, Output, Sandbox, reap_orphans, until};
use crate::image::IMAGE;
use crate::place::Place;

/// Which of them it is, where they differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// podman as root.
    Podman,
    /// podman as a user.
    Rootless,
    /// docker.
    Docker,
}

/// An engine that is asked through commands.
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) place: Arc<Place>,
    /// The words before each command.
    pub(crate) program: Vec<String>,
    /// Options of `run` that choose the runtime.
    pub(crate) chosen: Vec<String>,
}

impl Client {
    /// A call with these words.
    pub(crate) fn call(&self, sandbox: &Sandbox, words: &[&str]) -> Call {
        let program = self.program.iter().map(String::as_str);
        self.place.call(sandbox, &program.chain(words.iter().copied()).collect::<Vec<_>>())
    }

    /// Runs a container in the foreground, which is removed at its end.
    pub(crate) fn run(&self, sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Call {
        self.begin(sandbox, &[&["--rm"], options].concat(), command)
    }

    /// Runs a script in such a container, and returns what it prints.
    #[track_caller]
    pub(crate) fn prove(&self, sandbox: &Sandbox, options: &[&str], script: &str) -> String {
        self.run(sandbox, options, &["sh", "-c", script]).finish().ok().text().to_owned()
    }

    /// Starts the test's container in the background.
    #[track_caller]
    pub(crate) fn start(&self, sandbox: &Sandbox, options: &[&str], command: &[&str]) {
        self.begin(sandbox, &[&["--detach", "--name", &sandbox.token], options].concat(), command)
            .finish()
            .ok();
    }

    fn begin(&self, sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Call {
        let chosen: Vec<&str> = self.chosen.iter().map(String::as_str).collect();
        self.call(sandbox, &[&["run"], &chosen[..], options, &[IMAGE], command].concat())
    }

    /// A process in the test's container.
    pub(crate) fn exec(&self, sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Call {
        self.call(sandbox, &[&["exec"], options, &[&sandbox.token], command].concat())
    }

    /// A value of the test's container, by Go's template.
    #[track_caller]
    pub(crate) fn inspect(&self, sandbox: &Sandbox, value: &str) -> String {
        let template = format!("{{{{{value}}}}}");
        let words = ["container", "inspect", "--format", &template, &sandbox.token];
        self.call(sandbox, &words).finish().ok().text().to_owned()
    }

    /// Waits for the end of the test's container, and returns its exit code.
    #[track_caller]
    pub(crate) fn wait(&self, sandbox: &Sandbox) -> String {
        self.call(sandbox, &["wait", &sandbox.token]).finish().ok().text().to_owned()
    }

    /// Waits until a value of the test's container is this.
    #[track_caller]
    pub(crate) fn wait_for(&self, sandbox: &Sandbox, value: &str, wanted: &str) {
        let mut last = String::new();
        let reached = until(20, || {
            last = self.inspect(sandbox, value);
            last == wanted
        });
        assert!(reached, "{value} is {last:?}, wanted {wanted:?}");
    }

    /// Removes the test's container, alive or not; nothing of it may be left.
    #[track_caller]
    pub(crate) fn remove(&self, sandbox: &Sandbox) {
        let output = self.force(sandbox).ok();
        sandbox.clean(&output);
    }

    /// Asks once that the test's container be removed, alive or not.
    #[track_caller]
    pub(crate) fn force(&self, sandbox: &Sandbox) -> Output {
        // podman first waits for what a signal does to a process that does not listen.
        let words: &[&str] =
            if self.kind == Kind::Docker { &["rm", "--force"] } else { &["rm", "--force", "--time", "0"] };
        let mut call = self.call(sandbox, &[words, &[&sandbox.token]].concat()).spawn();
        // A container whose keeper was killed is this program's child.
        until(20, || {
            reap_orphans();
            call.has_ended()
        });
        call.finish()
    }

    /// A folder that the engine may read and its containers may write to.
    pub(crate) fn folder(&self, sandbox: &Sandbox, name: &str) -> String {
        let path = sandbox.path(name);
        std::fs::create_dir(&path).unwrap();
        let owner = (self.kind == Kind::Rootless).then_some(1000);
        std::os::unix::fs::chown(Path::new(&path), owner, owner).unwrap();
        path
    }
}

/// The output of a call that must have failed with this status and these words.
#[track_caller]
pub(crate) fn fails(output: Output, code: i32, words: &str) {
    let output = output.code(code);
    assert!(output.stderr.contains(words), "{words:?} is missing: {}", output.describe());
}
