//! linux.resources.unified (config-linux.md, Unified): files of cgroup v2 by name, with values as given. Pure. They come
//! after all other limits, and so have the last word.

use crate::error::{Error, Result};
use crate::plan::cgroup::{Absent, Place, Version, Write, missing};
use crate::plan::step::Field;
use oci_spec::runtime::LinuxResources;
use std::collections::BTreeMap;

/// The files of the core that limit or measure. All others move, freeze, kill or restructure what the runtime itself
/// keeps in order.
const CORE: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

/// The name of a file of cgroup v2, `controller.something`: never a path.
struct Key<'a> {
    controller: &'a str,
    file: &'a str,
}

impl<'a> Key<'a> {
    /// The one constructor.
    fn new(file: &'a str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let (controller, rest) = file.split_once('.').unwrap_or_default();
        if controller.is_empty() || rest.is_empty() || file.contains("..") {
            return Err(Error::new("is no file of a cgroup, CONTROLLER.PARAMETER"));
        }
        if !file.chars().all(plain) || !controller.chars().all(name) {
            return Err(Error::new("is no name of a file: letters, digits, dots, lines"));
        }
        if controller == Write::CORE && !CORE.contains(&file) {
            return Err(Error::new("is no limit, and is left to the runtime"));
        }
        Ok(Key { controller, file })
    }
}

/// Adds the files of `unified` to the place that is cgroup v2.
///
/// # Errors
/// A key that is no file that limits; no cgroup v2; a controller that cgroup v1 has taken. The field names the key.
pub(super) fn set(resources: &LinuxResources, places: &mut [Place], disabled: bool) -> Result<()> {
    let files: BTreeMap<_, _> = resources.unified().iter().flatten().collect();
    for (file, value) in files {
        let field = Field::new(format!("linux.resources.unified {file:?}"));
        let writes = writes(&field, file, value, places).map_err(|error| error.at(&field))?;
        match places.iter_mut().find(|place| place.version() == Version::V2) {
            Some(place) => place.writes.extend(writes),
            None if disabled => return Err(missing("", disabled).at(field)),
            None => return Err(Error::new("cannot use unified on cgroup v1").at(field)),
        }
    }
    Ok(())
}

/// One write for each line: io.max and others take no more at once.
fn writes(field: &Field, file: &str, value: &str, places: &[Place]) -> Result<Vec<Write>> {
    let Key { controller, file } = Key::new(file)?;
    if value.contains('\0') {
        return Err(Error::new("the value has a NUL, at which the kernel stops reading"));
    }
    if places.iter().any(|place| place.controllers.split(',').any(|name| name == controller)) {
        return Err(Error::new(format!("cannot use unified: the {controller} controller is on cgroup v1")));
    }
    let value = value.strip_suffix('\n').unwrap_or(value);
    let write = |line: &str| Write {
        field: field.clone(),
        controller: controller.to_owned().into(),
        file: file.to_owned().into(),
        value: line.to_owned(),
        absent: Absent::Error,
        floor: None,
    };
    Ok(value.split('\n').map(write).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::path::CgroupPath;
    use serde_json::{Value, json};

    fn place(mount: &str, controllers: &str) -> Place {
        let path = CgroupPath::of(None, "web1", "/", Version::V2).unwrap();
        let (mount, controllers) = (mount.into(), controllers.into());
        Place { mount, controllers, path, optional: false, writes: Vec::new() }
    }

    fn on(unified: Value, places: &mut [Place]) -> Result<String> {
        let resources = serde_json::from_value(json!({ "unified": unified })).unwrap();
        set(&resources, places, false)?;
        let text = |write: &Write| format!("{} {}={}", write.controller, write.file, write.value);
        Ok(places.iter().flat_map(|place| place.writes.iter().map(text)).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn values_are_written_as_given() {
        let unified = json!({
            "memory.high": "1G", "cpuset.cpus": "", "cgroup.max.depth": "3", "hugetlb.2MB.rsvd.max": " 0 ",
            "io.max": "259:0 rbps=2097152 wiops=120\n253:0 rbps=2097152 wiops=120\n"});
        assert_eq!(
            on(unified, &mut [place("/sys/fs/cgroup", "")]).unwrap(),
            "cgroup cgroup.max.depth=3, cpuset cpuset.cpus=, hugetlb hugetlb.2MB.rsvd.max= 0 , \
             io io.max=259:0 rbps=2097152 wiops=120, io io.max=253:0 rbps=2097152 wiops=120, memory memory.high=1G"
        );
    }

    #[test]
    fn keys_are_names_of_files_that_limit() {
        for key in [
            "",
            "memory",
            ".",
            "..",
            "memory.",
            ".max",
            "/memory.max",
            "x/memory.max",
            "../memory.max",
            "memory..max",
            "memory.max/..",
            "memory.max\n",
            "memory.max\0",
            "memory.max ",
            "Memory.max",
            "memory.mäx",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.kill",
            "cgroup.freeze",
            "cgroup.subtree_control",
            "cgroup.type",
            "cgroup.events",
        ] {
            let error = on(json!({key: "1"}), &mut [place("/sys/fs/cgroup", "")]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.resources.unified {key:?}: is no ")), "{error}");
        }
        let nul = on(json!({"memory.max": "1\u{0}2"}), &mut [place("/sys/fs/cgroup", "")]).unwrap_err();
        assert!(nul.to_string().contains("NUL"), "{nul}");
    }

    #[test]
    fn on_v1_there_is_none() {
        let mut v1 = [place("/sys/fs/cgroup/memory", "memory")];
        let error = on(json!({"pids.max": "1"}), &mut v1).unwrap_err().to_string();
        assert_eq!(error, "linux.resources.unified \"pids.max\": cannot use unified on cgroup v1");
        let mut hybrid = [place("/sys/fs/cgroup/unified", ""), place("/sys/fs/cgroup/memory", "cpu,memory")];
        let error = on(json!({"memory.high": "1"}), &mut hybrid).unwrap_err().to_string();
        assert_eq!(
            error,
            "linux.resources.unified \"memory.high\": cannot use unified: the memory controller is on cgroup v1"
        );
        assert_eq!(on(json!({"hugetlb.2MB.max": "0"}), &mut hybrid).unwrap(), "hugetlb hugetlb.2MB.max=0");
        assert_eq!(on(json!({}), &mut v1).unwrap(), "");
    }
}
