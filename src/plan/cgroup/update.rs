//! What `update` changes: the limits of a container as they were planned, and as they are planned with what was given
//! put over them. Pure. Whatever makes no sense is refused here, before anything is written.

use super::systemd::{self, Property};
use super::{CgroupPlan, Filter, Place, Write, limits};
use crate::error::Result;
use crate::spec::Part;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Update {
    /// The places with a limit that was given or is another than before, with these alone, in the order of writing.
    pub(crate) places: Vec<Place>,
    /// The device rules, if they change.
    pub(crate) devices: Option<Devices>,
    /// All limits as they were and as they are to be, for systemd, which knows some only together.
    plans: [Vec<Place>; 2],
    /// The device rules as they were.
    former_rules: Vec<LinuxDeviceCgroup>,
    /// All resources as they are afterwards.
    pub(crate) resources: LinuxResources,
    /// What is odd but allowed.
    pub(crate) warnings: Vec<String>,
}

/// Device rules that change.
#[derive(Debug)]
pub(crate) enum Devices {
    /// cgroup v1: the writes that make a list, whatever it had before.
    Lists {
        /// Whose list; without writes.
        place: Place,
        /// As they were planned last.
        before: Vec<Write>,
        /// As they are to be.
        after: Vec<Write>,
    },
    /// cgroup v2; none: all devices are allowed.
    Filter(Place, Option<Filter>),
}

/// Plans an update. `places`: the container's cgroups, without writes.
///
/// # Errors
/// As [`super::plan`]: the first field that cannot be honoured.
pub(crate) fn update(
    places: &[Place],
    before: &LinuxResources,
    part: &Part,
    rootless: bool,
) -> Result<Update> {
    let after = part.over(before)?;
    let (old, _) = limited(places, before)?;
    let (mut new, mut warnings) = limited(places, &after)?;
    let plans = [old.clone(), new.clone()];
    for (old, new) in old.iter().zip(&mut new) {
        new.writes.retain(|write| {
            let same = |old: &Write| (&old.file, &old.value) == (&write.file, &write.value);
            part.gave(&write.field.0, &after) || !old.writes.iter().any(same)
        });
    }
    new.retain(|place| !place.writes.is_empty());
    warnings.retain(|warning| part.gave(warning.split(": ").next().unwrap_or_default(), &after));
    let changed = part.has("devices") && rules(before) != rules(&after);
    let devices = if changed { devices(places, [before, &after], rootless)? } else { None };
    let former_rules = rules(before).to_vec();
    Ok(Update { places: new, devices, plans, former_rules, resources: after, warnings })
}

/// What systemd of this version must be told of an update to a scope, so that it does not put the old values back; and
/// what takes that back.
///
/// # Errors
/// Device rules that v1 cannot express.
pub(crate) fn properties(update: &Update, systemd: u32) -> Result<[Vec<Property>; 2]> {
    let [old, mut new] = update.plans.each_ref().map(|places| -> Vec<Property> {
        let all = places.iter().map(|place| systemd::properties(&place.writes, place.version(), systemd));
        all.flatten().collect()
    });
    let writes = || update.places.iter().flat_map(|place| &place.writes);
    let former = |new: &Property| old.iter().find(|old| old.name == new.name);
    let given = |new: &Property| writes().any(|write| write.field == new.field);
    new.retain(|new| given(new) || former(new).is_none_or(|old| old.value != new.value));
    let mut back: Vec<Property> =
        new.iter().map(|new| former(new).cloned().unwrap_or_else(|| new.unset())).collect();
    if let Some(Devices::Lists { .. }) = &update.devices {
        new.extend(systemd::device_list(rules(&update.resources))?);
        back.extend(systemd::device_list(&update.former_rules)?);
    }
    Ok([new, back])
}

/// The places with all limits of these resources but the devices, and what is odd about them.
fn limited(places: &[Place], resources: &LinuxResources) -> Result<(Vec<Place>, Vec<String>)> {
    let (mut places, disabled) = (places.to_vec(), places.is_empty());
    let warnings = limits::set(resources, &mut places, disabled)?;
    Ok((places, warnings))
}

fn rules(resources: &LinuxResources) -> &[LinuxDeviceCgroup] {
    resources.devices().as_deref().unwrap_or_default()
}

fn devices(places: &[Place], resources: [&LinuxResources; 2], rootless: bool) -> Result<Option<Devices>> {
    let planned = |resources| {
        let mut plan = CgroupPlan { places: places.to_vec(), ..CgroupPlan::default() };
        plan.limit_devices(rules(resources), places.is_empty(), rootless).map(|()| plan)
    };
    let [mut old, mut new] = [planned(resources[0])?, planned(resources[1])?];
    let Some(at) = super::home(places, "devices") else { return Ok(None) };
    let place = places[at].clone();
    if !place.controllers.is_empty() {
        let [before, after] = [&mut old, &mut new].map(|plan| std::mem::take(&mut plan.places[at].writes));
        // Rootless, v1 lists are left alone.
        return Ok((!after.is_empty()).then_some(Devices::Lists { place, before, after }));
    }
    Ok(Some(Devices::Filter(place, new.filter)))
}

#[cfg(test)]
mod tests {
    use super::super::path::CgroupPath;
    use super::*;
    use serde_json::{Value, json};

    fn places(controllers: &[&str]) -> Vec<Place> {
        let place = |controllers: &&str| Place {
            mount: format!("/cg/{controllers}"),
            controllers: (*controllers).to_owned(),
            path: CgroupPath::new("/web1").unwrap(),
            optional: false,
            writes: Vec::new(),
        };
        controllers.iter().map(place).collect()
    }

    fn updated(controllers: &[&str], before: Value, given: Value) -> Result<Update> {
        let before = serde_json::from_value(before).unwrap();
        update(&places(controllers), &before, &Part::new(given)?, false)
    }

    fn writes(controllers: &[&str], before: Value, given: Value) -> String {
        let update = updated(controllers, before, given).unwrap();
        let text = |write: &Write| format!("{}={}", write.file, write.value);
        let all: Vec<String> = update.places.iter().flat_map(|place| &place.writes).map(text).collect();
        all.join(" ")
    }

    #[test]
    fn only_what_is_given_or_changes_is_written() {
        let before = json!({"memory": {"limit": 100, "swap": 300}, "cpu": {"quota": 5000, "period": 50000},
            "pids": {"limit": 7}});
        for (given, expected) in [
            (json!({}), ""),
            (json!({"pids": {"limit": 7}}), "pids.max=7"),
            (json!({"cpu": {"quota": -1}}), "cpu.max=max 50000"),
            (json!({"cpu": {"period": 10000}}), "cpu.max=5000 10000"),
            (json!({"memory": {"limit": 200}}), "memory.max=200 memory.swap.max=100"),
            (json!({"memory": {"limit": 100}}), "memory.max=100"),
            (json!({"memory": {"swap": -1}}), "memory.swap.max=max"),
            (json!({"memory": {"limit": -1}}), "memory.max=max"),
        ] {
            let given = if given["memory"]["limit"] == -1 {
                json!({"memory": {"limit": -1, "swap": -1}})
            } else {
                given
            };
            let expected =
                if expected == "memory.max=max" { "memory.max=max memory.swap.max=max" } else { expected };
            assert_eq!(writes(&[""], before.clone(), given.clone()), expected, "{given}");
        }
        let v1 = ["cpu", "memory", "pids"];
        assert_eq!(writes(&v1, before.clone(), json!({"cpu": {"quota": 6000}})), "cpu.cfs_quota_us=6000");
        assert_eq!(writes(&v1, before, json!({"memory": {"limit": 200}})), "memory.limit_in_bytes=200");
    }

    #[test]
    fn systemd_is_told_what_changes() {
        let before = json!({"cpu": {"quota": 5000, "period": 50000}});
        for (controllers, given, expected) in [
            (&[""][..], json!({}), ["", ""]),
            (&[""], json!({"pids": {"limit": 9}}), ["TasksMax=9", "TasksMax=infinity"]),
            (&[""], json!({"memory": {"reservation": 4096}}), ["MemoryLow=4096", "MemoryLow=0"]),
            (
                &["cpu"],
                json!({"cpu": {"quota": 10000}}),
                ["CPUQuotaPerSecUSec=200000", "CPUQuotaPerSecUSec=100000"],
            ),
            (
                &["cpu"],
                json!({"cpu": {"period": 25000}}),
                ["CPUQuotaPerSecUSec=200000", "CPUQuotaPerSecUSec=100000"],
            ),
        ] {
            let update = updated(controllers, before.clone(), given.clone()).unwrap();
            let text = |list: &Vec<Property>| -> String {
                let kept = list.iter().filter(|property| property.name != "CPUQuotaPeriodUSec");
                kept.map(|property| format!("{}={}", property.name, property.value)).collect()
            };
            assert_eq!(properties(&update, 257).unwrap().each_ref().map(text), expected, "{given}");
        }
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        let before = json!({"memory": {"limit": 100, "swap": 300}});
        let refusal = |given| updated(&[""], before.clone(), given).unwrap_err().to_string();
        assert!(refusal(json!({"memory": {"limit": 400}})).starts_with("linux.resources.memory.swap"));
        assert!(refusal(json!({"cpu": {"quota": -5}})).starts_with("linux.resources.cpu.quota"));
        let error = updated(&[], json!({}), json!({"pids": {"limit": 7}})).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.pids.limit"), "{error}");
    }

    #[test]
    fn device_rules_are_touched_only_when_they_change() {
        let rule = |minor: u32| json!([{"allow": false}, {"allow": true, "type": "c", "major": 10, "minor": minor, "access": "rwm"}]);
        let before = json!({"devices": rule(1)});
        for controllers in [&["devices"][..], &[""]] {
            let changed = |given| updated(controllers, before.clone(), given).unwrap().devices;
            assert!(changed(json!({})).is_none() && changed(json!({"devices": rule(1)})).is_none());
            let devices = changed(json!({"devices": rule(2)}));
            match devices.unwrap() {
                Devices::Lists { before, after, .. } => {
                    assert!(before.iter().any(|write| write.value == "c 10:1 rwm"));
                    assert!(after.iter().any(|write| write.value == "c 10:2 rwm"));
                }
                Devices::Filter(_, filter) => {
                    assert!(filter.unwrap().rules.to_string().contains("c 10:2 rwm"))
                }
            }
            let open = changed(json!({"devices": [{"allow": true}]})).unwrap();
            assert!(
                matches!(open, Devices::Lists { after, .. } if after[0].value == "a")
                    || matches!(
                        changed(json!({"devices": [{"allow": true}]})),
                        Some(Devices::Filter(_, None))
                    )
            );
        }
    }
}
