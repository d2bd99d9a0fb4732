//! rtnetlink(7), as much of it as moving a network device takes: links and addresses are read, a link is moved,
//! renamed, set up, an address is added. One request, then its replies until the kernel's last word, within a bound of
//! time; every length is checked, and what does not come from the kernel does not count. Nothing here decides.

use crate::error::{Error, Result};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recvfrom, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// linux/netlink.h
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_EXCL_CREATE: u16 = 0x600;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NETLINK_CAP_ACK: libc::c_int = 10;
const NETLINK_EXT_ACK: libc::c_int = 11;

/// linux/rtnetlink.h
const RTM_GETLINK: u16 = 18;
const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

/// linux/if_link.h
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;

/// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;

/// linux/if_addr.h
const IFA_F_PERMANENT: u32 = 0x80;
/// IFA_F_NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN: what whoever adds an address may choose. The other
/// flags tell what has become of it.
const CHOSEN_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// RT_SCOPE_UNIVERSE, linux/rtnetlink.h
const GLOBAL: u8 = 0;
/// net/if.h
const IFF_UP: u32 = 1;

/// The kernel's answers come in packets of at most 32 KiB (netlink_dump in af_netlink.c).
const LONGEST: usize = 64 * 1024;
/// How long the kernel may take for an answer, in seconds: it waits for whoever holds its lock of network devices.
const PATIENCE: i64 = 30;
/// How often a list is read again because it has changed meanwhile.
const ATTEMPTS: usize = 8;
/// Bytes of nlmsghdr, ifinfomsg, ifaddrmsg.
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// A socket in one network namespace: where it was made, whoever uses it.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: Cell<u32>,
}

/// A network device, as its namespace knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number.
    pub(crate) index: u32,
    /// Its name, at most 15 bytes.
    pub(crate) name: String,
    /// IFF_UP
    pub(crate) up: bool,
}

/// An address of a network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    /// What describes it besides: (attribute, value).
    rest: Vec<(u16, Vec<u8>)>,
    /// `eth0:1`: IPv4 only.
    label: Option<String>,
}

impl Address {
    /// Somebody gave it to the device for good (IFA_F_PERMANENT).
    pub(crate) fn is_permanent(&self) -> bool {
        self.flags & IFA_F_PERMANENT != 0
    }

    /// Valid everywhere (RT_SCOPE_UNIVERSE).
    pub(crate) fn is_global(&self) -> bool {
        self.scope == GLOBAL
    }
}

/// `192.0.2.1/24`
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |kind: u16| self.rest.iter().find(|(have, _)| *have == kind).map(|(_, value)| &value[..]);
        let bytes = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS)).unwrap_or_default();
        match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(four), _) => write!(f, "{}/{}", std::net::Ipv4Addr::from(four), self.prefix),
            (_, Ok(sixteen)) => write!(f, "{}/{}", std::net::Ipv6Addr::from(sixteen), self.prefix),
            _ => write!(f, "an address of family {}", self.family),
        }
    }
}

impl Netlink {
    /// A socket in the network namespace of the caller.
    pub(crate) fn open() -> Result<Self> {
        let failed = |call: &'static str| move |errno: nix::Error| Error::call(call, errno as i32);
        let route = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)
            .map_err(failed("socket(AF_NETLINK)"))?;
        // Connected to the kernel, it takes messages of nobody else.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(failed("connect(AF_NETLINK)"))?;
        Ok(Netlink::of(socket))
    }

    /// Takes over a socket that [`Netlink::open`] made.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            explain_errors(&socket, option);
        }
        // A bound; without it the kernel's answer comes all the same.
        let _ = setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE));
        Netlink { socket, sequence: Cell::new(0) }
    }

    /// The descriptor, to be sent to another process.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.socket
    }

    /// RTM_GETLINK: the device of this name (or alternative name); None if there is none.
    pub(crate) fn link(&self, name: &str) -> Result<Option<Link>> {
        let call = || format!("RTM_GETLINK({name:?})");
        let request = Request::link(RTM_GETLINK, 0, 0).attribute(IFLA_IFNAME, &terminated(name));
        self.one_link(request, call)
    }

    /// RTM_GETLINK: the device of this number; None if there is none.
    pub(crate) fn link_at(&self, index: u32) -> Result<Option<Link>> {
        self.one_link(Request::link(RTM_GETLINK, index, 0), || format!("RTM_GETLINK({index})"))
    }

    fn one_link(&self, request: Request, call: impl Fn() -> String) -> Result<Option<Link>> {
        let mut found = None;
        let done = self.ask(request, NLM_F_ACK, &call, |kind, body| {
            if kind == RTM_NEWLINK {
                found = Some(read_link(body)?);
            }
            Ok(())
        });
        match done {
            Err(e) if e.errno() == libc::ENODEV => Ok(None),
            Err(e) => Err(e),
            Ok(_) => Ok(found),
        }
    }

    /// RTM_GETADDR: the addresses of the device of this number, of all families, in the kernel's order.
    pub(crate) fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let call = || format!("RTM_GETADDR({index})");
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            let request = Request::new(RTM_GETADDR, &[0; ADDRESS_HEADER]);
            let whole = self.ask(request, NLM_F_DUMP, &call, |kind, body| {
                if kind == RTM_NEWADDR {
                    found.extend(read_address(body, index)?);
                }
                Ok(())
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(Error::call(call(), libc::EAGAIN))
    }

    /// RTM_SETLINK: moves a device into another network namespace. It is down afterwards, without addresses, and has
    /// this name. If the name is refused it may have been moved nevertheless, under its old name.
    pub(crate) fn move_link(&self, link: &Link, namespace: BorrowedFd<'_>, name: &str) -> Result<()> {
        let request = Request::link(RTM_SETLINK, link.index, 0)
            .attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())
            .attribute(IFLA_IFNAME, &terminated(name));
        self.change(request, 0, || format!("RTM_SETLINK({:?}, network namespace)", link.name))
    }

    /// RTM_SETLINK: gives a device that is down another name; `eth%d` is the first of its kind that is free.
    pub(crate) fn rename(&self, index: u32, name: &str) -> Result<()> {
        let request = Request::link(RTM_SETLINK, index, 0).attribute(IFLA_IFNAME, &terminated(name));
        self.change(request, 0, || format!("RTM_SETLINK(name {name:?})"))
    }

    /// RTM_SETLINK: sets a device up.
    pub(crate) fn set_up(&self, index: u32) -> Result<()> {
        self.change(Request::link(RTM_SETLINK, index, IFF_UP), 0, || format!("RTM_SETLINK({index}, up)"))
    }

    /// RTM_NEWADDR: gives the device an address that another one had. EEXIST: it has it.
    pub(crate) fn add_address(&self, link: &Link, address: &Address, old_name: &str) -> Result<()> {
        let Address { family, prefix, scope, flags, rest, label } = address;
        let flags = flags & CHOSEN_FLAGS;
        let mut head = vec![*family, *prefix, flags as u8, *scope];
        head.extend(link.index.to_ne_bytes());
        let mut request = Request::new(RTM_NEWADDR, &head).attribute(IFA_FLAGS, &flags.to_ne_bytes());
        for (kind, value) in rest {
            request = request.attribute(*kind, value);
        }
        // `eth0:1` is `net1:1` where eth0 is net1.
        let number = label.as_deref().and_then(|label| label.strip_prefix(old_name));
        let label = number.map(|number| format!("{}{number}", link.name));
        if let Some(label) = label.filter(|label| label.len() < libc::IFNAMSIZ) {
            request = request.attribute(IFA_LABEL, &terminated(&label));
        }
        self.change(request, NLM_F_EXCL_CREATE, || format!("RTM_NEWADDR({address} on {:?})", link.name))
    }

    fn change(&self, request: Request, flags: u16, call: impl Fn() -> String) -> Result<()> {
        self.ask(request, NLM_F_ACK | flags, &call, |_, _| Ok(())).map(drop)
    }

    /// One request with its replies, up to the kernel's last word. False: the list changed while it was read.
    fn ask(
        &self,
        request: Request,
        flags: u16,
        call: &dyn Fn() -> String,
        mut each: impl FnMut(u16, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        let failed = |errno: nix::Error| Error::call(call(), errno as i32);
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let bytes = request.finish(NLM_F_REQUEST | flags, sequence);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(failed)?;
        let mut buffer = vec![0; LONGEST];
        let mut whole = true;
        loop {
            let (length, from) = match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Err(nix::Error::EINTR) => continue,
                other => other.map_err(failed)?,
            };
            if from.is_some_and(|from| from.pid() != 0) {
                continue;
            }
            for message in Messages(buffer.get(..length).ok_or_else(malformed)?) {
                let message = message.map_err(|e| e.at(call()))?;
                if message.sequence != sequence {
                    continue;
                }
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return message.verdict(call).map(|()| whole);
                    }
                    kind => each(kind, message.body)?,
                }
            }
        }
    }
}

/// setsockopt(SOL_NETLINK): errors come with words. Linux 4.12; without it they come without.
fn explain_errors(socket: &OwnedFd, option: libc::c_int) {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let value = std::ptr::from_ref(&on).cast();
    // SAFETY: the option is an int, which lives over the call.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, value, length) };
}

fn malformed() -> Error {
    Error::new("a message of the kernel makes no sense")
}

fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// A message under construction.
struct Request(Vec<u8>);

impl Request {
    /// `head` is the struct that messages of this kind begin with.
    fn new(kind: u16, head: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(head);
        Request(bytes)
    }

    /// About a link: struct ifinfomsg, with these flags set.
    fn link(kind: u16, index: u32, flags: u32) -> Self {
        let mut head = [0; LINK_HEADER];
        head[4..8].copy_from_slice(&index.to_ne_bytes());
        head[8..12].copy_from_slice(&flags.to_ne_bytes());
        head[12..16].copy_from_slice(&flags.to_ne_bytes());
        Request::new(kind, &head)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self, flags: u16, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A message of the kernel.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// The last word: struct nlmsgerr, or the int behind a list.
    fn verdict(&self, call: &dyn Fn() -> String) -> Result<()> {
        let errno = match self.body {
            [] => 0,
            body => i32::from_ne_bytes(array(body, 0)?),
        };
        if errno == 0 {
            return Ok(());
        }
        let error = Error::call(call(), errno.saturating_neg());
        Err(match self.words() {
            Some(words) => error.hint(format!("the kernel says: {words}")),
            None => error,
        })
    }

    /// NLMSGERR_ATTR_MSG, behind the copy of the request.
    fn words(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 || self.kind != NLMSG_ERROR {
            return None;
        }
        let copied = u32::from_ne_bytes(array(self.body, 4).ok()?) as usize;
        let copied =
            if self.flags & NLM_F_CAPPED != 0 { HEADER } else { copied.checked_next_multiple_of(4)? };
        let attributes = self.body.get(copied.checked_add(4)?..)?;
        let (_, words) = Attributes(attributes).flatten().find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
        text(words).ok()
    }
}

/// The messages of a packet.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut read = || {
            let length = u32::from_ne_bytes(array(self.0, 0)?) as usize;
            let message = self.0.get(..length).filter(|it| it.len() >= HEADER).ok_or_else(malformed)?;
            self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
            let number = |at| Ok(u16::from_ne_bytes(array(message, at)?));
            let sequence = u32::from_ne_bytes(array(message, 8)?);
            Ok(Message { kind: number(4)?, flags: number(6)?, sequence, body: &message[HEADER..] })
        };
        let message = read();
        if message.is_err() {
            self.0 = &[];
        }
        Some(message)
    }
}

/// The attributes of a message: (number, value).
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        /// NLA_TYPE_MASK
        const NUMBER: u16 = 0x3fff;
        if self.0.is_empty() {
            return None;
        }
        let mut read = || {
            let length = usize::from(u16::from_ne_bytes(array(self.0, 0)?));
            let kind = u16::from_ne_bytes(array(self.0, 2)?) & NUMBER;
            let value = self.0.get(4..length).ok_or_else(malformed)?;
            self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
            Ok((kind, value))
        };
        let attribute = read();
        if attribute.is_err() {
            self.0 = &[];
        }
        Some(attribute)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(malformed)
}

fn text(bytes: &[u8]) -> Result<String> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).map_err(|_| malformed())
}

fn read_link(body: &[u8]) -> Result<Link> {
    let index = u32::from_ne_bytes(array(body, 4)?);
    let flags = u32::from_ne_bytes(array(body, 8)?);
    for attribute in Attributes(body.get(LINK_HEADER..).ok_or_else(malformed)?) {
        if let (IFLA_IFNAME, name) = attribute? {
            return Ok(Link { index, name: text(name)?, up: flags & IFF_UP != 0 });
        }
    }
    Err(malformed())
}

/// None: it is an address of another device.
fn read_address(body: &[u8], wanted: u32) -> Result<Option<Address>> {
    let [family, prefix, flags, scope] = array(body, 0)?;
    if u32::from_ne_bytes(array(body, 4)?) != wanted {
        return Ok(None);
    }
    let mut address = Address { family, prefix, scope, flags: flags.into(), rest: Vec::new(), label: None };
    for attribute in Attributes(body.get(ADDRESS_HEADER..).ok_or_else(malformed)?) {
        match attribute? {
            (IFA_FLAGS, value) => address.flags = u32::from_ne_bytes(array(value, 0)?),
            (IFA_LABEL, value) => address.label = Some(text(value)?),
            (kind, value) if KEPT.contains(&kind) => address.rest.push((kind, value.to_vec())),
            _ => {}
        }
    }
    Ok(Some(address))
}

/// What describes an address wherever it is.
const KEPT: [u16; 6] = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_CACHEINFO, IFA_RT_PRIORITY, IFA_PROTO];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_the_loopback() {
        let netlink = Netlink::open().unwrap();
        let loopback = netlink.link("lo").unwrap().unwrap();
        assert_eq!(loopback.name, "lo");
        assert_eq!(netlink.link_at(loopback.index).unwrap(), Some(loopback.clone()));
        let all = netlink.addresses(loopback.index).unwrap();
        assert!(!loopback.up || all.iter().any(|it| it.to_string() == "127.0.0.1/8" && !it.is_global()));
        assert!(netlink.addresses(u32::MAX).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_there_is_none() {
        let netlink = Netlink::open().unwrap();
        assert_eq!(netlink.link("onggi-none0").unwrap(), None);
        assert_eq!(netlink.link_at(u32::MAX >> 1).unwrap(), None);
    }

    #[test]
    fn errors_come_with_the_words_of_the_kernel() {
        let netlink = Netlink::open().unwrap();
        let error = netlink.link("a-name-that-is-too-long").unwrap_err();
        assert_eq!(error.errno(), libc::ERANGE);
        assert!(error.to_string().contains("(hint: the kernel says: "), "{error}");
    }

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        Request::new(kind, body).finish(flags, 7)
    }

    #[test]
    fn messages_are_read_one_by_one() {
        let mut packet = message(RTM_NEWLINK, 0, b"abc");
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet.extend(message(NLMSG_DONE, NLM_F_DUMP_INTR, &0_i32.to_ne_bytes()));
        let all: Vec<_> = Messages(&packet).map(Result::unwrap).collect();
        let seen: Vec<_> = all.iter().map(|it| (it.kind, it.flags, it.sequence, it.body.len())).collect();
        assert_eq!(seen, [(RTM_NEWLINK, 0, 7, 3), (NLMSG_DONE, NLM_F_DUMP_INTR, 7, 4)]);
        assert!(all[1].verdict(&String::new).is_ok());
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let good = message(RTM_NEWLINK, 0, b"abcd");
        for length in [0, 1, 15, 21, 4096, u32::MAX] {
            let mut bad = good.clone();
            bad[..4].copy_from_slice(&length.to_ne_bytes());
            let all: Vec<_> = Messages(&bad).collect();
            assert!(all.len() == 1 && all[0].is_err(), "{length}");
        }
        assert!(Messages(&good[..3]).next().unwrap().is_err());
        for length in [0, 3, 9, u16::MAX] {
            let bytes = [length.to_ne_bytes(), IFLA_IFNAME.to_ne_bytes(), [b'l', b'o'], [0, 0]].concat();
            let all: Vec<_> = Attributes(&bytes).collect();
            assert!(all[0].is_err() && all.len() == 1, "{length}");
        }
        for cut in 0..LINK_HEADER + 4 {
            assert!(read_link(&vec![0; cut]).is_err(), "{cut}");
        }
        for cut in 0..ADDRESS_HEADER {
            assert!(read_address(&vec![0; cut], 0).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_refusal_without_words_or_with_broken_ones_is_a_refusal() {
        let errno = (-libc::EPERM).to_ne_bytes();
        let words = [8_u16.to_ne_bytes(), NLMSGERR_ATTR_MSG.to_ne_bytes(), [b'n', b'o'], [b'!', 0]].concat();
        let capped = [&errno[..], &[0; HEADER], &words].concat();
        let whole = [&errno[..], &message(RTM_SETLINK, 0, b"abcd"), &words].concat();
        let broken = [&errno[..], &[0xff; HEADER], &words].concat();
        let hint = " (hint: the kernel says: no!)";
        for (flags, body, wanted) in [
            (0, &errno[..], ""),
            (NLM_F_ACK_TLVS, &errno[..], ""),
            (NLM_F_ACK_TLVS | NLM_F_CAPPED, &capped, hint),
            (NLM_F_ACK_TLVS, &whole, hint),
            (NLM_F_ACK_TLVS, &broken, ""),
            (0, &capped, ""),
        ] {
            let message = Message { kind: NLMSG_ERROR, flags, sequence: 1, body };
            let error = message.verdict(&|| "call".to_owned()).unwrap_err();
            assert_eq!(error.to_string(), format!("call: EPERM: operation not permitted{wanted}"));
        }
        let short = Message { kind: NLMSG_ERROR, flags: 0, sequence: 1, body: &[1] };
        assert!(short.verdict(&String::new).is_err());
    }

    #[test]
    fn addresses_are_read_with_all_that_describes_them() {
        let mut body = vec![2, 24, 0x80, 0];
        body.extend(3_u32.to_ne_bytes());
        let request = Request::new(RTM_NEWADDR, &body)
            .attribute(IFA_LOCAL, &[192, 0, 2, 7])
            .attribute(IFA_LABEL, b"eth0:1\0")
            .attribute(IFA_FLAGS, &0x280_u32.to_ne_bytes())
            .attribute(99, b"unknown");
        let body = &request.0[HEADER..];
        assert_eq!(read_address(body, 4).unwrap(), None);
        let address = read_address(body, 3).unwrap().unwrap();
        assert!(address.is_permanent() && address.is_global());
        assert_eq!((address.flags, address.label.as_deref()), (0x280, Some("eth0:1")));
        assert_eq!(address.rest, [(IFA_LOCAL, vec![192, 0, 2, 7])]);
        assert_eq!(address.to_string(), "192.0.2.7/24");
    }
}
