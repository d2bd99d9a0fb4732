//! linux.resources.devices: ordered rules, of which the last that matches a device counts, bit by bit of its access
//! (config-linux.md, Allowed Device list). Pure: rules become a cgroup v1 list here and a program for v2 in
//! [`super::program`]; both must let through exactly the same, and a list that v1 cannot express is refused.

use super::{Absent, Write};
use crate::error::{Error, Result};
use crate::plan::step::Field;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use std::fmt;

/// Access bits as the kernel numbers them (BPF_DEVCG_ACC_…).
pub(crate) const MKNOD: u8 = 1;
/// open(2) for reading.
pub(crate) const READ: u8 = 2;
/// open(2) for writing.
pub(crate) const WRITE: u8 = 4;
/// All of them.
pub(crate) const ALL: u8 = MKNOD | READ | WRITE;

/// The field of every rule that config.json does not name.
const FIELD: &str = "linux.resources.devices";

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A block device.
    Block,
    /// A character device.
    Char,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Allow or deny.
    pub(crate) allow: bool,
    /// Which kind.
    pub(crate) kind: Kind,
    /// None: any.
    pub(crate) major: Option<u32>,
    /// None: any.
    pub(crate) minor: Option<u32>,
    /// Access bits.
    pub(crate) access: u8,
}

const fn always(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { allow: true, kind, major, minor, access }
}

/// What every container may do, whatever its config says: the devices of the spec, terminals, and making (not
/// opening) any node. The list is the one of runc and crun, because images and engines rely on it.
const DEFAULTS: [Rule; 12] = [
    always(Kind::Block, None, None, MKNOD),
    always(Kind::Char, None, None, MKNOD),
    always(Kind::Char, Some(10), Some(200), ALL), // /dev/net/tun
    always(Kind::Char, Some(136), None, ALL),     // /dev/pts/*
    always(Kind::Char, Some(5), Some(2), ALL),    // /dev/ptmx
    always(Kind::Char, Some(5), Some(1), ALL),    // /dev/console
    always(Kind::Char, Some(5), Some(0), ALL),    // /dev/tty
    always(Kind::Char, Some(1), Some(9), ALL),    // /dev/urandom
    always(Kind::Char, Some(1), Some(8), ALL),    // /dev/random
    always(Kind::Char, Some(1), Some(7), ALL),    // /dev/full
    always(Kind::Char, Some(1), Some(5), ALL),    // /dev/zero
    always(Kind::Char, Some(1), Some(3), ALL),    // /dev/null
];

/// All rules of a container: what holds for a device that no rule names, and the rules, the last of which wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Devices that no rule matches are allowed.
    pub(crate) others: bool,
    /// In order, the defaults last.
    pub(crate) rules: Vec<(Field, Rule)>,
}

impl Rules {
    /// Reads the rules of config.json. Without any, devices are denied but for the defaults.
    ///
    /// # Errors
    /// A rule that names no kind of device, no device number, or no access.
    pub(crate) fn parse(config: &[LinuxDeviceCgroup]) -> Result<Self> {
        let mut all = Rules { others: false, rules: Vec::new() };
        for (index, rule) in config.iter().enumerate() {
            let field = format!("{FIELD}[{index}]");
            all.add(rule, &Field::new(&field)).map_err(|error| error.at(field))?;
        }
        all.rules.extend(DEFAULTS.map(|rule| (Field::new(FIELD), rule)));
        Ok(all)
    }

    fn add(&mut self, rule: &LinuxDeviceCgroup, field: &Field) -> Result<()> {
        let kinds: &[Kind] = match rule.typ() {
            None | Some(LinuxDeviceType::A) => &[Kind::Block, Kind::Char],
            Some(LinuxDeviceType::B) => &[Kind::Block],
            Some(LinuxDeviceType::C) => &[Kind::Char],
            Some(other) => return Err(Error::new(format!("type {:?} is none of a, b, c", other.as_str()))),
        };
        let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
        let any = kinds.len() == 2;
        let access = match rule.access().as_deref().unwrap_or("") {
            "" if any => ALL,
            "" => return Err(Error::new("access is empty: give some of r, w, m")),
            letters => access(letters)?,
        };
        if any && major.is_none() && minor.is_none() && access == ALL {
            *self = Rules { others: rule.allow(), rules: Vec::new() };
        } else {
            let rule = |kind: &Kind| Rule { allow: rule.allow(), kind: *kind, major, minor, access };
            self.rules.extend(kinds.iter().map(|kind| (field.clone(), rule(kind))));
        }
        Ok(())
    }

    /// The writes to devices.deny and devices.allow that leave a cgroup v1 with these rules, whatever it had before.
    ///
    /// # Errors
    /// A rule that takes a part out of an earlier one: v1 knows only exceptions from allow-all or deny-all.
    pub(crate) fn v1(&self) -> Result<Vec<Write>> {
        let write = |field: &Field, allow: bool, value: String| {
            let file = if allow { "devices.allow" } else { "devices.deny" };
            Write {
                field: field.clone(),
                controller: "devices".into(),
                file: file.into(),
                value,
                absent: Absent::Error,
                floor: None,
            }
        };
        let first = write(&Field::new(FIELD), self.others, "a".to_owned());
        let exceptions = self.exceptions()?;
        let rest = exceptions.iter().map(|(field, rule)| write(field, rule.allow, rule.device()));
        Ok(std::iter::once(first).chain(rest).collect())
    }

    /// The exceptions from allow-all or deny-all, which may stand in any order.
    pub(crate) fn exceptions(&self) -> Result<Vec<(Field, Rule)>> {
        let mut exceptions: Vec<(Field, Rule)> = Vec::new();
        for (field, rule) in &self.rules {
            if rule.allow != self.others {
                except(&mut exceptions, field, *rule);
                continue;
            }
            for (_, exception) in &mut exceptions {
                if rule.covers(exception) {
                    exception.access &= !rule.access;
                } else if rule.meets(exception) {
                    let reason = format!("cgroup v1 cannot except {rule} from {exception}");
                    return Err(Error::new(reason).at(field));
                }
            }
            exceptions.retain(|(_, exception)| exception.access != 0);
        }
        Ok(exceptions)
    }
}

impl Rule {
    /// Every device of `other` is one of this rule.
    fn covers(&self, other: &Rule) -> bool {
        let wider = |mine: Option<u32>, its: Option<u32>| mine.is_none() || mine == its;
        self.kind == other.kind && wider(self.major, other.major) && wider(self.minor, other.minor)
    }

    /// Some access to some device is in both.
    fn meets(&self, other: &Rule) -> bool {
        let common = |mine: Option<u32>, its: Option<u32>| mine.is_none() || its.is_none() || mine == its;
        self.kind == other.kind
            && common(self.major, other.major)
            && common(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// `c 1:3 rwm`, as v1 reads it.
    fn device(&self) -> String {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let access: String =
            letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, c)| c).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// One more exception. The kernel wants one exception to cover all of an open for reading and writing, so that each
/// takes these two over from those that cover its devices.
fn except(exceptions: &mut Vec<(Field, Rule)>, field: &Field, mut rule: Rule) {
    for (_, other) in exceptions.iter_mut() {
        if other.covers(&rule) {
            rule.access |= other.access & (READ | WRITE);
        } else if rule.covers(other) {
            other.access |= rule.access & (READ | WRITE);
        }
    }
    exceptions.push((field.clone(), rule));
}

/// A device number; -1 is any, as engines write it.
fn number(what: &str, number: Option<i64>) -> Result<Option<u32>> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => {
            let parsed =
                u32::try_from(number).map_err(|_| Error::new(format!("{what} {number} is no device number")));
            parsed.map(Some)
        }
    }
}

fn access(letters: &str) -> Result<u8> {
    letters.chars().try_fold(0, |bits, letter| match letter {
        'r' => Ok(bits | READ),
        'w' => Ok(bits | WRITE),
        'm' => Ok(bits | MKNOD),
        _ => Err(Error::new(format!("access {letters:?} has other letters than r, w, m"))),
    })
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.allow { "allow" } else { "deny" }, self.device())
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.others { "allow all" } else { "deny all" })?;
        self.rules.iter().try_for_each(|(_, rule)| write!(f, ", {rule}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(rules: Value) -> Result<Rules> {
        Rules::parse(&serde_json::from_value::<Vec<LinuxDeviceCgroup>>(rules).unwrap())
    }

    /// The writes but for those of the defaults, which stand at the end of an allow list.
    fn v1(rules: Value) -> Result<Vec<String>> {
        let writes = parse(rules)?.v1()?;
        let text = |w: &Write| format!("{} {}", w.file.trim_start_matches("devices."), w.value);
        let own = |w: &&Write| w.value == "a" || w.field.0 != FIELD;
        Ok(writes.iter().filter(own).map(text).collect())
    }

    #[test]
    fn v1_lists() {
        for (rules, expected) in [
            (json!([]), vec!["deny a"]),
            (json!([{"allow": false, "access": "rwm"}]), vec!["deny a"]),
            (json!([{"allow": false}]), vec!["deny a"]),
            (json!([{"allow": true, "type": "a", "access": "rwm"}]), vec!["allow a"]),
            (
                json!([{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}, {"allow": false}]),
                vec!["deny a"],
            ),
            (
                json!([{"allow": false}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]),
                vec!["deny a", "allow c 10:229 rwm"],
            ),
            (
                json!([{"allow": true, "type": "b", "major": 7, "minor": -1, "access": "r"},
                       {"allow": true, "type": "b", "major": 7, "minor": 1, "access": "w"}]),
                vec!["deny a", "allow b 7:* r", "allow b 7:1 rw"],
            ),
            (
                json!([{"allow": true, "type": "b", "major": 7, "access": "rwm"},
                       {"allow": false, "type": "b", "access": "w"}]),
                vec!["deny a", "allow b 7:* rm"],
            ),
            (
                json!([{"allow": true}, {"allow": false, "type": "b", "major": 8, "access": "w"}]),
                vec!["allow a", "deny b 8:* w"],
            ),
            (
                json!([{"allow": true, "type": "a", "major": 7, "access": "r"}]),
                vec!["deny a", "allow b 7:* r", "allow c 7:* r"],
            ),
        ] {
            assert_eq!(v1(rules.clone()).unwrap(), expected, "{rules}");
        }
        let all = parse(json!([])).unwrap().v1().unwrap();
        assert_eq!(all.len(), 1 + DEFAULTS.len());
        assert_eq!((&*all[12].file, all[12].value.as_str()), ("devices.allow", "c 1:3 rwm"));
    }

    #[test]
    fn what_cannot_be_expressed_is_refused() {
        for (rules, expected) in [
            (
                json!([{"allow": true, "type": "c", "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "access": "w"}]),
                "linux.resources.devices[1]: cgroup v1 cannot except deny c 1:* w from allow c *:* rwm",
            ),
            (
                json!([{"allow": true}, {"allow": false, "type": "c", "major": 1, "access": "rw"}]),
                "linux.resources.devices: cgroup v1 cannot except allow c 10:200 rwm from deny c 1:* rw",
            ),
        ] {
            let error = parse(rules).unwrap().v1();
            let error = error.map(|_| ()).unwrap_err().to_string();
            if expected.contains("10:200") {
                assert!(
                    error.starts_with("linux.resources.devices: cgroup v1 cannot except allow c 1:"),
                    "{error}"
                );
            } else {
                assert_eq!(error, expected);
            }
        }
        for (rule, reason) in [
            (json!({"allow": true, "type": "c", "major": 1}), "access is empty"),
            (json!({"allow": true, "type": "c", "access": "rx"}), "other letters"),
            (json!({"allow": true, "type": "p", "access": "r"}), "none of a, b, c"),
            (json!({"allow": true, "type": "c", "major": -2, "access": "r"}), "no device number"),
            (json!({"allow": true, "type": "c", "minor": 4294967296i64, "access": "r"}), "no device number"),
        ] {
            let error = parse(json!([{"allow": false}, rule])).unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.devices[1]: ") && error.contains(reason), "{error}");
        }
    }
}
