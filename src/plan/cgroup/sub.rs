//! `exec --cgroup [CONTROLLER[,CONTROLLER]:]PATH`: the cgroup below the container's that a further process goes into.
//! Pure; every component of a path is checked as in linux.cgroupsPath.

use super::path::CgroupPath;
use crate::error::{Error, Result};

/// What was chosen, by controller; without a controller it counts for every hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SubCgroups(Vec<(Option<String>, Vec<String>)>);

impl SubCgroups {
    /// Reads the values of the option.
    ///
    /// # Errors
    /// A path that leads out of the container's cgroup, a controller named twice or not at all.
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut chosen = SubCgroups::default();
        for word in words {
            chosen
                .add(word, words.len() == 1)
                .map_err(|error| error.at(format_args!("--cgroup {word:?}")))?;
        }
        Ok(chosen)
    }

    fn add(&mut self, word: &str, only: bool) -> Result<()> {
        let Some((controllers, path)) = word.split_once(':') else {
            self.0.push((None, names(word)?));
            let hint = "of several paths each needs its controller: --cgroup memory:/a --cgroup cpu:/b";
            return if only { Ok(()) } else { Err(Error::new("has no controller").hint(hint)) };
        };
        let names = names(path)?;
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(Error::new("has an empty controller"));
            }
            if self.0.iter().any(|(other, _)| other.as_deref() == Some(controller)) {
                return Err(Error::new(format!("controller {controller:?} is given twice")));
            }
            self.0.push((Some(controller.to_owned()), names.clone()));
        }
        Ok(())
    }

    /// Nothing was chosen.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names below the container's cgroup in the hierarchy with these controllers (`cpu,cpuacct`; none on v2).
    pub(crate) fn below(&self, controllers: &str) -> Option<&[String]> {
        let meant = |controller: &Option<String>| {
            controller.as_ref().is_none_or(|name| controllers.split(',').any(|one| one == name))
        };
        self.0.iter().find(|(controller, _)| meant(controller)).map(|(_, names)| names.as_slice())
    }

    /// The first controller that none of these hierarchies has.
    pub(crate) fn unknown<'a>(&self, hierarchies: impl Iterator<Item = &'a str> + Clone) -> Option<&str> {
        let known = |name: &str| hierarchies.clone().any(|list| list.split(',').any(|one| one == name));
        self.0.iter().filter_map(|(controller, _)| controller.as_deref()).find(|name| !known(name))
    }
}

/// `/` is the container's own cgroup.
fn names(path: &str) -> Result<Vec<String>> {
    match path.bytes().all(|byte| byte == b'/') {
        true => Ok(Vec::new()),
        false => CgroupPath::new(path).map(|path| path.names().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<SubCgroups> {
        SubCgroups::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn one_path_for_all_or_one_for_each_controller() {
        let all = parse(&["/a/b"]).unwrap();
        assert_eq!(all.below(""), Some(&["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(all.below("cpu,cpuacct"), all.below(""));
        let each = parse(&["cpu,memory:a", "pids:/"]).unwrap();
        assert_eq!(each.below("cpu,cpuacct"), Some(&["a".to_owned()][..]));
        assert_eq!(each.below("pids"), Some(&[][..]));
        assert_eq!((each.below("freezer"), each.below("")), (None, None));
        assert_eq!(each.unknown(["cpu,cpuacct", "pids"].into_iter()), Some("memory"));
        assert_eq!(each.unknown(["cpu,cpuacct", "pids", "memory"].into_iter()), None);
        assert!(parse(&[]).unwrap().is_empty() && !all.is_empty());
    }

    #[test]
    fn tricks_are_refused() {
        for words in [
            &["../x"][..],
            &["a/../../b"],
            &["cpu:.."],
            &[":a"],
            &["cpu,:a"],
            &["cpu:a", "cpu:b"],
            &["a", "b"],
            &["a\0b"],
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.starts_with("--cgroup \""), "{error}");
        }
    }
}
