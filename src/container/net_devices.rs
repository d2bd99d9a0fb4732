//! linux.netDevices (config-linux.md, Network Devices): the runtime moves devices of its own network namespace into the
//! container's, while init waits, and takes all of them back if the container does not come to be. It never moves one out
//! of a container that was created: whose the namespace is, decides.

use crate::error::{Error, Result};
use crate::plan::net_devices::NetDevice;
use crate::sys::netlink::{Address, Link, Netlink};
use crate::sys::{fs, namespace, pidfd, process, socket};
use nix::libc;
use rustix::fs::OFlags;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// The kernel's own name for a device whose name is taken where it comes back to (dev_change_net_namespace).
const FALLBACK: &str = "dev%d";

/// Devices that were moved. Dropped, they move back; kept, they stay.
#[must_use]
pub(super) struct Moved {
    worlds: Option<Worlds>,
    devices: Vec<Device>,
    warn: fn(&str),
}

/// The two network namespaces.
struct Worlds {
    host: Netlink,
    namespace: OwnedFd,
    container: Netlink,
}

/// A device on its way.
struct Device {
    /// As it was on the host.
    link: Link,
    /// What it had there.
    addresses: Vec<Address>,
    /// Its number in the container.
    index: u32,
}

impl Moved {
    /// No device; `warn` is told what does not come back.
    pub(super) fn none(warn: fn(&str)) -> Self {
        Moved { worlds: None, devices: Vec::new(), warn }
    }

    /// Moves the devices into the network namespace of the process at `pid`, which is a child of ours and waits. That all
    /// of them exist and that their names are free is seen before the first is moved.
    ///
    /// # Errors
    /// With the device's field. What was moved before is still ours to take back.
    pub(super) fn move_all(&mut self, devices: &[NetDevice], pid: i32) -> Result<()> {
        let target = namespace_of(&pid.to_string())?;
        let (host, container) = (Netlink::open()?, socket_within(&target)?);
        let worlds = self.worlds.insert(Worlds { host, namespace: namespace_of("self")?, container });
        let found: Vec<_> = devices
            .iter()
            .map(|device| worlds.look_up(device).map_err(|e| e.at(device.field())))
            .collect::<Result<_>>()?;
        for (device, (link, addresses)) in devices.iter().zip(found) {
            let name = device.name.clone().unwrap_or_else(|| link.name.clone());
            let (index, moved) = worlds.take(&link, &target);
            self.devices.extend(index.map(|index| Device { link, addresses, index }));
            let furnish = |()| self.devices.last().map_or(Ok(()), |moved| worlds.furnish(moved, &name));
            moved.and_then(furnish).map_err(|e| e.at(device.field()))?;
        }
        Ok(())
    }

    /// They stay where they are.
    pub(super) fn keep(mut self) {
        self.devices.clear();
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        let Some(worlds) = &self.worlds else { return };
        for device in self.devices.drain(..).rev() {
            if let Err(error) = worlds.give_back(&device) {
                let field = format!("linux.netDevices {:?}", device.link.name);
                (self.warn)(&format!("{field}: is not as it was: {error}"));
            }
        }
    }
}

impl Worlds {
    /// The device and its addresses, if it can be moved.
    fn look_up(&self, device: &NetDevice) -> Result<(Link, Vec<Address>)> {
        let link = self.host.link(&device.host)?.ok_or_else(|| {
            Error::new("there is no such network device")
                .hint("it has to be in the runtime's network namespace")
        })?;
        let name = device.name.as_ref().unwrap_or(&link.name);
        if !name.contains('%') && self.container.link(name)?.is_some() {
            return Err(Error::new(format!(
                "the container's network namespace already has a device {name:?}"
            ))
            .hint("give it another name, or a template such as \"eth%d\""));
        }
        let addresses = self.host.addresses(link.index)?;
        Ok((link, addresses))
    }

    /// Moves it, under a name that nothing else has there: the kernel changes the namespace first and the name second,
    /// and only by its name do we know it again.
    ///
    /// # Returns
    /// Its number in the container, if it is there now, which it may be although the name was refused.
    fn take(&self, link: &Link, target: &OwnedFd) -> (Option<u32>, Result<()>) {
        let name = format!("onggi{}", process::getpid());
        let moved = self.host.move_link(link, target.as_fd(), &name);
        let found = match &moved {
            Ok(()) => self.container.link(&name),
            Err(_) if matches!(self.host.link_at(link.index), Ok(None)) => self.container.link(&link.name),
            Err(_) => Ok(None),
        };
        let index = found.as_ref().ok().and_then(|found| found.as_ref()).map(|found| found.index);
        let moved = moved.and(found).and_then(|found| found.map(drop).ok_or_else(gone));
        (index, moved)
    }

    /// Its name, the addresses that it keeps, and up: in the container.
    fn furnish(&self, device: &Device, name: &str) -> Result<()> {
        self.container.rename(device.index, name)?;
        let link = self.container.link_at(device.index)?.ok_or_else(gone)?;
        for address in device.addresses.iter().filter(|it| it.is_permanent() && it.is_global()) {
            self.container.add_address(&link, address, &device.link.name)?;
        }
        self.container.set_up(link.index)
    }

    /// Back on the host it gets all that somebody had given it; its routes went with the move.
    fn give_back(&self, device: &Device) -> Result<()> {
        let inside = self.container.link_at(device.index)?.ok_or_else(gone)?;
        let link = self.hand_back(&inside, &device.link)?;
        let mut done = Ok(());
        for address in device.addresses.iter().filter(|it| it.is_permanent()) {
            let added = match self.host.add_address(&link, address, &device.link.name) {
                // The kernel gives some by itself.
                Err(e) if e.errno() == libc::EEXIST => Ok(()),
                other => other,
            };
            done = done.and(added);
        }
        done.and(if device.link.up { self.host.set_up(link.index) } else { Ok(()) })
    }

    /// To the host, under its old name, or, where that is taken meanwhile, as the kernel would call it.
    fn hand_back(&self, inside: &Link, link: &Link) -> Result<Link> {
        let name = format!("onggi{}", process::getpid());
        self.container.move_link(inside, self.namespace.as_fd(), &name)?;
        let back = self.host.link(&name)?.ok_or_else(gone)?;
        match self.host.rename(back.index, &link.name) {
            Err(e) if e.errno() == libc::EEXIST => self.host.rename(back.index, FALLBACK)?,
            other => other?,
        }
        self.host.link_at(back.index)?.ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::new("the network device is gone")
}

/// The network namespace of a process: of `self`, or of our waiting child.
fn namespace_of(pid: &str) -> Result<OwnedFd> {
    let path = CString::new(format!("/proc/{pid}/ns/net")).expect("neither word nor digits have a NUL");
    let fd = fs::open_host(&path, OFlags::RDONLY)?;
    if fs::magic(&fd)? != fs::NSFS_MAGIC {
        return Err(Error::new("/proc is not a procfs"));
    }
    Ok(fd)
}

/// A socket in another network namespace. The runtime never enters it: a process that does makes the socket, hands it
/// over, and is gone.
fn socket_within(target: &OwnedFd) -> Result<Netlink> {
    let (near, far) = socket::pair()?;
    let clone = namespace::Clone { flags: 0, cgroup: None, exit_signal: libc::SIGCHLD, pid: None };
    let pidfd = match namespace::clone3(&clone)? {
        namespace::Side::Child => {
            let made = namespace::setns(target, libc::CLONE_NEWNET).and_then(|()| Netlink::open());
            let _ = match &made {
                Ok(made) => socket::send(far.as_fd(), &[0; 4], &[made.fd().as_fd()]),
                Err(error) => socket::send(far.as_fd(), &error.errno().to_ne_bytes(), &[]),
            };
            process::exit_now(0)
        }
        namespace::Side::Parent(_, pidfd) => namespace::own(pidfd),
    };
    drop(far);
    let mut errno = [0; 4];
    let received = socket::recv(near.as_fd(), &mut errno);
    pidfd::reap(pidfd.as_fd())?;
    match received?.map(|received| received.fds).map(|[first, ..]| first) {
        Some(Some(socket)) => Ok(Netlink::of(socket)),
        Some(None) => Err(Error::call("setns(network)", i32::from_ne_bytes(errno))),
        None => Err(Error::new("the process that makes a socket in the container's network was killed")),
    }
}
