//! `update`: other limits for a container that is there. What is given is put over the resources that the state keeps,
//! planned as `create` plans them, and written all or not at all; the state is replaced last. Not of the runtime-spec,
//! but of every engine; conditions and phrases are runc's. Nothing here may leave a container between two configs.

use super::id::ContainerId;
use super::saved::Saved;
use super::state::{Facts, Status};
use super::store::Locked;
use super::{Settings, probe};
use crate::cgroup::systemd::Told;
use crate::cgroup::{Record, limit, systemd};
use crate::error::{Error, Result, phrases};
use crate::plan::cgroup::update::{self as plan, Devices, Update};
use crate::plan::resctrl::{self, Schema};
use crate::spec::Part;

/// What is to change.
#[derive(Debug, Default)]
pub(crate) struct UpdateOptions {
    /// Of linux.resources.
    pub(crate) resources: Part,
    /// `--l3-cache-schema`
    pub(crate) l3_cache_schema: Option<String>,
    /// `--mem-bw-schema`
    pub(crate) mem_bw_schema: Option<String>,
}

/// Changes the limits of a created, running or paused container.
///
/// # Errors
/// The container is in another state; or a value makes no sense, or is refused by the kernel: nothing has changed.
pub(crate) fn update(settings: &Settings, id: &str, options: &UpdateOptions) -> Result<()> {
    let act = || {
        let mut locked = Locked::open(&settings.root, &ContainerId::new(id)?)?;
        let status = { Facts::of_locked(&locked)?.status };
        if !matches!(status, Status::Created | Status::Running | Status::Paused) {
            return Err(Error::new(phrases::NOT_RUNNING).hint(format!("it is {status}")));
        }
        let saved = locked.saved()?;
        let schemata = schemata(saved, options)?;
        let update = planned(settings, saved, &options.resources)?;
        update.warnings.iter().for_each(|warning| (settings.warn)(warning));
        carry_out(&mut locked, &update, &schemata)
    };
    act().map_err(|error: Error| error.during(format!("update {id}")))
}

fn planned(settings: &Settings, saved: &Saved, part: &Part) -> Result<Update> {
    let places = saved.cgroup.as_ref().map(|cgroup| cgroup.places()).unwrap_or_default();
    let before = saved.resources.clone().unwrap_or_default();
    // Only device rules depend on it.
    let rootless = match settings.rootless {
        Some(rootless) => rootless,
        None if part.has("devices") => {
            let host = probe::host()?;
            !host.privileged || host.nested
        }
        None => false,
    };
    plan::update(&places, &before, part, rootless)
}

/// linux.intelRdt: what is to be written for the container's group.
fn schemata(saved: &Saved, options: &UpdateOptions) -> Result<Vec<Schema>> {
    let (l3, bandwidth) = (options.l3_cache_schema.as_deref(), options.mem_bw_schema.as_deref());
    let schemata = resctrl::schemata(l3, bandwidth, &[])?;
    match schemata.first() {
        Some(first) if saved.resctrl.is_none() => Err(Error::new("the container has no group of resctrl")
            .at(&first.field)
            .hint("it gets one by linux.intelRdt in its config")),
        _ => Ok(schemata),
    }
}

fn carry_out(locked: &mut Locked, update: &Update, schemata: &[Schema]) -> Result<()> {
    let record = locked.saved()?.cgroup.clone().unwrap_or_default();
    let changed = limit::change(&record, update)?;
    let rest = allocate(locked, schemata, |locked| {
        tell_systemd(&record, update)?;
        store(locked, update).map_err(|error| take_back(&record, update, error))
    });
    match rest {
        Ok(()) => changed.keep(),
        Err(error) => return Err(changed.undo(error)),
    }
    Ok(())
}

/// Changes the shares of the container's group of resctrl, which stay if the rest succeeds.
fn allocate(
    locked: &mut Locked,
    schemata: &[Schema],
    rest: impl FnOnce(&mut Locked) -> Result<()>,
) -> Result<()> {
    let group = locked.saved()?.resctrl.clone().filter(|_| !schemata.is_empty());
    let Some(group) = group else { return rest(locked) };
    let old = group.replace(schemata)?;
    rest(locked).map_err(|error| error.undone(group.restore(&old)))
}

fn store(locked: &mut Locked, update: &Update) -> Result<()> {
    let resources = Some(&update.resources).filter(|resources| **resources != Default::default());
    if locked.saved()?.resources.as_ref() == resources {
        return Ok(());
    }
    let resources = resources.cloned();
    locked.update(|saved| saved.resources = resources)
}

/// Where systemd has made the container's cgroups it has limits of its own for them, which it would put back when it is
/// reloaded. It writes what it is told at once, and rounds some of it: the files are written once more, as planned.
fn tell_systemd(record: &Record, update: &Update) -> Result<()> {
    let Some(scope) = &record.scope else { return Ok(()) };
    let tell = || {
        match systemd::change(scope, |version| plan::properties(update, version).map(|[told, _]| told))? {
            Told::Nothing => Ok(()),
            Told::All => limit::change(record, update).map(limit::Changed::keep),
            Told::Perhaps(error) => Err(error),
        }
        .map_err(|error| take_back(record, update, error))
    };
    match &update.devices {
        // It makes a device list of v1 anew, from an empty one on.
        Some(Devices::Lists { .. }) => record.while_frozen(tell),
        _ => tell(),
    }
}

/// Because of this error systemd forgets what it was told.
fn take_back(record: &Record, update: &Update, error: Error) -> Error {
    let Some(scope) = &record.scope else { return error };
    let former = |version| plan::properties(update, version).map(|[_, former]| former);
    error.undone(match systemd::change(scope, former) {
        Ok(Told::Nothing | Told::All) => Ok(()),
        Ok(Told::Perhaps(left)) | Err(left) => Err(left.during("systemd")),
    })
}
