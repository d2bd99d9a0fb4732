//! linux.resources in part: what `update` is given, as JSON text or option by option. It stays JSON, because the types
//! cannot tell a field that was not given from one that is 0. Judges types only; values are judged where they are
//! planned.

use super::load::{self, LIMIT};
use crate::error::{Error, Result};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};
use std::io::Read;

/// Fields whose 0 means "not set", as engines send it for what they do not mean to change.
const UNSET: [&str; 13] = [
    "/memory/limit",
    "/memory/reservation",
    "/memory/swap",
    "/memory/kernel",
    "/memory/kernelTCP",
    "/cpu/shares",
    "/cpu/quota",
    "/cpu/period",
    "/cpu/realtimeRuntime",
    "/cpu/realtimePeriod",
    "/blockIO/weight",
    "/blockIO/leafWeight",
    "/network/classID",
];

/// What says which entry of a list it is, where that is not a device's number.
const NAMES: [&str; 2] = ["pageSize", "name"];

/// The fields that were given.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Part(Map<String, Value>);

impl Part {
    /// Reads a LinuxResources object.
    ///
    /// # Errors
    /// It cannot be read, is larger than a config may be, is no JSON object, or does not fit the types of the
    /// runtime-spec; with the field.
    pub(crate) fn read(input: impl Read) -> Result<Self> {
        let mut text = Vec::new();
        input
            .take(LIMIT + 1)
            .read_to_end(&mut text)
            .map_err(|error| Error::call("read", error.raw_os_error().unwrap_or_default()))?;
        if text.len() as u64 > LIMIT {
            return Err(Error::new(format!("larger than {} MiB", LIMIT >> 20)));
        }
        let value = serde_json::from_slice(&text);
        Part::new(value.map_err(|error| Error::new(format!("not valid JSON: {error}")))?)
    }

    /// Checks the types.
    ///
    /// # Errors
    /// As [`Part::read`].
    pub(crate) fn new(mut value: Value) -> Result<Self> {
        drop_nulls(&mut value);
        load::typed::<LinuxResources>(&value)?;
        let Value::Object(mut fields) = value else {
            return Err(Error::new("linux.resources is an object"));
        };
        for pointer in UNSET {
            let mut names = pointer.split('/').skip(1);
            let (group, name) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            let group = fields.get_mut(group).and_then(Value::as_object_mut);
            if let Some(group) = group.filter(|group| group.get(name).is_some_and(|value| value == 0)) {
                group.remove(name);
            }
        }
        if let Some(cpu) = fields.get_mut("cpu").and_then(Value::as_object_mut) {
            cpu.retain(|_, value| value != "");
        }
        // oci-spec reads none as 0, which is a limit.
        if fields.get("pids").is_some_and(|pids| pids.get("limit").is_none()) {
            fields.remove("pids");
        }
        Ok(Part(fields))
    }

    /// Whether this part of linux.resources was given: `devices`, `memory`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// These resources with what was given put in: a field takes the place of its old value, an entry of a list that
    /// of the entry for the same device, page size or interface. `devices` is one list, of which the order matters: it
    /// is replaced as a whole.
    ///
    /// # Errors
    /// None that a value can cause: both fit their types.
    pub(crate) fn over(&self, before: &LinuxResources) -> Result<LinuxResources> {
        let impossible = |error: serde_json::Error| Error::new(format!("linux.resources: {error}"));
        let mut all = serde_json::to_value(before).map_err(impossible)?;
        for (name, given) in &self.0 {
            let old = all.as_object_mut().map(|all| all.entry(name.clone()).or_insert(Value::Null));
            match old {
                Some(old) if name == "devices" => *old = given.clone(),
                Some(old) => merge(old, given),
                None => {}
            }
        }
        load::decode_value(&all).map_err(|fault| Error::new(format!("linux.resources: {fault}")))
    }

    /// Whether this field of the merged resources was given: `linux.resources.cpu.quota`, `linux.resources.rdma "x"`,
    /// `linux.resources.hugepageLimits[2]`.
    pub(crate) fn gave(&self, field: &str, merged: &LinuxResources) -> bool {
        let path = field.strip_prefix("linux.resources.").unwrap_or(field);
        let end = path.find(['[', ' ']).unwrap_or(path.len());
        let (path, entry) = path.split_at(end);
        let walk =
            |top: &Value| path.split('.').try_fold(top.clone(), |value, name| value.get(name).cloned());
        let Some(given) = walk(&Value::Object(self.0.clone())) else { return false };
        let entry = entry.trim_matches(['[', ']', ' ', '"']);
        match &given {
            Value::Object(entries) if !entry.is_empty() => entries.contains_key(entry),
            Value::Array(entries) => {
                let all = serde_json::to_value(merged).ok().as_ref().and_then(walk);
                let one = all.and_then(|all| all.get(entry.parse::<usize>().ok()?).cloned());
                one.is_none_or(|one| entries.iter().any(|given| is_same_entry(given, &one)))
            }
            _ => true,
        }
    }
}

/// null is as good as nothing.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(entries) => entries.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn merge(old: &mut Value, given: &Value) {
    match (old, given) {
        (Value::Object(old), Value::Object(given)) => {
            for (name, given) in given {
                merge(old.entry(name.clone()).or_insert(Value::Null), given);
            }
        }
        (Value::Array(old), Value::Array(given)) => {
            for given in given {
                match old.iter_mut().find(|old| is_same_entry(old, given)) {
                    Some(old) => merge(old, given),
                    None => old.push(given.clone()),
                }
            }
        }
        (old, given) => *old = given.clone(),
    }
}

fn is_same_entry(one: &Value, other: &Value) -> bool {
    let number = |entry: &Value, name: &str| entry.get(name).map_or(0, |value| value.as_i64().unwrap_or(-1));
    let device = |entry: &Value| (number(entry, "major"), number(entry, "minor"));
    let name = NAMES.iter().find(|name| one.get(name).is_some());
    name.map_or_else(|| device(one) == device(other), |name| one.get(name) == other.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(before: Value, given: Value) -> Value {
        let before = serde_json::from_value(before).unwrap();
        serde_json::to_value(Part::new(given).unwrap().over(&before).unwrap()).unwrap()
    }

    #[test]
    fn what_is_given_takes_the_place_of_what_was() {
        let before = json!({"memory": {"limit": 100, "swap": 200}, "pids": {"limit": 3}});
        let given = json!({"memory": {"limit": 150}, "cpu": {"shares": 7}});
        let after =
            json!({"memory": {"limit": 150, "swap": 200}, "pids": {"limit": 3}, "cpu": {"shares": 7}});
        assert_eq!(merged(before.clone(), given), after);
        let nothing = json!({"memory": {"limit": 0, "swap": null}, "pids": {}, "cpu": {"cpus": "", "quota": 0}, "x": 1});
        let mut unchanged = before.clone();
        unchanged["cpu"] = json!({});
        assert_eq!(merged(before.clone(), nothing), unchanged);
        assert_eq!(merged(before, json!({"pids": {"limit": 0}}))["pids"]["limit"], 0);
    }

    #[test]
    fn an_entry_of_a_list_takes_the_place_of_its_like() {
        let device = |minor, rate| json!({"major": 8, "minor": minor, "rate": rate});
        let rates = |list: Value| json!({"blockIO": {"throttleReadBpsDevice": list}});
        let after =
            merged(rates(json!([device(0, 1), device(1, 1)])), rates(json!([device(1, 2), device(2, 2)])));
        assert_eq!(after, rates(json!([device(0, 1), device(1, 2), device(2, 2)])));
        let pages = |list: Value| json!({"hugepageLimits": list});
        let page = |size, limit| json!({"pageSize": size, "limit": limit});
        let after = merged(pages(json!([page("2MB", 1)])), pages(json!([page("1GB", 2), page("2MB", 3)])));
        assert_eq!(after, pages(json!([page("2MB", 3), page("1GB", 2)])));
        let after = merged(json!({"unified": {"a.b": "1", "c.d": "2"}}), json!({"unified": {"a.b": "3"}}));
        assert_eq!(after, json!({"unified": {"a.b": "3", "c.d": "2"}}));
        let rule = |allow| json!([{"allow": allow, "type": "c", "major": 1, "access": "r"}]);
        let after = merged(json!({"devices": rule(true)}), json!({"devices": rule(false)}));
        assert_eq!(after, json!({"devices": rule(false)}));
    }

    #[test]
    fn knows_which_fields_were_given() {
        let given = json!({"cpu": {"quota": 5, "shares": 0}, "unified": {"a.b": "1"}, "devices": [],
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]});
        let before = json!({"hugepageLimits": [{"pageSize": "1GB", "limit": 1}], "unified": {"c.d": "2"}});
        let part = Part::new(given).unwrap();
        let merged = part.over(&serde_json::from_value(before).unwrap()).unwrap();
        let gave = |field: &str| part.gave(&format!("linux.resources.{field}"), &merged);
        assert!(gave("cpu.quota") && gave("unified \"a.b\"") && gave("hugepageLimits[1]"));
        assert!(!gave("cpu.shares") && !gave("cpu.period") && !gave("memory.limit"));
        assert!(!gave("unified \"c.d\"") && !gave("hugepageLimits[0]"));
        assert!(part.has("devices") && !part.has("memory"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, reason) in [
            ("", "not valid JSON"),
            ("{} x", "not valid JSON"),
            ("[]", "an object"),
            ("7", "invalid type"),
            (r#"{"pids":{"limit":"many"}}"#, "linux.resources.pids.limit: invalid type"),
            (r#"{"memory":{"limit":1.5}}"#, "linux.resources.memory.limit: invalid type"),
        ] {
            let error = Part::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = std::io::repeat(b' ');
        assert!(Part::read(long).unwrap_err().to_string().contains("larger than 8 MiB"));
    }
}
