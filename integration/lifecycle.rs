//! Lifecycle truth: what create, start, kill, state and delete say and do (runtime-spec, runtime.md).

use crate::harness::Sandbox;

cases! {
    run_prints_from_inside;
    create_start_kill_delete;
}

fn run_prints_from_inside(sandbox: &mut Sandbox) {
    assert_eq!(sandbox.prove("echo $$; hostname"), "1\nonggi");
}

fn create_start_kill_delete(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]);
    sandbox.create();
    assert_eq!(sandbox.status(), "created");
    sandbox.start();
    assert_eq!(sandbox.status(), "running");
    sandbox.kill("KILL");
    sandbox.wait_status("stopped");
    sandbox.delete();
    sandbox.onggi(&["state", &sandbox.token]).finish().error(&["does not exist"]);
}
