//! What tests do with the runtime: the operations of runtime.md by the command line that all runtimes share, and nothing
//! else. Ours has to keep more promises than the specification asks for; where a test names them, only ours is held to
//! them.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Call, Output, Sandbox, is_alive, reap_orphans, until};
use crate::runtime::is_ours;

impl Sandbox {
    /// A call of the runtime with the test's state root.
    pub(crate) fn call(&self, args: &[&str]) -> Call {
        self.onggi(args)
    }

    /// `create` of a container with this id from the configuration as it is.
    pub(crate) fn create_as(&self, id: &str, options: &[&str]) -> Call {
        self.write_config();
        let bundle = self.path("bundle");
        let words = [&["create", "--bundle", &bundle][..], options, &[id]].concat();
        self.call(&words)
    }

    /// Runs a script in a container of its own: create, start, the end of the process, delete.
    ///
    /// # Returns
    /// What it wrote to its standard output, without the last newline.
    #[track_caller]
    pub(crate) fn see(&mut self, script: &str) -> String {
        self.script(script);
        self.live()
    }

    /// The same for the process as configured.
    #[track_caller]
    pub(crate) fn live(&self) -> String {
        self.live_as(&self.token, |call| call)
    }

    /// The same with this id, `create` being called in another way.
    #[track_caller]
    pub(crate) fn live_as(&self, id: &str, change: impl FnOnce(Call) -> Call) -> String {
        let pid_file = self.path("pid");
        let create = change(self.create_as(id, &["--pid-file", &pid_file])).spawn();
        let (stdout, stderr) = create.files();
        create.finish().ok();
        self.call(&["start", id]).finish().ok();
        let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        let ended = until(15, || !is_alive(pid));
        let said = |file: PathBuf| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        let (text, errors) = (said(stdout), said(stderr));
        assert!(ended, "process {pid} does not end; it wrote {text:?} and {errors:?}");
        self.forget(id);
        text.trim_end_matches('\n').to_owned()
    }

    /// Deletes a container without asking for its state, where it is still there.
    pub(crate) fn forget(&self, id: &str) {
        reap_orphans();
        let place = self.root().join(id);
        if place.exists() {
            let _ = self.call(&["delete", "--force", id]).finish();
        }
        // What a runtime cannot delete must not stand in the way of what follows.
        if !is_ours() {
            let _ = fs::remove_dir_all(place);
        }
    }

    /// `create` must be an error. Ours must also say these words, and leave nothing.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &[&str]) {
        if is_ours() {
            self.refused(words);
            return;
        }
        self.create_as(&self.token, &[]).finish().fails();
        self.forget(&self.token);
    }

    /// `create` or `start` must be an error, because properties of the process may be applied by either. Ours must say
    /// these words in `create`.
    #[track_caller]
    pub(crate) fn refuses_process(&self, words: &[&str]) {
        if is_ours() {
            self.refused(words);
            return;
        }
        if self.create_as(&self.token, &[]).finish().status.success() {
            self.call(&["start", &self.token]).finish().fails();
        }
        self.forget(&self.token);
    }

    /// Creates, starts, and leaves a process that only waits.
    ///
    /// # Returns
    /// Its pid.
    #[track_caller]
    pub(crate) fn alive(&mut self) -> i32 {
        self.start_sleeper()
    }

    /// Ends the container's process and waits for `stopped`.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.kill("KILL");
        self.wait_status("stopped");
    }
}

impl Output {
    /// It must be an error: a status that is not 0. Ours says it in one line.
    #[track_caller]
    pub(crate) fn fails(self) -> Output {
        assert!(!self.status.success(), "wanted an error: {}", self.describe());
        self
    }

    /// It must be an error, and ours must say these words.
    #[track_caller]
    pub(crate) fn fails_with(self, words: &[&str]) -> Output {
        if is_ours() { self.error(words) } else { self.fails() }
    }
}
