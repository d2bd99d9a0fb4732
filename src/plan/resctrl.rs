//! linux.intelRdt as a plan (config-linux.md, IntelRdt): which group of the resctrl file system the container's process
//! joins, what is written into the group's `schemata`, whether it is monitored. Pure: whether the group exists is seen
//! when the plan is carried out, and [`Origin`] says what then is right.
//!
//! Older than 1.3.0: lines of `l3CacheSchema` that begin with `MB:` give way to `memBwSchema`.

use super::step::Field;
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxIntelRdt, Spec};
use std::collections::BTreeMap;
use std::fmt;

/// NAME_MAX
const LONGEST_NAME: usize = 255;

/// The directories at the top of resctrl that are no groups (arch/x86/resctrl.rst).
const NO_GROUPS: [&str; 3] = ["info", "mon_data", "mon_groups"];

/// closID of the default group, which is the top of resctrl itself.
const DEFAULT: &str = "/";

/// One directory's name: not empty, `.` or `..`, no slash, NUL or newline in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    /// Checks a name.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let wrong = |what: &str| Err(Error::new(format!("{name:?} {what}")));
        match name {
            "" | "." | ".." => wrong("is no name of a directory"),
            _ if name.contains(['/', '\0', '\n']) => wrong("has a slash, NUL or newline in it"),
            _ if name.len() > LONGEST_NAME => {
                Err(Error::new(format!("a name longer than {LONGEST_NAME} bytes")))
            }
            _ => Ok(Name(name.to_owned())),
        }
    }

    /// A name that a group directly below the top may have.
    fn of_group(name: &str) -> Result<Self> {
        if NO_GROUPS.contains(&name) {
            return Err(Error::new(format!("{name:?} is a directory of resctrl's own, not a group")));
        }
        Name::new(name)
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Name::new(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// What is done in resctrl for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResctrlPlan {
    /// Where resctrl is mounted, absolute.
    pub(crate) mount: String,
    /// The group; none is the default one, the top itself.
    pub(crate) group: Option<Name>,
    /// Who makes the group, and whether it ends with the container.
    pub(crate) origin: Origin,
    /// Written into the group's `schemata` in this order, one write(2) each.
    pub(crate) schemata: Vec<Schema>,
    /// A monitoring group of this name inside the group, made for the container and removed with it.
    pub(crate) monitor: Option<Name>,
}

/// Where a group comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// No closID: it has the container's name, is made and removed with the container. One that is there already,
    /// without a process in it, is used and stays.
    Own,
    /// closID with schemata: made if it is missing; if not, it must have the values of [`Schema::compared`]. It stays.
    Shared,
    /// closID alone, or the default group: it must be there. It stays.
    There,
}

/// What one property of linux.intelRdt wants in `schemata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema {
    /// The property.
    pub(crate) field: Field,
    /// `L3:0=ff;1=f` and the like; several lines are parted by newlines, and the last has none.
    pub(crate) text: String,
    /// A group that exists must have these values already: others live by them.
    pub(crate) compared: bool,
}

impl Schema {
    /// The first of its lines that a group's `schemata` has otherwise. Masks are compared as numbers, memory bandwidth
    /// as the kernel rounds it, up to a multiple of `granularity` (info/MB/bandwidth_gran); what is not named may be
    /// anything.
    pub(crate) fn unlike(&self, schemata: &str, granularity: u64) -> Option<&str> {
        let there: BTreeMap<_, _> = schemata.lines().filter_map(domains).collect();
        self.text.lines().find(|line| {
            let Some((resource, wanted)) = domains(line) else { return true };
            let same = |(id, value): (&str, &str)| {
                let has = there.get(resource).and_then(|domains| domains.get(id));
                has.is_some_and(|has| equal(value, has) || rounds_to(resource, value, has, granularity))
            };
            !wanted.into_iter().all(same)
        })
    }
}

/// `L3:0=ff;1=f` as its resource, and the values by cache id.
fn domains(line: &str) -> Option<(&str, BTreeMap<&str, &str>)> {
    let (resource, values) = line.split_once(':')?;
    let values = values.split(';').map(|value| {
        let (id, value) = value.split_once('=')?;
        Some((plain(id), value.trim()))
    });
    Some((resource.trim(), values.collect::<Option<_>>()?))
}

/// A number without leading zeros.
fn plain(number: &str) -> &str {
    let digits = number.trim().trim_start_matches('0');
    if digits.is_empty() { "0" } else { digits }
}

/// Masks are hexadecimal, in small letters or capitals.
fn equal(one: &str, other: &str) -> bool {
    plain(one).eq_ignore_ascii_case(plain(other))
}

fn rounds_to(resource: &str, value: &str, has: &str, granularity: u64) -> bool {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (resource, number(value), number(has)) {
        ("MB", Some(value), Some(has)) => {
            granularity > 0 && value.checked_next_multiple_of(granularity) == Some(has)
        }
        _ => false,
    }
}

/// Plans linux.intelRdt, if it is set; without it resctrl is not touched. `mount`: where resctrl is mounted, if it is.
///
/// # Errors
/// A name that cannot name a group, a schema that cannot be written, no mounted resctrl.
pub(crate) fn plan(spec: &Spec, id: &str, mount: Option<&str>) -> Result<Option<ResctrlPlan>> {
    let rdt = spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref());
    rdt.map(|rdt| planned(rdt, id, mount)).transpose()
}

fn planned(rdt: &LinuxIntelRdt, id: &str, mount: Option<&str>) -> Result<ResctrlPlan> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let schemata = schemata(
        given(rdt.l3_cache_schema()).as_deref(),
        given(rdt.mem_bw_schema()).as_deref(),
        rdt.schemata().as_deref().unwrap_or_default(),
    )?;
    let own = |name: Result<Name>| name.map_err(|e| e.at("linux.intelRdt").hint("it is the container's id"));
    let (group, origin) = match given(rdt.clos_id()).as_deref() {
        None => {
            let name =
                Name::of_group(id).map_err(|e| e.hint("the container's id names the group: give a closID"));
            (Some(own(name)?), Origin::Own)
        }
        Some(DEFAULT) => (None, Origin::There),
        Some(name) => {
            let name = Name::of_group(name).map_err(|e| e.at("linux.intelRdt.closID"))?;
            (Some(name), if schemata.is_empty() { Origin::There } else { Origin::Shared })
        }
    };
    let monitor = (*rdt.enable_monitoring() == Some(true)).then(|| own(Name::new(id))).transpose()?;
    let Some(mount) = mount else {
        return Err(Error::new("no resctrl file system is mounted")
            .at("linux.intelRdt")
            .hint("mount -t resctrl resctrl /sys/fs/resctrl, if the processor has Intel RDT or AMD QoS"));
    };
    Ok(ResctrlPlan { mount: mount.to_owned(), group, origin, schemata, monitor })
}

/// What is to be written into `schemata`, in order.
///
/// # Errors
/// A line that the kernel could not tell from two, or would take for another resource's.
pub(crate) fn schemata(
    l3_cache: Option<&str>,
    mem_bw: Option<&str>,
    lines: &[String],
) -> Result<Vec<Schema>> {
    let mut schemata = Vec::new();
    let mut push = |field: &str, text: String, compared| {
        let field = Field::new(format!("linux.intelRdt.{field}"));
        schemata.push(Schema { field, text, compared });
    };
    if let Some(l3) = l3_cache {
        let gives_way = |line: &str| mem_bw.is_some() && line.starts_with("MB:");
        let lines = l3.lines().map(str::trim).filter(|line| !line.is_empty() && !gives_way(line));
        let lines: Vec<&str> = lines.collect();
        lines.iter().try_for_each(|line| one_line(line)).map_err(|e| e.at("linux.intelRdt.l3CacheSchema"))?;
        if !lines.is_empty() {
            push("l3CacheSchema", lines.join("\n"), true);
        }
    }
    if let Some(schema) = mem_bw {
        one_line(schema).map_err(|e| e.at("linux.intelRdt.memBwSchema"))?;
        if !schema.starts_with("MB:") {
            let reason = format!("{schema:?} does not begin with \"MB:\"");
            return Err(Error::new(reason).at("linux.intelRdt.memBwSchema"));
        }
        push("memBwSchema", schema.to_owned(), true);
    }
    for (at, line) in lines.iter().enumerate() {
        one_line(line).map_err(|e| e.at(format!("linux.intelRdt.schemata[{at}]")))?;
    }
    if !lines.is_empty() {
        push("schemata", lines.join("\n"), false);
    }
    Ok(schemata)
}

fn one_line(line: &str) -> Result<()> {
    match line {
        _ if line.contains(['\n', '\0']) => Err(Error::new(format!("{line:?} has a newline or NUL in it"))),
        _ if !line.contains(':') => {
            Err(Error::new(format!("{line:?} is not of the form RESOURCE:ID=VALUE;…")))
        }
        _ => Ok(()),
    }
}

impl ResctrlPlan {
    /// The group as a path of the host, for people.
    pub(crate) fn directory(&self) -> String {
        match &self.group {
            Some(name) => format!("{}/{}", self.mount.trim_end_matches('/'), name.as_str()),
            None => self.mount.clone(),
        }
    }
}

impl fmt::Display for ResctrlPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Own => "the container's own",
            Origin::Shared => "made if missing",
            Origin::There => "must be there",
        };
        writeln!(f, "linux.intelRdt: resctrl {:?} ({origin})", self.directory())?;
        for Schema { field, text, compared } in &self.schemata {
            let same =
                if *compared && self.origin != Origin::Own { ", as it must be where it exists" } else { "" };
            writeln!(f, "{field}: schemata = {text:?}{same}")?;
        }
        match &self.monitor {
            Some(name) => writeln!(f, "linux.intelRdt.enableMonitoring: mon_groups/{}", name.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn on(mount: Option<&str>, rdt: Value, id: &str) -> Result<ResctrlPlan> {
        super::planned(&serde_json::from_value(rdt).unwrap(), id, mount)
    }

    fn planned(rdt: Value, id: &str) -> Result<ResctrlPlan> {
        on(Some("/sys/fs/resctrl"), rdt, id)
    }

    #[test]
    fn who_makes_the_group() {
        let l3 = "L3:0=f";
        for (rdt, text) in [
            (json!({}), r#"linux.intelRdt: resctrl "/sys/fs/resctrl/web1" (the container's own)"#),
            (
                json!({"closID": ""}),
                r#"linux.intelRdt: resctrl "/sys/fs/resctrl/web1" (the container's own)"#,
            ),
            (json!({"closID": "gold"}), r#"linux.intelRdt: resctrl "/sys/fs/resctrl/gold" (must be there)"#),
            (json!({"closID": "/"}), r#"linux.intelRdt: resctrl "/sys/fs/resctrl" (must be there)"#),
            (
                json!({"closID": "gold", "schemata": [l3]}),
                r#"linux.intelRdt: resctrl "/sys/fs/resctrl/gold" (made if missing)"#,
            ),
            (
                json!({"closID": "/", "l3CacheSchema": l3}),
                r#"linux.intelRdt: resctrl "/sys/fs/resctrl" (must be there)"#,
            ),
        ] {
            assert_eq!(planned(rdt, "web1").unwrap().to_string().lines().next().unwrap(), text);
        }
    }

    #[test]
    fn schemata_are_written_in_the_order_of_the_spec() {
        let text = |rdt: Value| {
            let written = planned(rdt, "web1").unwrap().schemata;
            written.iter().map(|s| format!("{}={}", s.field, s.text)).collect::<Vec<_>>().join(" ")
        };
        for (rdt, written) in [
            (json!({}), ""),
            (json!({"l3CacheSchema": "", "memBwSchema": "", "schemata": []}), ""),
            (json!({"memBwSchema": "MB:0=20"}), "linux.intelRdt.memBwSchema=MB:0=20"),
            (
                json!({"schemata": ["L3:0=7f0;1=1f", "L2:0=f"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f"}),
                "linux.intelRdt.l3CacheSchema=L3:0=f linux.intelRdt.memBwSchema=MB:0=20 \
                 linux.intelRdt.schemata=L3:0=7f0;1=1f\nL2:0=f",
            ),
            (
                json!({"l3CacheSchema": "L3CODE:0=f\nL3DATA:0=ff\n"}),
                "linux.intelRdt.l3CacheSchema=L3CODE:0=f\nL3DATA:0=ff",
            ),
            (
                json!({"l3CacheSchema": "MB:0=10\nL3:0=f", "memBwSchema": "MB:0=20"}),
                "linux.intelRdt.l3CacheSchema=L3:0=f linux.intelRdt.memBwSchema=MB:0=20",
            ),
            (json!({"l3CacheSchema": "MB:0=10"}), "linux.intelRdt.l3CacheSchema=MB:0=10"),
        ] {
            assert_eq!(text(rdt), written);
        }
    }

    #[test]
    fn tricks_and_nonsense_are_refused() {
        let field = |name: &str| format!("linux.intelRdt.{name}: ");
        let long = "x".repeat(256);
        for name in
            ["..", ".", "../x", "a/b", "/etc", "//", "a\0b", "a\nb", "info", "mon_groups", "mon_data", &long]
        {
            let error = planned(json!({"closID": name}), "web1").unwrap_err().to_string();
            assert!(error.starts_with(&field("closID")), "{error}");
        }
        for (rdt, start) in [
            (json!({"memBwSchema": "L3:0=f"}), field("memBwSchema")),
            (json!({"memBwSchema": "MB:0=1\nMB:1=2"}), field("memBwSchema")),
            (json!({"l3CacheSchema": "f"}), field("l3CacheSchema")),
            (json!({"l3CacheSchema": "L3:0=\0"}), field("l3CacheSchema")),
            (json!({"schemata": ["L3:0=f", "L2:0=f\nMB:0=10"]}), field("schemata[1]")),
            (json!({"schemata": [""]}), field("schemata[0]")),
        ] {
            let error = planned(rdt, "web1").unwrap_err().to_string();
            assert!(error.starts_with(&start), "{error}");
        }
        for (rdt, id) in [(json!({}), "info"), (json!({"enableMonitoring": true, "closID": "x"}), &*long)] {
            let error = planned(rdt, id).unwrap_err().to_string();
            assert!(error.starts_with("linux.intelRdt: ") && error.contains("the container's id"), "{error}");
        }
        assert!(planned(json!({"closID": "x", "enableMonitoring": true}), "info").is_ok());
        let error = on(None, json!({}), "web1").unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt: no resctrl file system is mounted"), "{error}");
        assert!(serde_json::from_str::<Name>("\"a/b\"").is_err());
        assert_eq!(serde_json::from_str::<Name>("\"a\"").unwrap().as_str(), "a");
    }

    #[test]
    fn schemata_are_compared_as_numbers() {
        let there = "    MB:0=100;1= 30\n    L3:0=00ff;1=7ff\nL3CODE:0=f\n";
        for (text, unlike) in [
            ("L3:0=ff;1=7ff", None),
            ("L3:1=07FF", None),
            (" L3 : 00=ff ", None),
            ("L3:0=f", Some("L3:0=f")),
            ("L3:2=ff", Some("L3:2=ff")),
            ("L2:0=ff", Some("L2:0=ff")),
            ("L3:0=ff\nMB:0=90", Some("MB:0=90")),
            ("MB:0=100;1=30", None),
            ("MB:1=25", None),
            ("MB:1=31", Some("MB:1=31")),
            ("L3:1=7f9", Some("L3:1=7f9")),
            ("L3:nonsense", Some("L3:nonsense")),
        ] {
            let schema = Schema { field: Field::new("x"), text: text.into(), compared: true };
            assert_eq!(schema.unlike(there, 10), unlike, "{text}");
        }
    }
}
