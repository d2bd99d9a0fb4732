//! docker's default seccomp profile as the kernel takes it: what the floor loads, made by libseccomp beforehand.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use serde_json::Value;

/// The profile, in the runtime-spec's form, which the runtimes get in config.json.
pub(crate) fn profile() -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/seccomp/default.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Writes the program of a profile, compiled with a binary tree: of a list the kernel takes longer to load.
pub(crate) fn write(profile: &Value, file: &Path) -> Result<()> {
    let mut filter = ScmpFilterContext::new(action(profile, "defaultAction", "defaultErrnoRet")?)?;
    for name in list(&profile["architectures"]) {
        let name = name.as_str().unwrap_or_default();
        filter.add_arch(name.parse::<ScmpArch>().with_context(|| name.to_owned())?)?;
    }
    filter.set_ctl_optimize(2)?;
    for rule in list(&profile["syscalls"]) {
        let action = action(rule, "action", "errnoRet")?;
        let conditions = list(&rule["args"]).map(condition).collect::<Result<Vec<_>>>()?;
        for name in list(&rule["names"]).filter_map(Value::as_str) {
            // libseccomp need not know all of them.
            let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
            filter.add_rule_conditional(action, syscall, &conditions).with_context(|| name.to_owned())?;
        }
    }
    filter.export_bpf(File::create(file).with_context(|| file.display().to_string())?)?;
    Ok(())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn action(rule: &Value, name: &str, errno: &str) -> Result<ScmpAction> {
    match rule[name].as_str() {
        Some("SCMP_ACT_ALLOW") => Ok(ScmpAction::Allow),
        Some("SCMP_ACT_ERRNO") => Ok(ScmpAction::Errno(i32::try_from(rule[errno].as_i64().unwrap_or(1))?)),
        other => bail!("seccomp action {other:?}"),
    }
}

fn condition(arg: &Value) -> Result<ScmpArgCompare> {
    let number = |name: &str| arg[name].as_u64().unwrap_or_default();
    let (operator, datum) = match arg["op"].as_str() {
        Some("SCMP_CMP_EQ") => (ScmpCompareOp::Equal, number("value")),
        Some("SCMP_CMP_NE") => (ScmpCompareOp::NotEqual, number("value")),
        Some("SCMP_CMP_MASKED_EQ") => (ScmpCompareOp::MaskedEqual(number("value")), number("valueTwo")),
        other => bail!("seccomp operator {other:?}"),
    };
    Ok(ScmpArgCompare::new(u32::try_from(number("index"))?, operator, datum))
}
