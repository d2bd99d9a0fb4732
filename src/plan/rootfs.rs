//! root, linux.rootfsPropagation, maskedPaths and readonlyPaths (config.md, Root; config-linux.md): how the root is
//! attached, what is hidden in it, and how it becomes `/`.

use super::host::Host;
use super::lsm;
use super::namespaces::Namespaces;
use super::step::{Attr, Handle, Inside, Kind, Namespace, Step, Tree};
use super::{Plan, Request};
use crate::error::{Error, Result};
use nix::libc;
use oci_spec::runtime::Spec;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// MOUNT_ATTR_RDONLY, linux/mount.h.
pub(crate) const READ_ONLY: u64 = 0x1;

impl Inside {
    /// A path of config.json as a path inside the root: relative means from `/`, `.` and `..` are taken away.
    pub(crate) fn new(path: impl AsRef<Path>) -> Result<Self> {
        let mut clean: Vec<&OsStr> = Vec::new();
        for component in path.as_ref().components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => drop(clean.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let joined = clean.join(OsStr::new("/"));
        let bytes = if joined.is_empty() { b".".to_vec() } else { joined.as_bytes().to_vec() };
        CString::new(bytes).map(Inside).map_err(|_| Error::new("contains a NUL byte"))
    }

    /// As bytes, without the leading slash.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A path of the host as a C string; relative means from the bundle.
pub(crate) fn host_path(bundle: &Path, path: &Path) -> Result<CString> {
    CString::new(bundle.join(path).as_os_str().as_bytes()).map_err(|_| Error::new("contains a NUL byte"))
}

/// Propagation names (config-linux.md, Rootfs Mount Propagation) and their flags.
const PROPAGATION: [(&str, u64); 8] = [
    ("shared", libc::MS_SHARED),
    ("rshared", libc::MS_SHARED | libc::MS_REC),
    ("slave", libc::MS_SLAVE),
    ("rslave", libc::MS_SLAVE | libc::MS_REC),
    ("private", libc::MS_PRIVATE),
    ("rprivate", libc::MS_PRIVATE | libc::MS_REC),
    ("unbindable", libc::MS_UNBINDABLE),
    ("runbindable", libc::MS_UNBINDABLE | libc::MS_REC),
];

/// The name of these flags.
pub(crate) fn propagation_name(flags: u64) -> &'static str {
    PROPAGATION.iter().find(|row| row.1 == flags).map_or("?", |row| row.0)
}

fn propagation(spec: &Spec) -> Result<Option<u64>> {
    let linux = spec.linux().as_ref();
    let Some(name) = linux.and_then(|l| l.rootfs_propagation().as_ref()).filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    let row = PROPAGATION.iter().find(|row| row.0 == name);
    let wrong = || Error::new(format!("unknown propagation {name:?}")).at("linux.rootfsPropagation");
    row.map(|row| Some(row.1)).ok_or_else(wrong)
}

/// What all mounts of the new mount namespace become first: nothing flows back to the host.
fn isolation(spec: &Spec) -> Result<u64> {
    let private = propagation(spec)?.is_some_and(|flags| flags & libc::MS_PRIVATE != 0);
    Ok(libc::MS_REC | if private { libc::MS_PRIVATE } else { libc::MS_SLAVE })
}

/// What a mount cloned from the host becomes before its own propagation options are applied; nothing if the config
/// wants a shared root: then it stays the host mount's peer.
pub(crate) fn baseline(spec: &Spec) -> Result<Vec<u64>> {
    let shared = propagation(spec)?.is_some_and(|flags| flags & libc::MS_SHARED != 0);
    if shared { Ok(Vec::new()) } else { isolation(spec).map(|flags| vec![flags]) }
}

/// The root file system is cloned before birth and attached in the new mount namespace.
pub(crate) fn attach(
    plan: &mut Plan,
    spec: &Spec,
    host: &Host,
    request: &Request<'_>,
    namespaces: &Namespaces,
) -> Result<()> {
    let root = spec.root().as_ref().ok_or_else(|| Error::new("is required").at("root"))?;
    let field = format!("root.path {:?}", root.path());
    let at = host_path(request.bundle, root.path()).map_err(|e| e.at(&field))?;
    if !namespaces.own(Namespace::Mount) {
        if spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty()) {
            return Err(Error::new("mounts need a mount namespace")
                .at("linux.namespaces")
                .hint("without one they would appear on the host: add {\"type\": \"mount\"}"));
        }
        plan.push(field, Step::OpenRoot(at));
        return Ok(());
    }
    let propagation = isolation(spec)?;
    if namespaces.is_new(Namespace::Mount) {
        plan.push("linux.rootfsPropagation", Step::IsolateMounts(propagation));
    }
    let tree = tree(at.clone(), true, host);
    let tree = plan.open(&field, tree);
    plan.push(field, Step::AttachRoot { tree, at, propagation });
    Ok(())
}

/// A plain clone of a path of the host.
pub(crate) fn tree(path: CString, recursive: bool, host: &Host) -> Tree {
    Tree {
        path,
        recursive,
        follow: true,
        attr: Attr::default(),
        deep: Attr::default(),
        idmap: None,
        must_be: Kind::Any,
        late: !host.privileged,
    }
}

impl Plan {
    /// A tree to clone: before birth, or by init if the runtime may not.
    pub(crate) fn open(&mut self, field: &str, tree: Tree) -> super::HandleId {
        let late = tree.late;
        let id = self.handle(field, Handle::Tree(tree));
        if late {
            self.push(field, Step::OpenTree(id));
        }
        id
    }
}

/// Masked and read-only paths, and a read-only root.
pub(crate) fn hide(plan: &mut Plan, spec: &Spec, host: &Host) -> Result<()> {
    let linux = spec.linux().as_ref();
    let masked = linux.and_then(|linux| linux.masked_paths().as_ref()).into_iter().flatten();
    let mut null = None;
    let label = lsm::mount_label(spec, host)?;
    for (i, path) in masked.enumerate() {
        let field = format!("linux.maskedPaths[{i}] {path:?}");
        let at = Inside::new(path).map_err(|e| e.at(&field))?;
        let null = *null.get_or_insert_with(|| {
            let device =
                Tree { must_be: Kind::Character(1, 3), ..tree(c"/dev/null".to_owned(), false, host) };
            plan.open("linux.maskedPaths", device)
        });
        plan.push(field, Step::Mask { at, null, label: label.clone() });
    }
    let readonly = linux.and_then(|linux| linux.readonly_paths().as_ref()).into_iter().flatten();
    for (i, path) in readonly.enumerate() {
        let field = format!("linux.readonlyPaths[{i}] {path:?}");
        let at = Inside::new(path).map_err(|e| e.at(&field))?;
        plan.push(field, Step::ReadOnly { at, recursive: true });
    }
    if let Some(process) = spec.process() {
        let field = format!("process.cwd {:?}", process.cwd());
        let at = Inside::new(process.cwd()).map_err(|e| e.at(&field))?;
        if at.bytes() != b"." {
            plan.push(field, Step::MakeDirectory(at));
        }
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        plan.push("root.readonly", Step::RootReadonly);
    }
    Ok(())
}

/// The root becomes `/`.
pub(crate) fn enter(plan: &mut Plan, spec: &Spec, request: &Request<'_>, namespaces: &Namespaces) {
    let step = match (namespaces.own(Namespace::Mount), request.no_pivot) {
        (false, _) => Step::Chroot,
        (true, true) => Step::MoveRoot,
        (true, false) => Step::PivotRoot,
    };
    plan.push("root.path", step);
    if let (true, Ok(Some(flags))) = (namespaces.own(Namespace::Mount), propagation(spec)) {
        plan.push("linux.rootfsPropagation", Step::RootPropagation(flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_are_cleaned_and_cannot_climb() {
        for (path, clean) in [
            ("/", "."),
            ("", "."),
            ("/a//b/./c/", "a/b/c"),
            ("a/b", "a/b"),
            ("/../../etc/../x", "x"),
            ("..", "."),
        ] {
            assert_eq!(Inside::new(path).expect(path).bytes(), clean.as_bytes(), "{path}");
        }
        assert!(Inside::new("a\0b").is_err());
    }
}
