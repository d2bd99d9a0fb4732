//! What a hook is given: its own environment and nothing of the container's or the caller's (invariant 15).

use std::fs;

use serde_json::json;

use crate::harness::Sandbox;

cases! {
    cve_2025_23266_environment_of_hooks;
    cve_2025_23266_descriptors_of_hooks;
}

/// Every kind of hook that runs on the host.
const KINDS: [&str; 5] = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

/// A hook of every kind that writes down what the script makes of it; returns where.
fn hooks(sandbox: &mut Sandbox, script: &str, environment: Option<&[&str]>) -> Vec<String> {
    let mut all = json!({});
    let mut files = Vec::new();
    for kind in KINDS {
        let file = sandbox.path(&format!("{kind}.seen"));
        let path = sandbox.tool(&format!("{kind}.sh"), &format!("{{ {script}; }} > {file}\n"));
        let mut hook = json!({ "path": path });
        if let Some(environment) = environment {
            hook["env"] = json!(environment);
        }
        all[kind] = json!([hook]);
        files.push(file);
    }
    let inside = format!("#!/bin/sh\n{{ {script}; }} > /startContainer.seen\n");
    fs::write(sandbox.rootfs("hook"), inside).unwrap();
    fs::set_permissions(sandbox.rootfs("hook"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut hook = json!({ "path": "/hook" });
    if let Some(environment) = environment {
        hook["env"] = json!(environment);
    }
    all["startContainer"] = json!([hook]);
    files.push(sandbox.rootfs("startContainer.seen").display().to_string());
    sandbox.set("/hooks", all);
    files
}

/// An image sets LD_PRELOAD for its process, the caller has an environment of its own: a hook sees only what its own
/// entry gives, and nothing at all where that gives nothing.
fn cve_2025_23266_environment_of_hooks(sandbox: &mut Sandbox) {
    let hostile =
        json!(["PATH=/bin", "LD_PRELOAD=./proc/self/cwd/evil.so", "LD_LIBRARY_PATH=.", "BASH_ENV=/x"]);
    sandbox.set("/process/env", hostile).args(&["/bin/true"]);
    let mine: &[&str] = &["ONE=1", "TWO=two words"];
    let nothing: &[&str] = &[];
    for (environment, wanted) in [(None, ""), (Some(nothing), ""), (Some(mine), "ONE=1\0TWO=two words\0")] {
        let files =
            hooks(sandbox, "read -r pid rest < /proc/self/stat; /bin/cat /proc/$pid/environ", environment);
        sandbox.begin("run", &[]).env("LD_PRELOAD_TOO", "caller").env("SECRET", "caller").finish().ok();
        for file in files {
            let seen = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(seen, wanted, "{file}");
        }
    }
}

/// A hook has 0, 1 and 2; neither the runtime's own descriptors nor those that the caller forgot.
fn cve_2025_23266_descriptors_of_hooks(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/true"]);
    let script = "read -r pid rest < /proc/self/stat\n\
        for it in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$pid/fd/$it ] && echo $it; done; :";
    let files = hooks(sandbox, script, None);
    let leaking = ["/bin/sh", "-c", r#"exec 3</ 5</etc 9</etc/passwd; exec "$@""#, "sh"];
    sandbox.begin("run", &[]).through(&leaking).finish().ok();
    for file in files {
        let seen = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(seen, "0\n1\n2\n", "{file}");
    }
}
