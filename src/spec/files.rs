//! The files of the host that a config names: the root file system and the hooks (config.md, Root, POSIX-platform
//! Hooks). Looked at before anything happens; opened for use later, elsewhere, so this is for the message only and
//! never for safety.

use super::{hooks, quoted};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The root is a directory, and every hook that runs on the host's files is an executable file. startContainer
/// hooks are the container's own files and not looked at.
///
/// # Errors
/// What is missing or of another kind.
pub(crate) fn check_files(spec: &Spec, bundle: &Path) -> Result<()> {
    if let Some(root) = spec.root() {
        let path = bundle.join(root.path());
        let field = format!("root.path {}", quoted(root.path()));
        let found = stat(&path).map_err(|error| error.at(&field))?;
        if !found.is_dir() {
            return Err(Error::new(format!("{path:?} is not a directory")).at(&field));
        }
        if path.canonicalize().is_ok_and(|real| real == Path::new("/")) {
            return Err(Error::new("is the host's own root")
                .at(&field)
                .hint("a container would mount over the host's files: give it a directory"));
        }
    }
    hooks::each(spec, |name, i, hook| {
        if name == "startContainer" {
            return Ok(());
        }
        executable(hook.path())
            .map_err(|error| error.at(format_args!("hooks.{name}[{i}] {}", quoted(hook.path()))))
    })
}

fn stat(path: &Path) -> Result<Metadata> {
    std::fs::metadata(path).map_err(|error| match error.raw_os_error() {
        Some(errno) => Error::call(format!("stat({path:?})"), errno),
        None => Error::new(error.to_string()),
    })
}

fn executable(path: &Path) -> Result<()> {
    let found = stat(path)?;
    if !found.is_file() {
        return Err(Error::new("not a regular file"));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(Error::new("not executable").hint(format!("chmod +x {}", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(text).expect("a spec")
    }

    #[test]
    fn the_root_must_be_a_directory() {
        let bundle = tempfile::tempdir().expect("a temporary folder");
        let path = bundle.path().join("rootfs");
        let config = spec(r#"{"ociVersion":"1.0.0","root":{"path":"rootfs"}}"#);
        let error = check_files(&config, bundle.path()).expect_err("missing").to_string();
        assert_eq!(error, format!("root.path \"rootfs\": stat({path:?}): ENOENT: no such file or directory"));
        fs::write(&path, "").expect("written");
        let error = check_files(&config, bundle.path()).expect_err("a file").to_string();
        assert_eq!(error, format!("root.path \"rootfs\": {path:?} is not a directory"));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert_eq!(check_files(&config, bundle.path()), Ok(()));
        let absolute = spec(&format!(r#"{{"ociVersion":"1.0.0","root":{{"path":{path:?}}}}}"#));
        assert_eq!(check_files(&absolute, Path::new("/nonexistent")), Ok(()));
    }

    #[test]
    fn hooks_of_the_host_must_be_executable() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("hook");
        let at = |kind: &str| {
            spec(&format!(r#"{{"ociVersion":"1.0.0","hooks":{{{kind:?}:[{{"path":{path:?}}}]}}}}"#))
        };
        for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            let error = check_files(&at(kind), folder.path()).expect_err("missing").to_string();
            assert_eq!(
                error,
                format!("hooks.{kind}[0] {path:?}: stat({path:?}): ENOENT: no such file or directory")
            );
        }
        assert_eq!(check_files(&at("startContainer"), folder.path()), Ok(()));
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let error = check_files(&at("prestart"), folder.path()).expect_err("not executable").to_string();
        assert!(
            error.starts_with(&format!("hooks.prestart[0] {path:?}: not executable (hint: chmod +x ")),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
        assert_eq!(check_files(&at("prestart"), folder.path()), Ok(()));
    }
}
