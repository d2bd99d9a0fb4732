//! AppArmor and SELinux: process.apparmorProfile, process.selinuxLabel, linux.mountLabel (config.md, Linux Process;
//! config-linux.md, Mount Label). A label that this machine cannot give is an error, never left out.

use super::host::Host;
use super::step::{Become, Field, Handle, HandleId, Label, LabelFile, Step, Steps, c_string};
use crate::error::{Error, Result};
use oci_spec::runtime::{Process, Spec};
use std::ffi::CString;

/// The kernel's own file systems that take no context of a mount: procfs and sysfs, whose files have their labels from
/// the policy, and those of control groups.
const LABELLED_BY_POLICY: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];

fn given(text: &Option<String>) -> Option<&String> {
    text.as_ref().filter(|text| !text.is_empty())
}

/// The process gives itself its labels, which become its own with the next execve. It must still have its
/// capabilities: AppArmor asks for CAP_MAC_OVERRIDE where the kernel restricts changes of profile by who is unconfined.
/// no_new_privs may come before or after: both LSMs look at it on execve.
///
/// # Errors
/// The LSM is not enabled.
pub(crate) fn confine(
    steps: &mut Steps,
    handles: &mut Vec<(Field, Handle)>,
    process: &Process,
    host: &Host,
) -> Result<()> {
    if let Some(profile) = given(process.apparmor_profile()) {
        let field = format!("process.apparmorProfile {profile:?}");
        if !host.lsm.apparmor {
            return Err(Error::new("AppArmor is not enabled on this machine").at(field));
        }
        let text = c_string(format!("exec {profile}")).map_err(|e| e.at(&field))?;
        push(steps, handles, &field, LabelFile::AppArmorExec, text);
    }
    if let Some((field, label)) = selinux(process, host)? {
        push(steps, handles, &field, LabelFile::Exec, label);
    }
    Ok(())
}

/// The session keyring of the container with this id, with the SELinux label of the process.
///
/// # Errors
/// SELinux is not enabled.
pub(crate) fn join_keyring(
    steps: &mut Steps,
    handles: &mut Vec<(Field, Handle)>,
    id: &str,
    process: Option<&Process>,
    host: &Host,
) -> Result<()> {
    let label = process.map(|process| selinux(process, host)).transpose()?.flatten();
    if let Some((field, label)) = &label {
        push(steps, handles, field, LabelFile::KeyCreate, label.clone());
    }
    let name = CString::new(format!("_ses.{id}")).expect("an id has no NUL");
    steps.push("process", Step::SessionKeyring(name));
    if let Some((field, _)) = &label {
        push(steps, handles, field, LabelFile::KeyCreate, CString::default());
    }
    Ok(())
}

/// process.selinuxLabel, if there is one: its field, and what is written.
fn selinux(process: &Process, host: &Host) -> Result<Option<(String, CString)>> {
    let Some(label) = given(process.selinux_label()) else { return Ok(None) };
    let field = format!("process.selinuxLabel {label:?}");
    if !host.lsm.selinux {
        return Err(disabled().at(field));
    }
    c_string(label.as_str()).map_err(|e| e.at(&field)).map(|label| Some((field, label)))
}

fn disabled() -> Error {
    Error::new("SELinux is disabled or not supported on this machine")
}

/// Each label has a descriptor of its own, which is closed when it is written.
fn push(steps: &mut Steps, handles: &mut Vec<(Field, Handle)>, field: &str, file: LabelFile, text: CString) {
    handles.push((Field::new(field), Handle::Procfs));
    steps.push(field, Become::Label(Label { proc: HandleId(handles.len() - 1), file, text }));
}

/// linux.mountLabel.
///
/// # Errors
/// SELinux is not enabled.
pub(crate) fn mount_label(spec: &Spec, host: &Host) -> Result<Option<CString>> {
    let Some(label) = spec.linux().as_ref().and_then(|linux| given(linux.mount_label())) else {
        return Ok(None);
    };
    let field = format!("linux.mountLabel {label:?}");
    if !host.lsm.selinux {
        return Err(disabled().at(field));
    }
    c_string(label.as_str()).map(Some).map_err(|e| e.at(field))
}

/// How a new file system gets the label for its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labelling {
    /// As a mount option.
    Option,
    /// On its root directory: mqueue is mounted by the kernel when the IPC namespace is made, and takes no option later.
    Root,
    /// Not at all.
    Policy,
}

impl Labelling {
    /// Of a file system of this type.
    pub(crate) fn of(fstype: &str) -> Self {
        match fstype {
            "mqueue" => Labelling::Root,
            other if LABELLED_BY_POLICY.contains(&other) => Labelling::Policy,
            _ => Labelling::Option,
        }
    }
}
