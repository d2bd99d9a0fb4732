//! The network interfaces of a container, with what went through them: /proc/PID/net/dev (proc_pid_net(5)), which
//! shows the network namespace of that process without entering it.

use crate::error::{Error, Result};
use crate::sys::fs::{self, PROC_MAGIC};
use nix::libc::{EACCES, ENOENT, EPERM, ESRCH};
use rustix::fs::OFlags;
use serde::Serialize;
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Two hundred bytes for each interface: room for some five thousand.
const LIMIT: usize = 1 << 20;
/// The two lines of /proc/PID/net/dev that name the columns.
const HEAD: usize = 2;

/// An interface. The names are those of runc, which has them from Go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Interface {
    name: String,
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

/// All interfaces but the loopback. None: the container has the runtime's own network, whose figures are not the
/// container's; or it cannot be seen. The caller makes sure afterwards that the process was still there.
pub(super) fn of(pid: i32) -> Result<Option<Vec<Interface>>> {
    let look = || {
        let proc = fs::open_host(c"/proc", OFlags::PATH | OFlags::DIRECTORY)?;
        if fs::magic(&proc)? != PROC_MAGIC {
            return Err(Error::new("/proc is not procfs"));
        }
        if namespace(&proc, pid)? == namespace(&proc, std::process::id() as i32)? {
            return Ok(None);
        }
        let path = path(&format!("{pid}/net/dev"))?;
        let file = fs::open_same_mount(&proc, &path, OFlags::RDONLY)?;
        let bytes = fs::read_bounded(&file, LIMIT, &path)?;
        parse(&String::from_utf8_lossy(&bytes), bytes.len() == LIMIT, &format!("/proc/{pid}/net/dev"))
            .map(Some)
    };
    match look() {
        Err(error) if [EACCES, EPERM, ENOENT, ESRCH].contains(&error.errno()) => Ok(None),
        interfaces => interfaces,
    }
}

/// `net:[4026531840]`; the link is read, never followed.
fn namespace(proc: &OwnedFd, pid: i32) -> Result<CString> {
    let links = fs::open_same_mount(proc, &path(&format!("{pid}/ns"))?, OFlags::PATH | OFlags::DIRECTORY)?;
    fs::readlinkat(&links, c"net")
}

fn path(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("NUL in a path"))
}

/// `cut`: the text ends too early, and its last line does not count.
fn parse(text: &str, cut: bool, path: &str) -> Result<Vec<Interface>> {
    let end = if cut { text.rfind('\n').unwrap_or(0) } else { text.len() };
    let mut interfaces = Vec::new();
    for (at, line) in text[..end].lines().enumerate().skip(HEAD) {
        let malformed = || Error::new(format!("malformed line {line:?}")).at(format!("{path}:{}", at + 1));
        let (name, figures) = line.rsplit_once(':').ok_or_else(malformed)?;
        let figures: Vec<u64> = figures.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // bytes packets errs drop fifo frame compressed multicast, then bytes packets errs drop of the other way
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = figures[..]
        else {
            return Err(malformed());
        };
        let name = name.trim().to_owned();
        if name != "lo" {
            interfaces.push(Interface {
                name,
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            });
        }
    }
    Ok(interfaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    6386      58    0    0    0     0          0         0     6386      58    0    0    0     0       0          0
  eth0: 721497192   21568    3    4    5     6          7         8  1191337   13204    9   10   11    12      13         14
a_long_name_eth:1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0
";

    #[test]
    fn every_interface_but_the_loopback() {
        let found = parse(DEV, false, "dev").unwrap();
        assert_eq!(
            serde_json::to_string(&found[0]).unwrap(),
            r#"{"Name":"eth0","RxBytes":721497192,"RxPackets":21568,"RxErrors":3,"RxDropped":4,"TxBytes":1191337,"TxPackets":13204,"TxErrors":9,"TxDropped":10}"#
        );
        assert_eq!((found.len(), found[1].name.as_str()), (2, "a_long_name_eth"));
        assert_eq!((found[1].rx_bytes, found[1].tx_dropped), (1, 8));
    }

    #[test]
    fn broken_lines_are_named_and_a_cut_one_does_not_count() {
        let broken = format!("{DEV}eth1: 1 2 3\n");
        let error = parse(&broken, false, "dev").unwrap_err().to_string();
        assert_eq!(error, "dev:6: malformed line \"eth1: 1 2 3\"");
        assert!(parse(&format!("{DEV}x\n"), false, "dev").is_err());
        assert_eq!(parse(broken.trim_end(), true, "dev").unwrap().len(), 2);
        assert!(parse("", true, "dev").unwrap().is_empty());
    }

    #[test]
    fn our_own_network_is_nobodys() {
        assert_eq!(of(std::process::id() as i32).unwrap(), None);
        assert_eq!(of(i32::MAX).unwrap(), None);
    }
}
