//! linux.sysctl (config-linux.md, Sysctl): each key as the path that will be written, judged by that path and never by
//! its spelling, and only if it belongs to a namespace that the container does not share with the host. Pure.

use super::Plan;
use super::namespaces::Namespaces;
use super::step::{Field, Handle, Namespace, Step};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;
use std::collections::HashMap;
use std::ffi::CString;

/// One sysctl to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setting {
    /// Below /proc/sys: `net/ipv4/ip_forward`.
    pub(crate) path: CString,
    /// Verbatim.
    pub(crate) value: String,
    /// `linux.sysctl "net.ipv4.ip_forward"`.
    pub(crate) field: Field,
    /// The namespace that it is a property of: new, or joined and not the runtime's own.
    pub(crate) namespace: Namespace,
}

/// Which keys belong to which namespace: an exact path, or everything below one that ends with a slash.
const NAMESPACED: &[(&str, Namespace)] = &[
    // ipc/ipc_sysctl.c
    ("kernel/auto_msgmni", Namespace::Ipc),
    ("kernel/msg_next_id", Namespace::Ipc),
    ("kernel/msgmax", Namespace::Ipc),
    ("kernel/msgmnb", Namespace::Ipc),
    ("kernel/msgmni", Namespace::Ipc),
    ("kernel/sem", Namespace::Ipc),
    ("kernel/sem_next_id", Namespace::Ipc),
    ("kernel/shm_next_id", Namespace::Ipc),
    ("kernel/shm_rmid_forced", Namespace::Ipc),
    ("kernel/shmall", Namespace::Ipc),
    ("kernel/shmmax", Namespace::Ipc),
    ("kernel/shmmni", Namespace::Ipc),
    // ipc/mq_sysctl.c
    ("fs/mqueue/", Namespace::Ipc),
    // net/sysctl_net.c: what is not of the namespace is read-only or absent in it.
    ("net/", Namespace::Network),
    // kernel/utsname_sysctl.c
    ("kernel/domainname", Namespace::Uts),
    // kernel/ucount.c
    ("user/", Namespace::User),
];

/// The settings of a config, sorted by path. `own` says whether the config has a namespace of this kind; of a joined
/// one the caller still has to see that it is not the host's ([`Setting::namespace`]).
///
/// # Errors
/// A key that is no path below /proc/sys, is given twice in two spellings, is not namespaced, or belongs to a namespace
/// that the config shares with the host; a value with a NUL byte.
pub(crate) fn settings(
    sysctl: Option<&HashMap<String, String>>,
    own: impl Fn(Namespace) -> bool,
) -> Result<Vec<Setting>> {
    let mut all = Vec::new();
    for (key, value) in sysctl.into_iter().flatten() {
        let field = Field(format!("linux.sysctl {key:?}"));
        all.push(setting(key, value, &field, &own).map_err(|error| error.at(&field))?);
    }
    all.sort();
    if let Some(pair) = all.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(Error::new(format!("the same as {}", pair[0].field)).at(&pair[1].field));
    }
    Ok(all)
}

/// One step each; a joined namespace is opened, and must not be the runtime's own.
pub(crate) fn set(plan: &mut Plan, spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    let sysctl = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for Setting { path, value, field, namespace } in settings(sysctl, |kind| namespaces.own(kind))? {
        for (_, handle) in &mut plan.handles {
            match handle {
                Handle::Namespace { kind, foreign, .. } if *kind == namespace => {
                    *foreign = Some(field.clone())
                }
                _ => {}
            }
        }
        plan.push(&field.0, Step::Sysctl { path, value });
    }
    Ok(())
}

fn setting(key: &str, value: &str, field: &Field, own: impl Fn(Namespace) -> bool) -> Result<Setting> {
    let path = path(key)?;
    let namespace = namespace(&path)?;
    if !own(namespace) {
        let name = namespace.name();
        return Err(Error::new(format!("would change the host: linux.namespaces has no {name} namespace"))
            .hint(format!("add {{\"type\": {name:?}}} to linux.namespaces")));
    }
    if value.contains('\0') {
        return Err(Error::new("NUL byte in the value"));
    }
    let path = CString::new(path).map_err(|_| Error::new("NUL byte in the key"))?;
    Ok(Setting { path, value: value.to_owned(), field: field.clone(), namespace })
}

/// As sysctl(8): the first separator decides. Of `.` and `/` it is the one between the parts, the other stands for
/// itself with its place taken: `net.ipv4.conf.eth0/100.mtu` and `net/ipv4/conf/eth0.100/mtu` are the same.
fn path(key: &str) -> Result<String> {
    let path = match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'.') => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    };
    if path.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return Err(
            Error::new("not a path below /proc/sys").hint("as net.ipv4.ip_forward or net/ipv4/ip_forward")
        );
    }
    Ok(path)
}

fn namespace(path: &str) -> Result<Namespace> {
    if path == "kernel/hostname" {
        return Err(Error::new("has a field of its own").hint("use hostname"));
    }
    let fits = |name: &str| if name.ends_with('/') { path.starts_with(name) } else { path == name };
    match NAMESPACED.iter().find(|(name, _)| fits(name)) {
        Some((_, namespace)) => Ok(*namespace),
        None => Err(Error::new("not namespaced: it would change the host")
            .hint("set it on the host, where it holds for every container")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pairs: &[(&str, &str)], own: &[Namespace]) -> Result<Vec<Setting>> {
        let map = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        settings(Some(&map), |kind| own.contains(&kind))
    }

    const ALL: [Namespace; 4] = [Namespace::Ipc, Namespace::Network, Namespace::Uts, Namespace::User];

    #[test]
    fn knows_the_namespace_of_a_key() {
        let cases = [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", Namespace::Network),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward", Namespace::Network),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter", Namespace::Network),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter", Namespace::Network),
            ("kernel.msgmax", "kernel/msgmax", Namespace::Ipc),
            ("kernel.sem", "kernel/sem", Namespace::Ipc),
            ("kernel/shm_rmid_forced", "kernel/shm_rmid_forced", Namespace::Ipc),
            ("fs.mqueue.queues_max", "fs/mqueue/queues_max", Namespace::Ipc),
            ("kernel.domainname", "kernel/domainname", Namespace::Uts),
            ("user.max_user_namespaces", "user/max_user_namespaces", Namespace::User),
        ];
        for (key, path, namespace) in cases {
            let expected = Setting {
                path: CString::new(path).expect("no NUL"),
                value: " 1 2\n".to_owned(),
                field: Field(format!("linux.sysctl {key:?}")),
                namespace,
            };
            assert_eq!(plan(&[(key, " 1 2\n")], &[namespace]), Ok(vec![expected]), "{key}");
            let others: Vec<_> = ALL.into_iter().filter(|kind| *kind != namespace).collect();
            let error = plan(&[(key, "1")], &others).expect_err("refused").to_string();
            let name = namespace.name();
            assert_eq!(
                error,
                format!(
                    "linux.sysctl {key:?}: would change the host: linux.namespaces has no {name} namespace \
                     (hint: add {{\"type\": {name:?}}} to linux.namespaces)"
                )
            );
        }
    }

    #[test]
    fn refuses_what_is_not_namespaced() {
        let keys = [
            "kernel.core_pattern",
            "kernel/core_pattern",
            "vm.overcommit_memory",
            "fs.file-max",
            "kernel.msgmaxx",
            "kernel.sem.x",
            "fs.mqueue",
            "net",
            "user",
            "kernel.pid_max",
            "fs/mqueuex/a",
            "network.x",
            "Net.ipv4.x",
        ];
        for key in keys {
            let error = plan(&[(key, "1")], &ALL).expect_err(key).to_string();
            assert!(error.starts_with(&format!("linux.sysctl {key:?}: not namespaced: ")), "{error}");
        }
        let error = plan(&[("kernel.hostname", "x")], &ALL).expect_err("refused").to_string();
        assert_eq!(error, "linux.sysctl \"kernel.hostname\": has a field of its own (hint: use hostname)");
    }

    #[test]
    fn judges_the_path_and_not_the_spelling() {
        // Each of these would reach a file outside of the namespace's own if only its beginning were compared.
        let keys = [
            "net/../kernel/core_pattern",
            "net/./../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "net//x",
            "/net/ipv4/ip_forward",
            "net/ipv4/",
            "net..ipv4",
            ".net.ipv4",
            "net.ipv4.",
            "",
            "..",
            "user/..",
            "net.ipv4./.x",
            "/proc/sys/net/ipv4/ip_forward",
        ];
        for key in keys {
            let error = plan(&[(key, "1")], &ALL).expect_err(key).to_string();
            assert!(
                error.starts_with(&format!("linux.sysctl {key:?}: not a path below /proc/sys")),
                "{error}"
            );
        }
        // Slashes come first, so the dots are part of a name: a file that does not exist.
        assert!(plan(&[("net/..ipv4", "1")], &ALL).is_ok());
    }

    #[test]
    fn refuses_nul_and_two_spellings() {
        assert!(plan(&[("net.a\0b", "1")], &ALL).is_err());
        assert!(plan(&[("net.a", "1\0")], &ALL).is_err());
        let error = plan(&[("net.a", "1"), ("net/a", "1")], &ALL).expect_err("twice").to_string();
        assert_eq!(error, "linux.sysctl \"net/a\": the same as linux.sysctl \"net.a\"");
    }

    #[test]
    fn sorts_by_path() {
        let all = plan(&[("net.b", "2"), ("kernel.sem", "1"), ("net/a", "3")], &ALL).expect("valid");
        let paths: Vec<_> = all.iter().map(|setting| setting.path.to_str().expect("UTF-8")).collect();
        assert_eq!(paths, ["kernel/sem", "net/a", "net/b"]);
        assert_eq!(settings(None, |_| false), Ok(vec![]));
    }
}
