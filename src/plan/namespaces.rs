//! linux.namespaces, the id maps, hostname and the like (config-linux.md, Namespaces to Offset for Time Namespace):
//! which of them the process is born with, which a trampoline joins, which init takes by itself.

use super::host::Host;
use super::lsm;
use super::step::{Field, Handle, IdMap, NAMESPACES, Namespace, Point, Step};
use super::{MapWriter, Maps, Plan, Request};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// How the container stands to one kind of namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Made new.
    New,
    /// Joined: the field and the path.
    Joined(Field, CString),
}

/// linux.namespaces by kind; a kind that is absent is shared with the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Namespaces(BTreeMap<Namespace, Choice>);

impl Namespaces {
    /// Reads linux.namespaces.
    pub(crate) fn of(spec: &Spec) -> Result<Self> {
        let mut all = BTreeMap::new();
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        for (i, entry) in list.into_iter().flatten().enumerate() {
            let path = entry.path().as_ref().filter(|path| !path.as_os_str().is_empty());
            let choice = match path {
                None => Choice::New,
                Some(path) => {
                    let field = Field(format!("linux.namespaces[{i}].path {path:?}"));
                    let path = CString::new(path.as_os_str().as_bytes())
                        .map_err(|_| Error::new("contains a NUL byte").at(&field))?;
                    Choice::Joined(field, path)
                }
            };
            all.insert(kind(entry.typ()), choice);
        }
        Ok(Namespaces(all))
    }

    /// Is this kind made new?
    pub(crate) fn is_new(&self, kind: Namespace) -> bool {
        self.0.get(&kind) == Some(&Choice::New)
    }

    /// The field and path if this kind is joined.
    pub(crate) fn joined(&self, kind: Namespace) -> Option<(&Field, &CString)> {
        match self.0.get(&kind)? {
            Choice::New => None,
            Choice::Joined(field, path) => Some((field, path)),
        }
    }

    /// The `CLONE_NEW…` flags of all that are new or joined.
    pub(crate) fn flags(&self) -> i32 {
        self.0.keys().fold(0, |flags, kind| flags | kind.flag())
    }

    /// New or joined: not the runtime's own (as far as the config says).
    pub(crate) fn own(&self, kind: Namespace) -> bool {
        self.0.contains_key(&kind)
    }
}

fn kind(typ: LinuxNamespaceType) -> Namespace {
    match typ {
        LinuxNamespaceType::Pid => Namespace::Pid,
        LinuxNamespaceType::Network => Namespace::Network,
        LinuxNamespaceType::Mount => Namespace::Mount,
        LinuxNamespaceType::Ipc => Namespace::Ipc,
        LinuxNamespaceType::Uts => Namespace::Uts,
        LinuxNamespaceType::User => Namespace::User,
        LinuxNamespaceType::Cgroup => Namespace::Cgroup,
        LinuxNamespaceType::Time => Namespace::Time,
    }
}

/// The flags of clone3, the trampoline's joins, the id maps, and the first steps of init.
pub(crate) fn be_born(plan: &mut Plan, spec: &Spec, host: &Host, namespaces: &Namespaces, setgroups: bool) {
    for kind in [Namespace::User, Namespace::Pid] {
        if namespaces.is_new(kind) {
            plan.birth.flags |= kind.flag();
        }
    }
    // Joined with the runtime's own privileges before the user namespace takes them away, or, if it has none, with
    // those that the user namespace gives.
    let early = namespaces.own(Namespace::User);
    let user = namespaces.joined(Namespace::User);
    if let (Some((field, path)), false) = (user, host.privileged) {
        join_at_birth(plan, field, path, Namespace::User);
    }
    for (kind, ..) in NAMESPACES {
        let Some((field, path)) = namespaces.joined(kind) else { continue };
        let by_trampoline = match kind {
            Namespace::Pid | Namespace::Time => true,
            Namespace::Network | Namespace::Ipc | Namespace::Uts | Namespace::Cgroup => early,
            Namespace::User | Namespace::Mount => false,
        };
        if by_trampoline {
            join_at_birth(plan, field, path, kind);
        }
    }
    if let (Some((field, path)), true) = (user, host.privileged) {
        join_at_birth(plan, field, path, Namespace::User);
    }
    plan.birth.undumpable = host.privileged && !host.nested;
    plan.birth.time = time_offsets(spec, namespaces);
    if plan.maps.is_some()
        || plan.cgroup.attaches_after_birth()
        || !plan.hard_limits.is_empty()
        || plan.oom_score_adj.is_some() && !plan.birth.undumpable
    {
        plan.push("linux", Step::Meet(Point::Born));
    }
    if namespaces.own(Namespace::User) {
        plan.push("linux.uidMappings", Step::BecomeRoot { setgroups });
    }
    plan.push("linux", Step::Guard);
}

/// setgroups(2) is denied with a single mapping, and perhaps in a namespace that an unprivileged user made and we join.
pub(crate) fn may_set_groups(maps: Option<&Maps>, host: &Host, namespaces: &Namespaces) -> bool {
    let single = maps.is_some_and(|maps| maps.writer == MapWriter::Single);
    let joined = namespaces.joined(Namespace::User).is_some();
    !single && (host.privileged || !joined)
}

fn join_at_birth(plan: &mut Plan, field: &Field, path: &CString, kind: Namespace) {
    let id = plan.handle(&field.0, Handle::Namespace { path: path.clone(), kind, foreign: None });
    plan.birth.joins.push((field.clone(), id, kind));
}

/// linux.timeOffsets as lines of /proc/PID/timens_offsets (time_namespaces(7)).
fn time_offsets(spec: &Spec, namespaces: &Namespaces) -> Option<Vec<String>> {
    if !namespaces.is_new(Namespace::Time) {
        return None;
    }
    let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    let sorted: BTreeMap<_, _> = offsets.into_iter().flatten().collect();
    let line = |(clock, offset): (&String, &oci_spec::runtime::LinuxTimeOffset)| {
        format!("{clock} {} {}", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
    };
    Some(sorted.into_iter().map(line).collect())
}

/// The id maps of a new user namespace, and who can write them.
pub(crate) fn maps(spec: &Spec, host: &Host, namespaces: &Namespaces) -> Result<Option<Maps>> {
    if !host.privileged && !namespaces.own(Namespace::User) {
        return Err(Error::new("a container without privileges needs a user namespace")
            .at("linux.namespaces")
            .hint("run as root, or start from `onggi spec --rootless`"));
    }
    if !namespaces.is_new(Namespace::User) {
        return Ok(None);
    }
    let linux = spec.linux().as_ref().expect("a namespace was found in linux.namespaces");
    let (uid, gid) = (id_maps(linux.uid_mappings().as_deref()), id_maps(linux.gid_mappings().as_deref()));
    let own = |maps: &[IdMap], id: u32| matches!(maps, [one] if one.size == 1 && one.host == id);
    let writer = if host.privileged {
        MapWriter::Runtime
    } else if own(&uid, host.ids.0) && own(&gid, host.ids.1) {
        MapWriter::Single
    } else {
        match (&host.newuidmap, &host.newgidmap) {
            (Some(uids), Some(gids)) => MapWriter::Helpers(uids.clone(), gids.clone()),
            _ => {
                return Err(Error::new("newuidmap and newgidmap are not installed")
                    .at("linux.uidMappings")
                    .hint("install the package uidmap, or map only your own uid and gid, size 1"));
            }
        }
    };
    Ok(Some(Maps { uid, gid, writer }))
}

/// Mappings of the config as our own type.
pub(crate) fn id_maps(list: Option<&[LinuxIdMapping]>) -> Vec<IdMap> {
    let convert =
        |m: &LinuxIdMapping| IdMap { container: m.container_id(), host: m.host_id(), size: m.size() };
    list.unwrap_or_default().iter().map(convert).collect()
}

/// What init takes by itself: session, keyring, one unshare, and what belongs to the new namespaces.
pub(crate) fn enter(
    plan: &mut Plan,
    spec: &Spec,
    host: &Host,
    request: &Request<'_>,
    namespaces: &Namespaces,
) -> Result<()> {
    plan.push("process", Step::Setsid);
    if !request.no_new_keyring {
        lsm::join_keyring(&mut plan.init, &mut plan.handles, request.id, spec.process().as_ref(), host)?;
    }
    let late = [Namespace::Network, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup, Namespace::Mount];
    for kind in late {
        let Some((field, path)) = namespaces.joined(kind) else { continue };
        if plan.birth.joins.iter().any(|join| join.2 == kind) {
            continue;
        }
        let id = plan.handle(&field.0, Handle::Namespace { path: path.clone(), kind, foreign: None });
        plan.push(&field.0, Step::Setns(id, kind));
    }
    let flags =
        late.iter().filter(|&&kind| namespaces.is_new(kind)).fold(0, |flags, kind| flags | kind.flag());
    if flags != 0 {
        plan.push("linux.namespaces", Step::Unshare(flags));
    }
    if namespaces.is_new(Namespace::Network) {
        plan.push("linux.namespaces", Step::LoopbackUp);
    }
    if let Some(name) = spec.hostname().as_ref().filter(|name| !name.is_empty()) {
        plan.push("hostname", Step::Hostname(name.clone()));
    }
    if let Some(name) = spec.domainname().as_ref().filter(|name| !name.is_empty()) {
        plan.push("domainname", Step::Domainname(name.clone()));
    }
    Ok(())
}
