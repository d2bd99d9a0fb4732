//! Annotations `org.systemd.property.NAME` as properties of the scope. Pure.
//!
//! Who writes an annotation may be less trusted than who runs the runtime (CVE-2024-3154): only the properties of
//! [`ALLOWED`] are taken. None of them runs a program, starts or stops another unit, mounts, changes who the
//! processes are or where they stand, or takes a limit away.

use super::property::{Property, Value};
use super::variant::{self, Variant};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// What the annotations begin with.
pub(super) const PREFIX: &str = "org.systemd.property.";

/// The type of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    I32,
    U64,
    Text,
    Texts,
}

/// The properties that may be set (org.freedesktop.systemd1(5)): how the scope ends, after whom it is ordered, and
/// weights and protections.
const ALLOWED: &[(&str, Kind)] = &[
    ("After", Kind::Texts),
    ("Before", Kind::Texts),
    ("CPUWeight", Kind::U64),
    ("CollectMode", Kind::Text),
    ("DefaultDependencies", Kind::Bool),
    ("Description", Kind::Text),
    ("IOWeight", Kind::U64),
    ("KillSignal", Kind::I32),
    ("ManagedOOMMemoryPressure", Kind::Text),
    ("ManagedOOMPreference", Kind::Text),
    ("ManagedOOMSwap", Kind::Text),
    ("MemoryHigh", Kind::U64),
    ("MemoryLow", Kind::U64),
    ("OOMPolicy", Kind::Text),
    ("PartOf", Kind::Texts),
    ("RuntimeMaxUSec", Kind::U64),
    ("SendSIGHUP", Kind::Bool),
    ("StartupCPUWeight", Kind::U64),
    ("StartupIOWeight", Kind::U64),
    ("TimeoutStopUSec", Kind::U64),
];

/// The properties that annotations ask for, by name.
///
/// # Errors
/// A property that is not allowed, a value that is none or of the wrong type; each names the annotation.
pub(super) fn properties(annotations: Option<&HashMap<String, String>>) -> Result<Vec<Property>> {
    let sorted: BTreeMap<_, _> = annotations.into_iter().flatten().collect();
    let asked = sorted.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)));
    asked
        .map(|(key, name, text)| {
            let field = format!("annotations {key:?}");
            property(&field, name, text).map_err(|error| error.at(&field))
        })
        .collect()
}

fn property(field: &str, name: &str, text: &str) -> Result<Property> {
    // systemd takes times over D-Bus in microseconds only.
    let seconds = name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U'));
    let full = seconds.map_or(name.to_owned(), |stem| format!("{stem}USec"));
    let Some((_, kind)) = ALLOWED.iter().find(|row| row.0 == full) else {
        let names: Vec<&str> = ALLOWED.iter().map(|row| row.0).collect();
        return Err(Error::new(format!("the property {name} may not be set by an annotation"))
            .hint(format!("allowed are {}", names.join(", "))));
    };
    let wrong = |what: &str| Error::new(format!("{name} is {what}, not {text}"));
    let value = match (kind, variant::parse(text)?) {
        (Kind::Bool, Variant::Bool(on)) => Value::Bool(on),
        (Kind::I32, Variant::Integer(number)) => {
            Value::I32(number.try_into().map_err(|_| wrong("a number of 32 bits"))?)
        }
        (Kind::U64, Variant::Integer(number)) if seconds.is_none() => {
            Value::U64(number.try_into().map_err(|_| wrong("a number from 0 to 2^64-1"))?)
        }
        (Kind::U64, Variant::Integer(number)) => {
            Value::U64(micro(number as f64).ok_or_else(|| wrong("a time in seconds"))?)
        }
        (Kind::U64, Variant::Real(number)) if seconds.is_some() => {
            Value::U64(micro(number).ok_or_else(|| wrong("a time in seconds"))?)
        }
        (Kind::Text, Variant::Text(text)) => Value::Text(text),
        (Kind::Texts, Variant::Texts(texts)) => Value::Texts(texts),
        (Kind::Bool, _) => return Err(wrong("true or false")),
        (Kind::I32 | Kind::U64, _) => return Err(wrong("a number")),
        (Kind::Text, _) => return Err(wrong("a text in quotes")),
        (Kind::Texts, _) => return Err(wrong("a list of texts")),
    };
    Ok(Property::new(field, full, value))
}

/// Seconds as microseconds.
fn micro(seconds: f64) -> Option<u64> {
    let micro = seconds * 1e6;
    (0.0..18e18).contains(&micro).then_some(micro.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<String> {
        let annotations =
            HashMap::from([(format!("{PREFIX}{name}"), value.to_owned()), ("other".into(), "x".into())]);
        let list = properties(Some(&annotations))?;
        assert_eq!(list.len(), 1);
        Ok(format!("{} = {:?}", list[0].name, list[0].value))
    }

    #[test]
    fn allowed() {
        for (name, value, expected) in [
            ("CollectMode", "'inactive'", "CollectMode = Text(\"inactive\")"),
            ("TimeoutStopUSec", "uint64 5000000", "TimeoutStopUSec = U64(5000000)"),
            ("TimeoutStopSec", "5", "TimeoutStopUSec = U64(5000000)"),
            ("TimeoutStopSec", "uint64 5", "TimeoutStopUSec = U64(5000000)"),
            ("RuntimeMaxSec", "0.5", "RuntimeMaxUSec = U64(500000)"),
            ("After", "['a.service', 'b.service']", "After = Texts([\"a.service\", \"b.service\"])"),
            ("DefaultDependencies", "true", "DefaultDependencies = Bool(true)"),
            ("KillSignal", "int32 15", "KillSignal = I32(15)"),
            ("MemoryHigh", "uint64 18446744073709551615", "MemoryHigh = U64(18446744073709551615)"),
        ] {
            assert_eq!(one(name, value).unwrap(), expected);
        }
        assert!(properties(None).unwrap().is_empty());
    }

    #[test]
    fn cve_2024_3154() {
        for name in [
            "ExecStart",
            "ExecStartPre",
            "ExecStop",
            "SuccessAction",
            "FailureAction",
            "JobTimeoutAction",
            "OnFailure",
            "OnSuccess",
            "Wants",
            "Requires",
            "BindsTo",
            "Upholds",
            "Conflicts",
            "RequiresMountsFor",
            "BindPaths",
            "RootDirectory",
            "User",
            "Group",
            "DynamicUser",
            "Slice",
            "Delegate",
            "PIDs",
            "Controller",
            "DevicePolicy",
            "DeviceAllow",
            "MemoryMin",
            "MemoryMax",
            "TasksMax",
            "CPUQuota",
            "IPAddressAllow",
            "BPFProgram",
            "DisableControllers",
            "PAMName",
            "KillMode",
            "SendSIGKILL",
            "AddRef",
            "Sec",
            "",
            "collectmode",
            "TimeoutStopUUSec",
            "MemoryHighSec",
        ] {
            for value in ["'x'", "true", "5", "['x']"] {
                let error = one(name, value).unwrap_err().to_string();
                let words = format!(
                    "annotations \"org.systemd.property.{name}\": the property {name} may not be set"
                );
                assert!(error.starts_with(&words), "{error}");
            }
        }
    }

    #[test]
    fn wrong_values_name_the_annotation() {
        for (name, value, word) in [
            ("CollectMode", "inactive", "GVariant"),
            ("CollectMode", "5", "a text in quotes"),
            ("After", "'a.service'", "a list of texts"),
            ("TimeoutStopSec", "-1", "a time in seconds"),
            ("TimeoutStopSec", "1e300", "a time in seconds"),
            ("TimeoutStopUSec", "-1", "from 0"),
            ("TimeoutStopUSec", "1.5", "a number"),
            ("KillSignal", "4294967296", "32 bits"),
            ("SendSIGHUP", "1", "true or false"),
        ] {
            let error = one(name, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("annotations \"org.systemd.property.{name}\": ")), "{error}");
            assert!(error.contains(word), "{error}");
        }
    }
}
