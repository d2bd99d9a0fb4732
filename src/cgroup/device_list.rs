//! The device list of a v1 cgroup with processes in it, changed so that nothing is open for a moment that was denied
//! before and is denied afterwards. A list that denies all but its entries is changed entry by entry, the new ones
//! first: what is allowed meanwhile is allowed before or after. All else goes through "allow all" or "deny all", and is
//! done while the container stands frozen.

use super::directory::Directory;
use super::record::Record;
use crate::error::Result;
use crate::plan::cgroup::Write;
use std::collections::BTreeMap;

/// What devices.list shows of a list that allows all but its entries, which it does not show.
const ALL: &str = "a *:* rwm";

/// The kernel's letters, in its order.
const ACCESS: [char; 3] = ['r', 'w', 'm'];

/// A list as it was, to be put back.
#[derive(Debug)]
pub(crate) struct Rewritten {
    cgroup: Directory,
    record: Record,
    old: Vec<(String, String)>,
}

/// Changes the list of the cgroup to what these writes make of an empty one. `before`: the writes that were planned
/// last, which count only where the kernel does not tell what the list has.
///
/// # Errors
/// The write that the kernel refused, or why the container cannot be frozen; the list is as it was.
pub(crate) fn rewrite(
    cgroup: &Directory,
    record: &Record,
    before: &[Write],
    after: &[Write],
) -> Result<Rewritten> {
    let pairs = |writes: &[Write]| -> Vec<(String, String)> {
        writes.iter().map(|write| (write.file.to_string(), write.value.clone())).collect()
    };
    let shown = cgroup.read("devices.list")?;
    let old = if shown.trim() == ALL { pairs(before) } else { listed(&shown) };
    let rewritten = Rewritten { cgroup: cgroup.descend(&[])?, record: record.clone(), old };
    match rewritten.become_like(&pairs(after)) {
        Ok(()) => Ok(rewritten),
        Err(error) => Err(error.at("linux.resources.devices").undone(rewritten.undo())),
    }
}

impl Rewritten {
    /// Puts the old list back.
    pub(crate) fn undo(&self) -> Result<()> {
        self.become_like(&self.old).map_err(|error| error.at("linux.resources.devices"))
    }

    fn become_like(&self, wanted: &[(String, String)]) -> Result<()> {
        let shown = self.cgroup.read("devices.list")?;
        if shown.trim() != ALL && wanted.first().is_some_and(|(file, _)| file == "devices.deny") {
            let steps = steps(&entries(&listed(&shown)), &entries(wanted));
            return steps.iter().try_for_each(|(file, value)| self.cgroup.write(file, value));
        }
        let rewrite = || wanted.iter().try_for_each(|(file, value)| self.cgroup.write(file, value));
        self.record.while_frozen(rewrite)
    }
}

/// The writes that make what devices.list shows.
fn listed(shown: &str) -> Vec<(String, String)> {
    let entries = shown.lines().map(|line| ("devices.allow".to_owned(), line.trim().to_owned()));
    std::iter::once(("devices.deny".to_owned(), "a".to_owned())).chain(entries).collect()
}

/// The entries of a list that denies all others, each device with its letters.
fn entries(writes: &[(String, String)]) -> BTreeMap<String, Vec<char>> {
    let mut entries = BTreeMap::<String, Vec<char>>::new();
    for (device, access) in writes.iter().skip(1).filter_map(|(_, value)| value.rsplit_once(' ')) {
        entries.entry(device.to_owned()).or_default().extend(access.chars());
    }
    entries
}

/// What to write, so that one such list becomes the other.
fn steps(
    old: &BTreeMap<String, Vec<char>>,
    new: &BTreeMap<String, Vec<char>>,
) -> Vec<(&'static str, String)> {
    let mut steps = Vec::new();
    for (file, these, those) in [("devices.allow", new, old), ("devices.deny", old, new)] {
        for (device, letters) in these {
            let has = |list: &BTreeMap<String, Vec<char>>, letter| {
                list.get(device).is_some_and(|letters| letters.contains(&letter))
            };
            let more = ACCESS.iter().filter(|letter| letters.contains(letter) && !has(those, **letter));
            let more: String = more.collect();
            if !more.is_empty() {
                steps.push((file, format!("{device} {more}")));
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_changes_by_its_difference_the_new_first() {
        let change = |old: &str, new: &str| {
            let steps = steps(&entries(&listed(old)), &entries(&listed(new)));
            steps.iter().map(|(file, value)| format!("{} {value}", &file[8..])).collect::<Vec<_>>()
        };
        assert_eq!(change("c 1:3 rwm\nc 1:5 rwm\n", "c 1:5 rwm\nc 1:3 rwm\n"), [""; 0]);
        assert_eq!(change("c 1:3 rwm\n", "c 1:5 rw\n"), ["allow c 1:5 rw", "deny c 1:3 rwm"]);
        assert_eq!(change("c *:* m\nb 7:1 rw\n", "c *:* m\nb 7:1 rm\n"), ["allow b 7:1 m", "deny b 7:1 w"]);
        assert_eq!(change("c 1:3 r\nc 1:3 w\n", "c 1:3 rw\n"), [""; 0]);
    }
}
