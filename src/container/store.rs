//! The state directory: one container, one directory, one atomically replaced file (runtime.md, State).
//!
//! ```text
//! ROOT/            0700, made when first needed
//!   web1/          0700, mkdirat(2): an id is claimed by one creator only; flock(2) on it is the container's lock
//!     state.json   0600, replaced by renameat(2), never changed in place
//!     gate         the start gate, see `gate`
//!     seccomp      0600, the program of linux.seccomp, for `exec`
//!   ~AAAA…/=BBBB   an id longer than a file name may be: see `id`
//!   :seccomp/      compiled filters: see `seccomp::cache`
//! ```
//!
//! The lock. Who changes a container holds it: the creator from the claim until [`Claim::keep`] or its death, `start`
//! and `delete` for their duration. Waiting for it is bounded ([`LOCK_WAIT`]) and fails with an error that says so.
//! Who reads (`state`, `list`, `kill`) takes no lock, because the file is replaced whole. Only for a container that is
//! not [`Saved::ready`] does a reader try the lock: as long as it is taken, the creator is alive.
//!
//! Nothing here may believe a status from the file: it records names (pid and start time, cgroup), the kernel tells
//! the rest.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::foreign;
use super::id::{ContainerId, DEEPEST};
use super::saved::{FILTER, STATE, Saved};
use crate::error::{Error, Result, phrases};
use crate::sys::dir::{self, EEXIST, ENOENT};

/// How long to wait for another runtime process to let go of a container.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The directory of compiled programs below the state root.
pub(super) const FILTERS: &str = ":seccomp";
/// How often a directory may vanish under our hands before that is an error.
const TRIES: usize = 64;

/// Where a container's directory stands.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    id: ContainerId,
    /// The directories above it that only long ids have, from the outermost on, with their parents.
    above: Vec<(OwnedFd, String)>,
    parent: OwnedFd,
    name: String,
}

impl Place {
    /// None: there is no such root, or no such parent.
    fn find(root: &Path, id: &ContainerId) -> Result<Option<Self>> {
        Self::walk(root, id, dir::open_at).map(Some).or_else(absent)
    }

    /// The same, with root and parents made if they are missing.
    fn make(root: &Path, id: &ContainerId) -> Result<Self> {
        let walk = || {
            Self::walk(root, id, |parent, name| match dir::make_at(parent, name) {
                Err(error) if error.errno() != EEXIST => Err(error),
                _ => dir::open_at(parent, name),
            })
        };
        match walk() {
            Err(error) if error.errno() == ENOENT => {
                dir::make_all(root)?;
                walk()
            }
            other => other,
        }
    }

    fn walk(
        root: &Path,
        id: &ContainerId,
        enter: impl Fn(BorrowedFd<'_>, &str) -> Result<OwnedFd>,
    ) -> Result<Self> {
        let mut parent = dir::open(root)?;
        let mut names = id.components();
        let name = names.pop().unwrap_or_default();
        let mut above = Vec::new();
        for step in names {
            let inner = enter(parent.as_fd(), &step)?;
            above.push((parent, step));
            parent = inner;
        }
        Ok(Place { root: root.to_owned(), id: id.clone(), above, parent, name })
    }

    /// None: there is no such directory.
    fn open(&self) -> Result<Option<OwnedFd>> {
        dir::open_at(self.parent.as_fd(), &self.name).map(Some).or_else(absent)
    }

    /// Removes the container's directory `at` and everything in it; state.json goes last, so that whoever is killed
    /// on the way can be followed by another.
    fn wipe(&self, at: BorrowedFd<'_>, filtered: bool) -> Result<()> {
        dir::unlink(at, super::gate::NAME)?;
        super::notify::remove(at)?;
        if filtered {
            dir::unlink(at, FILTER)?;
        }
        dir::unlink(at, STATE)?;
        if !dir::remove(self.parent.as_fd(), &self.name)? {
            for name in dir::names(at)? {
                dir::unlink(at, &name)?;
            }
            if !dir::remove(self.parent.as_fd(), &self.name)? {
                return Err(Error::new("something is being written into it").at(self.path().display()));
            }
        }
        self.leave();
        Ok(())
    }

    /// The levels of a long id go when they are empty; another long id may use them.
    fn leave(&self) {
        ascend(&self.above);
    }

    fn path(&self) -> PathBuf {
        self.root.join(self.id.components().join("/"))
    }
}

fn absent<T>(error: Error) -> Result<Option<T>> {
    if error.errno() == ENOENT { Ok(None) } else { Err(error) }
}

pub(crate) fn already_exists() -> Error {
    Error::new(phrases::ALREADY_EXISTS)
}

/// Whether somebody has claimed the id.
pub(crate) fn exists(root: &Path, id: &ContainerId) -> bool {
    matches!(
        Place::find(root, id).and_then(|place| place.map_or(Ok(None), |place| place.open())),
        Ok(Some(_))
    )
}

pub(crate) fn no_such_container() -> Error {
    Error::new(phrases::NO_SUCH_CONTAINER)
}

fn busy(place: &Place, waited: Duration) -> Error {
    Error::new(format!("another runtime process has been at work on the container for {waited:?}"))
        .at(place.path().display())
        .hint("a hook may hang: see `fuser` of this directory")
}

/// A container whose lock we hold. Dropping it lets go of the lock.
#[derive(Debug)]
pub(crate) struct Locked {
    place: Place,
    dir: OwnedFd,
    saved: Saved,
    /// Why there is no valid state: its creator was killed before it wrote one, or somebody has damaged it.
    damage: Option<Error>,
    /// Removed on drop.
    doomed: bool,
}

/// What came of trying to lock a container.
#[derive(Debug)]
pub(crate) enum Opened {
    /// There is no such container.
    Absent,
    /// Somebody else had the lock for all of the time; in words.
    Busy(Error),
    /// Here it is.
    Held(Box<Locked>),
}

impl Locked {
    /// Locks a container, waiting at most [`LOCK_WAIT`]. An unknown one is an error.
    pub(crate) fn open(root: &Path, id: &ContainerId) -> Result<Self> {
        match Self::open_within(root, id, LOCK_WAIT)? {
            Opened::Held(locked) => Ok(*locked),
            Opened::Absent => Err(no_such_container()),
            Opened::Busy(error) => Err(error),
        }
    }

    /// Locks a container, waiting at most this long.
    pub(crate) fn open_within(root: &Path, id: &ContainerId, wait: Duration) -> Result<Opened> {
        for _ in 0..TRIES {
            let Some(place) = Place::find(root, id)? else { return Ok(Opened::Absent) };
            let Some(dir) = place.open()? else { return Ok(Opened::Absent) };
            if !dir::lock(dir.as_fd(), wait)? {
                return Ok(Opened::Busy(busy(&place, wait)));
            }
            let (saved, damage) = match Saved::load(dir.as_fd(), id) {
                Ok(saved) => (saved, None),
                Err(error) => (Saved::new(id), Some(error)),
            };
            // While we waited, the container may have been deleted, and even another one made in its place. Only
            // a deleted one has no state (or one whose creator was killed at once), so the check costs nothing else.
            if damage.is_some() && !dir::is_at(dir.as_fd(), place.parent.as_fd(), &place.name)? {
                continue;
            }
            if damage.is_some()
                && let Some(foreign) = foreign::why(dir.as_fd(), &place.path())?
            {
                return Err(foreign);
            }
            return Ok(Opened::Held(Box::new(Locked { place, dir, saved, damage, doomed: false })));
        }
        Err(Error::new("deleted and created again all the time").at(id))
    }

    /// What is known of the container; an error if its state is missing or damaged.
    pub(crate) fn saved(&self) -> Result<&Saved> {
        match &self.damage {
            None => Ok(&self.saved),
            Some(error) => Err(error
                .clone()
                .at(self.place.path().join(STATE).display())
                .hint(format!("its creator was killed: delete --force {} removes it", self.saved.id))),
        }
    }

    /// What is known of the container, if only its id; for `delete --force`.
    pub(super) fn rest(&self) -> &Saved {
        &self.saved
    }

    /// Changes the state, for readers at once and as a whole.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Saved)) -> Result<()> {
        let mut next = self.saved()?.clone();
        change(&mut next);
        next.store(self.dir.as_fd()).map_err(|e| e.at(self.place.path().display()))?;
        self.saved = next;
        Ok(())
    }

    /// The container's directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The container is gone from the list: its directory is removed with everything in it.
    pub(crate) fn remove(self) -> Result<()> {
        self.place
            .wipe(self.dir.as_fd(), self.saved.joining.seccomp.is_some())
            .map_err(|e| e.at(self.place.path().display()))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.doomed {
            // Nobody is left to tell; `delete --force` finishes what fails here.
            let _ = self.place.wipe(self.dir.as_fd(), self.saved.joining.seccomp.is_some());
        }
        // Not only by closing: init has a copy of the descriptor until its execve, and would keep the lock.
        let _ = dir::unlock(self.dir.as_fd());
    }
}

/// An id that is ours: a new container, locked, its first state written. Dropping it removes the directory again; a
/// process born meanwhile must leave by `_exit`, so that it never does.
#[derive(Debug)]
pub(crate) struct Claim(Locked);

impl Claim {
    /// What is recorded so far.
    pub(crate) fn saved(&self) -> &Saved {
        &self.0.saved
    }

    /// Claims the id, or says that it is taken. `saved` should name what is about to exist.
    pub(crate) fn new(root: &Path, id: &ContainerId, mut saved: Saved) -> Result<Self> {
        for _ in 0..TRIES {
            let place = Place::make(root, id)?;
            let volatile = dir::is_volatile(place.parent.as_fd())?;
            saved.boot = if volatile { None } else { Some(dir::boot_id()?) };
            let at = |error: Error| error.at(place.path().display());
            match dir::make_at(place.parent.as_fd(), &place.name) {
                Ok(()) => {}
                // The levels of a long id can be removed with another one.
                Err(error) if error.errno() == ENOENT => continue,
                Err(error) if error.errno() == EEXIST => {
                    return Err(already_exists());
                }
                Err(error) => return Err(at(error)),
            }
            // Until the lock is ours, a `delete --force` may take the empty directory away; then the id is free.
            let Some(dir) = place.open().map_err(at)? else { continue };
            if !dir::lock(dir.as_fd(), LOCK_WAIT)? {
                return Err(busy(&place, LOCK_WAIT));
            }
            match saved.store(dir.as_fd()) {
                Ok(()) => return Ok(Claim(Locked { place, dir, saved, damage: None, doomed: true })),
                Err(error) if error.errno() == ENOENT => {}
                Err(error) => {
                    // Nothing is in it; the error may be a lack of descriptors, and this takes none.
                    let _ = dir::remove(place.parent.as_fd(), &place.name);
                    place.leave();
                    return Err(at(error));
                }
            }
        }
        Err(Error::new("deleted again and again while it was being created").at(id))
    }

    /// Changes the state, for readers at once and as a whole.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Saved)) -> Result<()> {
        self.0.update(change)
    }

    /// The container's directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.0.dir()
    }

    /// An error of something in the container's directory, which its path then tells.
    pub(crate) fn at(&self, error: Error) -> Error {
        error.at(self.0.place.path().display())
    }

    /// The container stays. Before this, an [`Claim::update`] must have set [`Saved::ready`], with the gate bound.
    pub(crate) fn keep(self) -> Locked {
        let mut locked = self.0;
        locked.doomed = false;
        locked
    }
}

/// A container as a reader sees it, without the lock.
#[derive(Debug)]
pub(crate) struct Seen {
    id: ContainerId,
    dir: OwnedFd,
    saved: Saved,
}

impl Seen {
    /// Reads a container's state; an unknown one is an error, as is one without a valid state.
    pub(crate) fn open(root: &Path, id: &ContainerId) -> Result<Self> {
        let place = Place::find(root, id)?.ok_or_else(no_such_container)?;
        let dir = place.open()?.ok_or_else(no_such_container)?;
        let error = match Saved::load(dir.as_fd(), id) {
            Ok(saved) => return Ok(Seen { id: id.clone(), dir, saved }),
            Err(error) => error,
        };
        if let Some(foreign) = foreign::why(dir.as_fd(), &place.path())? {
            return Err(foreign);
        }
        // Just claimed, just deleted, or its creator was killed at once.
        if error.errno() == ENOENT {
            return Err(no_such_container().hint(format!(
                "its directory does: if nobody creates it now, delete --force {id} removes it"
            )));
        }
        let at = place.path().join(STATE);
        Err(error.at(at.display()).hint(format!("delete --force {id} removes the container")))
    }

    /// What is known of the container.
    pub(crate) fn saved(&self) -> &Saved {
        &self.saved
    }

    /// The container's directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether the creator of a container that is not ready is alive: whether somebody holds the lock. If nobody
    /// does, the state is read again, for the creator may just have finished.
    pub(crate) fn creator_lives(&mut self) -> Result<bool> {
        if !dir::try_lock_shared(self.dir.as_fd())? {
            return Ok(true);
        }
        let again = Saved::load(self.dir.as_fd(), &self.id);
        dir::unlock(self.dir.as_fd())?;
        self.saved = again.map_err(|e| if e.errno() == ENOENT { no_such_container() } else { e })?;
        Ok(false)
    }
}

/// Removes the directories that only a long id has, if they are empty: a runtime that was killed may have left them
/// without the container's own directory.
pub(crate) fn sweep(root: &Path, id: &ContainerId) -> Result<()> {
    let mut names = id.components();
    names.pop();
    let mut above = Vec::new();
    let mut next = dir::open(root).map(Some).or_else(absent)?;
    for name in names {
        let Some(parent) = next else { break };
        next = dir::open_at(parent.as_fd(), &name).map(Some).or_else(absent)?;
        above.push((parent, name));
    }
    ascend(&above);
    Ok(())
}

fn ascend(levels: &[(OwnedFd, String)]) {
    for (parent, name) in levels.iter().rev() {
        if !matches!(dir::remove(parent.as_fd(), name), Ok(true)) {
            return;
        }
    }
}

/// Whether somebody creates or deletes this container right now, or has just done so.
pub(crate) fn in_flux(root: &Path, id: &ContainerId) -> Result<bool> {
    let Some(place) = Place::find(root, id)? else { return Ok(true) };
    let Some(dir) = place.open()? else { return Ok(true) };
    let free = dir::try_lock_shared(dir.as_fd())?;
    if free {
        dir::unlock(dir.as_fd())?;
    }
    Ok(!free)
}

/// The ids of all containers, sorted. Names that are no container's are passed to `foreign`.
pub(crate) fn ids(root: &Path, mut foreign: impl FnMut(&Path)) -> Result<Vec<ContainerId>> {
    let mut found = Vec::new();
    if let Some(top) = dir::open(root).map(Some).or_else(absent)? {
        let mut take = |names: &[String]| match ContainerId::of(names) {
            Some(id) => found.push(id),
            None => foreign(&root.join(names.join("/"))),
        };
        gather(top.as_fd(), &mut Vec::new(), &mut take)?;
    }
    found.sort();
    Ok(found)
}

fn gather(at: BorrowedFd<'_>, above: &mut Vec<String>, take: &mut impl FnMut(&[String])) -> Result<()> {
    for name in dir::names(at)? {
        if above.is_empty() && name == FILTERS {
            continue;
        }
        let level = name.starts_with('~') && above.len() < DEEPEST;
        let inner = if level { dir::open_at(at, &name).map(Some).or_else(absent)? } else { None };
        above.push(name);
        match inner {
            Some(inner) => gather(inner.as_fd(), above, take)?,
            // Removed since we read its name, with the last container in it.
            None if level => {}
            None => take(above),
        }
        above.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    fn claim(root: &Path, text: &str) -> Result<Claim> {
        Claim::new(root, &id(text), Saved::new(&id(text)))
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    fn held(opened: Opened) -> Locked {
        let Opened::Held(locked) = opened else { panic!("{opened:?}") };
        *locked
    }

    fn is_empty(path: &Path) -> bool {
        std::fs::read_dir(path).unwrap().next().is_none()
    }

    #[test]
    fn claims_once_and_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("deep/root");
        let first = claim(&root, "web1").unwrap();
        assert_eq!([mode(&root), mode(&root.join("web1"))], [0o700; 2]);
        assert_eq!(mode(&root.join("web1/state.json")), 0o600);
        let second = claim(&root, "web1").unwrap_err().to_string();
        assert_eq!(second, "container with given ID already exists");
        assert!(root.join("web1/state.json").exists(), "the loser does no harm");
        std::fs::write(root.join("web1/extra"), "").unwrap();
        drop(first);
        assert!(is_empty(&root));
    }

    #[test]
    fn one_of_many_claims_wins() {
        let temp = tempfile::tempdir().unwrap();
        let start = Barrier::new(8);
        for long in [false, true] {
            let name = "n".repeat(if long { 700 } else { 7 });
            let won: Vec<Result<Claim>> = std::thread::scope(|scope| {
                let race = || {
                    start.wait();
                    claim(temp.path(), &name)
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(won.iter().filter(|claim| claim.is_ok()).count(), 1);
        }
        assert!(is_empty(temp.path()));
    }

    #[test]
    fn updates_are_seen_whole() {
        let temp = tempfile::tempdir().unwrap();
        let mut one = claim(temp.path(), "a").unwrap();
        one.update(|saved| saved.pid = Some(7)).unwrap();
        assert_eq!(Seen::open(temp.path(), &id("a")).unwrap().saved(), one.saved());
        let busy = Locked::open_within(temp.path(), &id("a"), Duration::from_millis(20)).unwrap();
        assert!(matches!(busy, Opened::Busy(_)));
        let copy = one.dir().try_clone_to_owned().unwrap();
        drop(one.keep());
        let mut two = Locked::open(temp.path(), &id("a")).unwrap();
        assert_eq!(two.saved().unwrap().pid, Some(7), "the lock is free although a copy of it is open");
        drop(copy);
        two.update(|saved| saved.ready = true).unwrap();
        assert!(two.saved().unwrap().ready);
        two.remove().unwrap();
        assert!(is_empty(temp.path()));
        let unknown = Locked::open(temp.path(), &id("a")).unwrap_err().to_string();
        assert_eq!(unknown, "container does not exist");
        let unknown = Seen::open(&temp.path().join("x"), &id("a")).unwrap_err().to_string();
        assert_eq!(unknown, "container does not exist");
    }

    #[test]
    fn creators_deleters_and_readers_do_not_disturb_each_other() {
        let temp = tempfile::tempdir().unwrap();
        let names = ["a".to_owned(), "l".repeat(300), "l".repeat(600)];
        let create = |name: &str| match claim(temp.path(), name) {
            Ok(mut claim) => {
                claim.update(|saved| saved.ready = true).unwrap();
                drop(claim.keep());
            }
            Err(error) => assert_eq!(error.to_string(), "container with given ID already exists"),
        };
        let delete = |name: &str| match Locked::open_within(temp.path(), &id(name), LOCK_WAIT).unwrap() {
            Opened::Held(locked) => locked.remove().unwrap(),
            Opened::Absent => {}
            Opened::Busy(error) => panic!("{error}"),
        };
        let read = |name: &str| {
            let look = || Seen::open(temp.path(), &id(name))?.creator_lives();
            if let Err(error) = look() {
                assert!(error.to_string().starts_with("container does not exist"), "{error}");
            }
            ids(temp.path(), |path| panic!("{path:?}")).unwrap();
        };
        let acts: [&(dyn Fn(&str) + Sync); 5] = [&create, &create, &delete, &delete, &read];
        std::thread::scope(|scope| {
            for act in acts {
                let names = &names;
                scope.spawn(move || (0..300).for_each(|turn| act(&names[turn % names.len()])));
            }
        });
        names.iter().for_each(|name| delete(name));
        assert!(is_empty(temp.path()));
    }

    #[test]
    fn the_lock_tells_that_the_creator_lives() {
        let temp = tempfile::tempdir().unwrap();
        let mut one = claim(temp.path(), "a").unwrap();
        let mut seen = Seen::open(temp.path(), &id("a")).unwrap();
        assert!(seen.creator_lives().unwrap());
        one.update(|saved| saved.ready = true).unwrap();
        let locked = one.keep();
        assert!(!seen.saved().ready);
        drop(locked);
        assert!(!seen.creator_lives().unwrap());
        assert!(seen.saved().ready, "read again");
    }

    #[test]
    fn waits_for_a_deleter_and_sees_the_successor() {
        let temp = tempfile::tempdir().unwrap();
        let old = claim(temp.path(), "a").unwrap().keep();
        let (tell, told) = std::sync::mpsc::channel();
        let root = temp.path().to_owned();
        let replace = std::thread::spawn(move || {
            told.recv().unwrap();
            old.remove().unwrap();
            let mut new = claim(&root, "a").unwrap();
            new.update(|saved| saved.pid = Some(2)).unwrap();
            drop(new.keep());
        });
        tell.send(()).unwrap();
        // Either it comes before the successor exists, or it gets the successor: never the dead directory.
        match Locked::open_within(temp.path(), &id("a"), Duration::from_secs(20)).unwrap() {
            Opened::Held(locked) => assert!(locked.saved().is_err() || locked.rest().pid != Some(1)),
            other => assert!(matches!(other, Opened::Absent), "{other:?}"),
        }
        replace.join().unwrap();
        let locked = Locked::open(temp.path(), &id("a")).unwrap();
        assert_eq!(locked.rest().pid, Some(2));
    }

    #[test]
    fn a_half_made_container_can_be_removed() {
        let temp = tempfile::tempdir().unwrap();
        for content in [None, Some(""), Some("{}"), Some("null"), Some("{\"version\":")] {
            let dir = temp.path().join("a");
            std::fs::create_dir(&dir).unwrap();
            if let Some(content) = content {
                std::fs::write(dir.join("state.json"), content).unwrap();
            }
            std::fs::write(dir.join("state.json.new"), "{").unwrap();
            assert!(Seen::open(temp.path(), &id("a")).is_err());
            let locked = held(Locked::open_within(temp.path(), &id("a"), Duration::ZERO).unwrap());
            let error = locked.saved().unwrap_err().to_string();
            assert!(error.contains("state.json") && error.contains("--force"), "{error}");
            locked.remove().unwrap();
            assert!(is_empty(temp.path()));
        }
    }

    #[test]
    fn another_run_of_the_machine_is_forgotten() {
        let temp = tempfile::tempdir().unwrap();
        drop(claim(temp.path(), "a").unwrap().keep());
        let file = temp.path().join("a/state.json");
        let mut saved: Saved = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        (saved.pid, saved.start_time) = (Some(1), Some(1));
        for (boot, pid) in
            [(None, Some(1)), (Some(dir::boot_id().unwrap()), Some(1)), (Some("x".into()), None)]
        {
            saved.boot = boot;
            std::fs::write(&file, serde_json::to_vec(&saved).unwrap()).unwrap();
            assert_eq!(Seen::open(temp.path(), &id("a")).unwrap().saved().pid, pid);
        }
        saved.version = 2;
        std::fs::write(&file, serde_json::to_vec(&saved).unwrap()).unwrap();
        let error = Seen::open(temp.path(), &id("a")).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }

    #[test]
    fn long_ids_share_their_beginning() {
        let temp = tempfile::tempdir().unwrap();
        let names: Vec<String> = [254, 255, 256, 508, 509, 700, 1024].map(|n| "x".repeat(n)).to_vec();
        let locked: Vec<Locked> = names.iter().map(|n| claim(temp.path(), n).unwrap().keep()).collect();
        assert!(claim(temp.path(), &names[5]).is_err());
        std::fs::create_dir(temp.path().join("~foreign")).unwrap();
        std::fs::write(temp.path().join("=x"), "").unwrap();
        let mut foreign = Vec::new();
        let found = ids(temp.path(), |path| foreign.push(path.to_owned())).unwrap();
        let found: Vec<&str> = found.iter().map(ContainerId::as_str).collect();
        assert_eq!(found, names);
        assert_eq!(foreign, [temp.path().join("=x")]);
        for one in locked {
            one.remove().unwrap();
        }
        let deep = id(&names[6]);
        for left in 1..=4 {
            dir::make_all(&temp.path().join(deep.components()[..left].join("/"))).unwrap();
            sweep(temp.path(), &deep).unwrap();
        }
        sweep(&temp.path().join("none"), &deep).unwrap();
        std::fs::remove_dir(temp.path().join("~foreign")).unwrap();
        std::fs::remove_file(temp.path().join("=x")).unwrap();
        assert!(is_empty(temp.path()));
        assert_eq!(ids(&temp.path().join("none"), |_| ()).unwrap(), []);
    }
}
