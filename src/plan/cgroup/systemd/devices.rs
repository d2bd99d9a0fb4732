//! linux.resources.devices as properties of a unit on cgroup v1 (systemd.resource-control(5), DeviceAllow=). systemd
//! writes the lists of v1 anew when it is reloaded: what it was not told, it would open or close. Pure. On v2 nothing
//! of this is needed, since there each owner has a filter of its own, and all of them must agree.

use super::property::{Property, Value};
use crate::error::Result;
use crate::plan::cgroup::devices::{Kind, MKNOD, READ, Rule, Rules, WRITE};

const FIELD: &str = "linux.resources.devices";

/// The rules as a list of what is allowed, in place of any other; where all is allowed but for exceptions systemd has no
/// word for these, so that they stay in the list that the runtime writes.
/// A rule without a major but with a minor number has none either: it stays in the list that the runtime writes.
///
/// # Errors
/// A rule that cgroup v1 cannot express.
pub(crate) fn list(rules: &Rules) -> Result<Vec<Property>> {
    let policy = |word: &str| Property::new(FIELD, "DevicePolicy", Value::Text(word.to_owned()));
    let empty = Property::new(FIELD, "DeviceAllow", Value::Pairs(Vec::new()));
    if rules.others {
        return Ok(vec![policy("auto"), empty]);
    }
    let exceptions = rules.exceptions()?;
    let allowed = exceptions.iter().filter_map(|(_, rule)| Some((device(rule)?, access(rule)))).collect();
    Ok(vec![policy("strict"), empty, Property::new(FIELD, "DeviceAllow", Value::Pairs(allowed))])
}

fn device(rule: &Rule) -> Option<String> {
    let kind = if rule.kind == Kind::Block { "block" } else { "char" };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (None, None) => Some(format!("{kind}-*")),
        (None, Some(_)) => None,
    }
}

fn access(rule: &Rule) -> String {
    [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
        .iter()
        .filter(|(bit, _)| rule.access & bit != 0)
        .map(|(_, c)| c)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(rules: serde_json::Value) -> Vec<String> {
        let rules: Vec<oci_spec::runtime::LinuxDeviceCgroup> = serde_json::from_value(rules).unwrap();
        list(&Rules::parse(&rules).unwrap()).unwrap().iter().map(Property::to_string).collect()
    }

    #[test]
    fn what_is_allowed_is_told() {
        let told = text(json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": true, "type": "b", "major": 8, "access": "r"},
            {"allow": true, "type": "c", "minor": 9, "access": "r"}
        ]));
        assert_eq!(told[0], "linux.resources.devices: DevicePolicy = 'strict'");
        assert_eq!(told[1], "linux.resources.devices: DeviceAllow = []");
        let list = told[2].strip_prefix("linux.resources.devices: DeviceAllow = ").unwrap();
        assert!(
            list.starts_with("[('/dev/char/10:229', 'rw'), ('block-8', 'r'), ('block-*', 'm'), "),
            "{list}"
        );
        assert!(
            list.contains("('char-136', 'rwm')") && list.ends_with("('/dev/char/1:3', 'rwm')]"),
            "{list}"
        );
        assert!(!list.contains(":9', 'r')"));
    }

    #[test]
    fn a_container_that_may_all_has_no_list() {
        let told = text(json!([{"allow": true, "access": "rwm"}]));
        let field = "linux.resources.devices";
        assert_eq!(told, [format!("{field}: DevicePolicy = 'auto'"), format!("{field}: DeviceAllow = []")]);
    }
}
