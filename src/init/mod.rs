//! Between birth and execve: the interpreter of steps. It walks the plan's list where it stands (a fork copied it),
//! meets the runtime where the list says so, and becomes the container's process. It reads no config, decides
//! nothing, starts no thread.

pub(crate) mod birth;
pub(crate) mod console;
mod copy_up;
pub(crate) mod hook;
mod identity;
mod label;
pub(crate) mod link;
pub(crate) mod mounts;
pub(crate) mod property;
mod root;

use crate::error::{Error, Result};
use crate::plan::step::{Handle, HandleId, MountCall, Planned, Point, StateText, Step};
use crate::sys::{mount, namespace, process, seccomp, socket};
use console::Attendant;
use link::Link;
use mounts::Covers;
use root::Root;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// What init was born with.
pub(crate) struct Inheritance<'a> {
    /// The list.
    pub(crate) steps: &'a [Planned],
    /// What the handles are, for those that init opens itself.
    pub(crate) handles: &'a [(crate::plan::step::Field, Handle)],
    /// What the runtime opened before birth.
    pub(crate) opened: Vec<Option<OwnedFd>>,
    /// How mounts are changed.
    pub(crate) mounts: MountCall,
    /// The state that hooks read.
    pub(crate) state: &'a StateText,
    /// The wire to the runtime.
    pub(crate) link: Link,
    /// The start gate's listener.
    pub(crate) gate: Option<OwnedFd>,
    /// Who attends the process's terminal.
    pub(crate) console: Option<Attendant>,
    /// Where [`Step::Fork`] leaves the pid of the newborn.
    pub(crate) born: &'a AtomicU32,
    /// Which step is being done, for the runtime to read when init was killed.
    pub(crate) progress: &'a AtomicU32,
    /// Descriptors from 3 on that the caller handed over for the container.
    pub(crate) preserved: Vec<i32>,
    /// The program of linux.seccomp.
    pub(crate) filter: Option<Vec<u8>>,
    /// exec: a process of the container, whose namespaces are entered.
    pub(crate) beside: Option<OwnedFd>,
}

impl Inheritance<'_> {
    /// What the runtime had open is none of init's: the state directory, the log, what its caller leaked.
    fn close_others(&self, cgroup: Option<BorrowedFd<'_>>) {
        let console = self.console.iter().map(|console| &console.socket);
        let ours = self.opened.iter().flatten().chain(&self.gate).chain(console).chain(&self.beside);
        let ours = ours.chain([self.link.fd()]).map(AsRawFd::as_raw_fd);
        let ours = ours.chain(cgroup.map(|fd| fd.as_raw_fd()));
        let ours = ours.chain(self.preserved.iter().copied());
        process::close_all_but(&mut ours.collect::<Vec<_>>());
    }
}

/// Init at work.
struct Init<'a> {
    inherited: Inheritance<'a>,
    root: Option<Root>,
    proc: Option<OwnedFd>,
    covers: Covers,
    arrived: bool,
    home: Option<CString>,
    announced: Vec<CString>,
    executable: Option<CString>,
    /// How the filter is to be loaded before execve: flags, and whether there is a listener.
    filter: Option<(u32, bool)>,
}

/// Walks the list. It ends in execve, or in `Failed` and an exit.
pub(crate) fn run(inherited: Inheritance<'_>) -> ! {
    let mut init = Init {
        inherited,
        root: None,
        proc: None,
        covers: Covers::default(),
        arrived: false,
        home: None,
        announced: Vec::new(),
        executable: None,
        filter: None,
    };
    process::default_signals();
    init.inherited.close_others(None);
    // The process's own umask would take bits from what it makes; process.user.umask comes as a step.
    process::umask(0);
    let steps = init.inherited.steps;
    for (i, planned) in steps.iter().enumerate() {
        init.inherited.progress.store(i as u32, Relaxed);
        if let Err(error) = init.step(&planned.step) {
            // If the runtime is gone there is nobody to tell.
            let _ = init.inherited.link.failed(&error.at(&planned.field));
            break;
        }
    }
    process::exit_now(1)
}

impl Init<'_> {
    /// One act. All arms on one screen: this is the whole vocabulary.
    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Meet(point) => self.meet(*point),
            Step::BecomeRoot { setgroups } => self.become_root(*setgroups),
            Step::Guard => self.guard(),
            Step::Unguard => process::die_with_parent(false),
            Step::Unshare(flags) => namespace::unshare(*flags),
            Step::Setns(handle, kind) => namespace::setns(self.take(*handle), kind.flag()),
            Step::Enter(flags) => self.enter(*flags),
            Step::EnterRoot(handle) => {
                process::fchdir(self.take(*handle))?;
                mount::chroot_here()
            }
            Step::Fork => self.fork(),
            Step::Setsid => process::setsid(),
            Step::SessionKeyring(name) => self.session_keyring(name),
            Step::LoopbackUp => process::loopback_up(),
            Step::Hostname(name) => process::sethostname(name),
            Step::Domainname(name) => process::setdomainname(name),
            Step::IsolateMounts(flags) | Step::RootPropagation(flags) => mount::propagate_root(*flags),
            Step::OpenTree(handle) => self.open_tree(*handle),
            Step::AttachRoot { tree, at, propagation } => self.attach_root(*tree, at, *propagation),
            Step::OpenRoot(at) => self.open_root(at),
            Step::Mount { at, source, point, links, attr, propagation } => {
                let placed = self.mount(at, source, *point, *links)?;
                self.change(&placed, *attr, propagation)
            }
            Step::SetAttr { at, attr, deep, propagation } => self.set_attr(at, *attr, *deep, propagation),
            Step::Remount { at, flags, data } => self.remount(at, *flags, data),
            Step::CopySymlink { source, at } => self.copy_symlink(source, at),
            Step::Device { at, mode, number, uid, gid } => self.device(at, *mode, *number, (*uid, *gid)),
            Step::Symlink { target, at } => self.symlink(target, at),
            Step::Mask { at, null, label } => self.mask(at, *null, label.as_deref()),
            Step::ReadOnly { at, recursive } => self.read_only(at, *recursive),
            Step::Sysctl { path, value } => self.sysctl(path, value),
            Step::Hook(hook) => hook::run(hook, &self.inherited.state.with(&hook.status, process::getpid())),
            Step::Console { size, bind } => self.console(*size, *bind),
            Step::PivotRoot => self.enter_root(mount::pivot_to_working_directory),
            Step::MoveRoot => self.enter_root(mounts::leave_and_move_root),
            Step::Chroot => self.enter_root(mount::chroot_here),
            Step::RootReadonly => self.root_readonly(),
            Step::MakeDirectory(at) => self.make_directory(at),
            Step::Gate => self.gate(),
            Step::Become(act) => self.become_it(act),
        }
    }

    fn meet(&mut self, point: Point) -> Result<()> {
        if point == Point::Created {
            // From here on the closed wire tells of the runtime's death; its normal end must not kill us.
            process::die_with_parent(false)?;
        }
        self.inherited.link.at(point)?;
        if !self.inherited.link.wait_for_go()? {
            process::exit_now(1);
        }
        Ok(())
    }

    fn link_is_closed(&self) -> bool {
        let fd = self.inherited.link.fd().as_fd();
        // `Go` may be there already.
        socket::hung_up(fd).unwrap_or(true)
    }

    fn enter(&mut self, flags: i32) -> Result<()> {
        let process = self.inherited.beside.take();
        let process = process.ok_or_else(|| Error::new("init was born without a process to join"))?;
        namespace::setns(process, flags).map_err(|e| match e.errno() {
            nix::libc::ESRCH => e.hint("the container has just ended"),
            _ => e.hint("exec needs the privileges that the container was created with"),
        })
    }

    fn fork(&mut self) -> Result<()> {
        // What fork(2) says of a pid namespace whose first process has ended.
        let explain = |e: Error| match e.errno() {
            nix::libc::ENOMEM => e.hint("the container may just have ended"),
            _ => e,
        };
        namespace::reborn(self.inherited.born).map_err(explain)
    }

    /// Waits for `start`. Who connects and hangs up without a word only wanted to see that we wait.
    fn gate(&mut self) -> Result<()> {
        let listener =
            self.inherited.gate.take().ok_or_else(|| Error::new("init was born without a gate"))?;
        loop {
            let link = Link::of(socket::accept(listener.as_fd())?);
            if link.wait_for_go().unwrap_or(false) {
                self.inherited.link = link;
                return Ok(());
            }
        }
    }

    /// Kernels without keyrings, and full quotas of unprivileged users, are no reason to fail.
    fn session_keyring(&self, name: &std::ffi::CStr) -> Result<()> {
        match process::join_session_keyring(name) {
            Err(e) if [nix::libc::ENOSYS, nix::libc::EDQUOT].contains(&e.errno()) => Ok(()),
            other => other,
        }
    }

    fn open_tree(&mut self, id: HandleId) -> Result<()> {
        let Handle::Tree(tree) = &self.inherited.handles[id.0].1 else {
            return Err(Error::new("the handle is no tree"));
        };
        self.inherited.opened[id.0] = Some(mounts::open_tree(tree, None)?);
        Ok(())
    }

    fn take(&mut self, id: HandleId) -> OwnedFd {
        self.inherited.opened[id.0].take().expect("the plan opens a handle before its only use")
    }

    fn root(&mut self) -> &mut Root {
        self.root.as_mut().expect("the plan attaches the root before its first use")
    }

    fn enter_root(&mut self, enter: fn() -> Result<()>) -> Result<()> {
        process::fchdir(&self.root().fd)?;
        enter()
    }

    fn keep_descriptors(&self, count: u32) -> Result<()> {
        process::cloexec_from(3 + count)?;
        let kept = self.inherited.preserved.iter();
        kept.into_iter().try_for_each(|&fd| process::survive_execve(fd))
    }

    fn execve(&mut self, args: &[CString], env: &[CString]) -> Result<()> {
        let executable = self.executable.take().ok_or_else(|| Error::new("no executable was looked for"))?;
        self.inherited.link.at(Point::Going)?;
        let env: Vec<CString> =
            env.iter().cloned().chain(self.home.take()).chain(self.announced.drain(..)).collect();
        Err(process::execve(&executable, args, &env, || {
            self.filter.map_or(Ok(()), |(flags, listener)| self.load_filter(flags, listener))
        }))
    }

    /// From here on the program of linux.seccomp decides about every call, mostly about the two that are left: with a
    /// listener the one that hands it over, and execve(2). Nothing is allocated and nothing closed any more.
    fn load_filter(&self, flags: u32, listener: bool) -> Result<()> {
        let program = self.inherited.filter.as_deref();
        let program = program.ok_or_else(|| Error::new("no filter was compiled").at("linux.seccomp"))?;
        let loaded = seccomp::set_mode_filter(program, flags).map_err(|e| e.at("linux.seccomp"))?;
        match loaded {
            Some(fd) if listener => {
                let told = self.inherited.link.listening(fd.as_fd());
                // It closes on execve, as it was opened; close(2) might be forbidden, or be asked of the agent.
                std::mem::forget(fd);
                told.map_err(|e| {
                    e.at("linux.seccomp").hint("the filter must allow sendmsg: the listener leaves by it")
                })
            }
            _ => Ok(()),
        }
    }
}
