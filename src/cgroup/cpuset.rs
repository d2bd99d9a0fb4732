//! cgroup v1 cpuset: a new cgroup has neither CPUs nor memory nodes and takes no process in until it has both; a
//! cgroup can only have what those above it have. Filled from above, as far as nobody has chosen.

use super::directory::Directory;
use crate::error::Result;
use crate::plan::cgroup::Place;

const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Fills the container's cgroup and those above it. A file that the plan writes is left to it; what lies above is not.
pub(crate) fn fill(place: &Place, top: &Directory, leaf: &Directory) -> Result<()> {
    let names = place.path.names();
    for file in FILES {
        if place.writes.iter().any(|write| write.file == file) {
            filled(top, &names[..names.len() - 1], file)?;
        } else if value(leaf, file)?.is_empty() {
            leaf.write(file, &filled(top, &names[..names.len() - 1], file)?)?;
        }
    }
    Ok(())
}

/// The value of the cgroup with this path, which is given one if it has none: that of the nearest above it.
fn filled(top: &Directory, names: &[String], file: &str) -> Result<String> {
    let mut empty = Vec::new();
    let mut found = String::new();
    for depth in (0..=names.len()).rev() {
        let cgroup = top.descend(&names[..depth])?;
        found = value(&cgroup, file)?;
        if !found.is_empty() {
            break;
        }
        empty.push(cgroup);
    }
    for cgroup in empty.iter().rev() {
        cgroup.write(file, &found)?;
    }
    Ok(found)
}

fn value(cgroup: &Directory, file: &str) -> Result<String> {
    cgroup.read(file).map(|value| value.trim().to_owned())
}
