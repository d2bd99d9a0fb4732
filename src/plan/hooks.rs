//! The six kinds of hooks as what will be run (config.md, POSIX-platform Hooks): argv, environment and time limit
//! filled in, and the status that each kind reads in the container's state (runtime.md, Lifecycle). Pure.

use super::Plan;
use super::step::{Hook, Step};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;

/// Every hook of a config, by the moment when it runs; in each list the order of the config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hooks {
    /// `create`, in the runtime's namespaces, first.
    pub(crate) prestart: Vec<Hook>,
    /// `create`, in the runtime's namespaces.
    pub(crate) create_runtime: Vec<Hook>,
    /// `create`, in the container's namespaces, files of the runtime's.
    pub(crate) create_container: Vec<Hook>,
    /// `start`, in the container, before the user's program.
    pub(crate) start_container: Vec<Hook>,
    /// `start`, in the runtime's namespaces, after the user's program was executed.
    pub(crate) poststart: Vec<Hook>,
    /// `delete`, in the runtime's namespaces.
    pub(crate) poststop: Vec<Hook>,
}

/// The hooks of this config.
///
/// # Errors
/// A time limit that is not greater than zero.
pub(crate) fn plan(spec: &Spec) -> Result<Hooks> {
    let Some(hooks) = spec.hooks() else { return Ok(Hooks::default()) };
    Ok(Hooks {
        prestart: list("prestart", "creating", hooks.prestart())?,
        create_runtime: list("createRuntime", "creating", hooks.create_runtime())?,
        create_container: list("createContainer", "creating", hooks.create_container())?,
        start_container: list("startContainer", "created", hooks.start_container())?,
        poststart: list("poststart", "running", hooks.poststart())?,
        poststop: list("poststop", "stopped", hooks.poststop())?,
    })
}

/// The hooks that init runs, as steps.
pub(crate) fn push(plan: &mut Plan, hooks: Vec<Hook>) {
    for hook in hooks {
        plan.push(hook.field.clone(), Step::Hook(hook));
    }
}

fn list(kind: &str, status: &str, hooks: &Option<Vec<oci_spec::runtime::Hook>>) -> Result<Vec<Hook>> {
    let hooks = hooks.iter().flatten().enumerate();
    hooks.map(|(i, hook)| one(format!("hooks.{kind}[{i}]"), status, hook)).collect()
}

fn one(field: String, status: &str, hook: &oci_spec::runtime::Hook) -> Result<Hook> {
    // JSON strings are UTF-8, so nothing is lost.
    let path = hook.path().to_string_lossy().into_owned();
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => {
                return Err(
                    Error::new(format!("{seconds} is not greater than zero")).at(format!("{field}.timeout"))
                );
            }
        },
    };
    // execv(3) wants argv[0]; a hook without args gets its path there.
    let args = hook.args().clone().filter(|args| !args.is_empty()).unwrap_or_else(|| vec![path.clone()]);
    let env = hook.env().clone().unwrap_or_default();
    Ok(Hook { field, status: status.to_owned(), path, args, env, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(hooks: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion":"1.0.0","hooks":{hooks}}}"#)).expect("a spec")
    }

    #[test]
    fn each_kind_reads_its_status() {
        let all = r#"{"prestart":[{"path":"/a"}],"createRuntime":[{"path":"/a"}],"createContainer":[{"path":"/a"}],
            "startContainer":[{"path":"/a"}],"poststart":[{"path":"/a"}],"poststop":[{"path":"/a"}]}"#;
        let hooks = plan(&spec(all)).expect("valid");
        let expected = [
            (&hooks.prestart, "hooks.prestart[0]", "creating"),
            (&hooks.create_runtime, "hooks.createRuntime[0]", "creating"),
            (&hooks.create_container, "hooks.createContainer[0]", "creating"),
            (&hooks.start_container, "hooks.startContainer[0]", "created"),
            (&hooks.poststart, "hooks.poststart[0]", "running"),
            (&hooks.poststop, "hooks.poststop[0]", "stopped"),
        ];
        for (list, field, status) in expected {
            let [hook] = list.as_slice() else { panic!("one hook in {field}") };
            assert_eq!((hook.field.as_str(), hook.status.as_str()), (field, status));
        }
    }

    #[test]
    fn fills_in_argv_environment_and_time_limit() {
        let text = r#"{"prestart":[{"path":"/a/b"},{"path":"/a/b","args":[]},
            {"path":"/a/b","args":["b","-x"],"env":["K=v"],"timeout":5}]}"#;
        let hooks = plan(&spec(text)).expect("valid").prestart;
        let seen: Vec<_> = hooks.iter().map(|h| (h.args.join(" "), h.env.join(" "), h.timeout)).collect();
        let bare = ("/a/b".to_owned(), String::new(), None);
        assert_eq!(seen, [bare.clone(), bare, ("b -x".to_owned(), "K=v".to_owned(), Some(5))]);
        assert!(hooks.iter().all(|hook| hook.path == "/a/b"));
    }

    #[test]
    fn refuses_a_time_limit_of_nothing() {
        for timeout in [0, -1] {
            let text = format!(r#"{{"poststop":[{{"path":"/a"}},{{"path":"/a","timeout":{timeout}}}]}}"#);
            let error = plan(&spec(&text)).expect_err("refused").to_string();
            assert_eq!(error, format!("hooks.poststop[1].timeout: {timeout} is not greater than zero"));
        }
    }

    #[test]
    fn no_hooks_are_no_hooks() {
        assert_eq!(plan(&spec("null")), Ok(Hooks::default()));
        assert_eq!(plan(&spec(r#"{"prestart":null}"#)), Ok(Hooks::default()));
    }
}
