//! Unix sockets: SEQPACKET messages with descriptors.
//!
//! One message is one send and one receive, of bounded length; a descriptor arrives close-on-exec or not at all.
//! Names are relative to a directory's descriptor, through `/proc/self/fd/N/NAME`, because sun_path ends at 108 bytes.
//! Nothing here may knock on an abstract address, but on one that the environment names (sd_notify(3)).

use nix::libc;
use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{Error, Result};

/// The most descriptors in one message.
pub(crate) const MAX_FDS: usize = 16;

/// A received message; its bytes are in the caller's buffer.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many bytes; never 0.
    pub(crate) len: usize,
    /// The descriptors, in the sender's order, from the first place on.
    pub(crate) fds: [Option<OwnedFd>; MAX_FDS],
}

fn failed(call: impl Into<String>) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::call(call, errno.raw_os_error())
}

/// socketpair(2): two connected SEQPACKET sockets, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(failed("socketpair(AF_UNIX, SOCK_SEQPACKET)"))
}

/// sendmsg(2): one message with at most [`MAX_FDS`] descriptors; without SIGPIPE. An empty message would look like
/// end of file and is refused.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        return Err(Error::new("a message has 1 byte or more and at most 16 descriptors"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::new("the descriptors do not fit into the message"));
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(_) => return Err(Error::new("sendmsg: sent only a part")),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("sendmsg", errno.raw_os_error())),
        }
    }
}

/// recvmsg(2): one message, waiting for it without a bound but that of [`receive_within`]; None at end of file. A message or a list of descriptors
/// that does not fit is an error, and its descriptors are closed.
pub(crate) fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.map_err(failed("recvmsg"))?,
        }
    };
    let mut received = Received { len: message.bytes, ..Received::default() };
    let mut places = received.fds.iter_mut();
    for part in control.drain() {
        let RecvAncillaryMessage::ScmRights(fds) = part else { continue };
        for (fd, place) in fds.zip(&mut places) {
            *place = Some(fd);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Error::new("recvmsg: the message is longer than agreed"));
    }
    Ok((message.bytes > 0).then_some(received))
}

/// From now on [`recv`] fails with EAGAIN when nothing comes for so long.
pub(crate) fn receive_within(socket: BorrowedFd<'_>, wait: Duration) -> Result<()> {
    set_socket_timeout(socket, Timeout::Recv, Some(wait)).map_err(failed("setsockopt(SO_RCVTIMEO)"))
}

/// poll(2) for something to read, for end of file, or, on a pidfd, for the exit. False: not within `wait`; without
/// `wait` there is no bound.
pub(crate) fn readable(fd: BorrowedFd<'_>, wait: Option<Duration>) -> Result<bool> {
    // Without a wait nobody needs the time, which musl looks for in the kernel's vDSO first.
    let start = wait.filter(|wait| !wait.is_zero()).map(|_| Instant::now());
    loop {
        let gone = start.map_or(Duration::ZERO, |start| start.elapsed());
        let left = wait.map(|wait| wait.saturating_sub(gone));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("poll", errno.raw_os_error())),
        }
    }
}

/// Whether the other side is gone, however much it said before; poll(2) without waiting.
pub(crate) fn hung_up(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::empty())];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_err(failed("poll"))?;
    Ok(fds[0].revents().contains(PollFlags::HUP))
}

/// A listener at `name` in `dir`, mode 0600, SEQPACKET, close-on-exec. The name must be free.
pub(crate) fn listen_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = unconnected(SocketType::SEQPACKET, SocketFlags::empty())?;
    // The mode of the descriptor becomes the mode of the name: there is no moment at which it is wider.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(failed("fchmod(socket)"))?;
    let address = address(dir, name)?;
    rustix::net::bind(&socket, &address).map_err(failed(format!("bind({name:?})")))?;
    rustix::net::listen(&socket, 128).map_err(failed(format!("listen({name:?})")))?;
    Ok(socket)
}

/// connect(2) to the SEQPACKET listener at `name` in `dir`; None if nothing listens there: the name is absent, or a
/// dead listener left it. Waits at most this long for a place in the listener's queue, then fails with EAGAIN.
pub(crate) fn connect_at(dir: BorrowedFd<'_>, name: &str, wait: Duration) -> Result<Option<OwnedFd>> {
    let flags = if wait.is_zero() { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
    let socket = unconnected(SocketType::SEQPACKET, flags)?;
    if !wait.is_zero() {
        set_socket_timeout(&socket, Timeout::Send, Some(wait)).map_err(failed("setsockopt(SO_SNDTIMEO)"))?;
    }
    match rustix::net::connect(&socket, &address(dir, name)?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(errno) => Err(Error::call(format!("connect({name:?})"), errno.raw_os_error())),
    }
}

/// How long whoever listens for the runtime's caller may take to accept, and again to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// connect(2) to a stream socket on which the runtime's caller has somebody listen, waiting at most 5 seconds.
pub(crate) fn connect_stream(path: &Path) -> Result<OwnedFd> {
    connect_stream_within(path, PATIENCE).map_err(|e| match e.errno() {
        libc::EAGAIN => e.hint(format!("nobody accepts within {PATIENCE:?}")),
        libc::ECONNREFUSED => e.hint("nobody listens there"),
        _ => e,
    })
}

/// connect(2) to a stream socket that somebody else listens on; `path` may be longer than 108 bytes. Waits at most this long
/// for a place in the listener's queue, then fails with EAGAIN; so does a later send that nobody reads.
pub(crate) fn connect_stream_within(path: &Path, wait: Duration) -> Result<OwnedFd> {
    let call = || format!("connect({path:?})");
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::call(call(), Errno::INVAL.raw_os_error()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, Mode::empty()).map_err(failed(call()))?;
    let socket = unconnected(SocketType::STREAM, SocketFlags::empty())?;
    set_socket_timeout(&socket, Timeout::Send, Some(wait)).map_err(failed("setsockopt(SO_SNDTIMEO)"))?;
    rustix::net::connect(&socket, &address(dir.as_fd(), name)?).map_err(failed(call()))?;
    Ok(socket)
}

/// A datagram socket at `name` in `dir`, for everybody who reaches the directory; close-on-exec, never waiting. The name
/// must be free.
pub(crate) fn datagrams_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = unconnected(SocketType::DGRAM, SocketFlags::NONBLOCK)?;
    let mode = Mode::RWXU | Mode::RWXG | Mode::RWXO;
    rustix::fs::fchmod(&socket, mode).map_err(failed("fchmod(socket)"))?;
    // Not by chmod(2) afterwards: whoever may write in the directory could have put a link there by then.
    let address = address(dir, name)?;
    let umask = rustix::process::umask(Mode::empty());
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(umask);
    bound.map_err(failed(format!("bind({name:?})")))?;
    Ok(socket)
}

/// A datagram socket that sends to this address, never waiting: an absolute path, or `@` and an abstract name.
pub(crate) fn connect_datagrams(to: &OsStr) -> Result<OwnedFd> {
    let call = || format!("connect({to:?})");
    let address = match to.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        [b'/', ..] => SocketAddrUnix::new(to.as_bytes()),
        _ => Err(Errno::AFNOSUPPORT),
    };
    let socket = unconnected(SocketType::DGRAM, SocketFlags::NONBLOCK)?;
    rustix::net::connect(&socket, &address.map_err(failed(call()))?).map_err(failed(call()))?;
    Ok(socket)
}

/// recv(2) of a datagram that is there already: its true length, which is larger than the buffer if it was cut. None: there
/// is none. Descriptors that came with it are closed by the kernel.
pub(crate) fn recv_datagram(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<usize>> {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length)) => return Ok(Some(length)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Error::call("recv", errno.raw_os_error())),
        }
    }
}

/// fcntl(2) O_ASYNC: SIGIO to this process when something arrives.
pub(crate) fn signal_arrivals(socket: BorrowedFd<'_>) -> Result<()> {
    let fd = socket.as_raw_fd();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: both commands take an int.
    let done = unsafe {
        [
            libc::fcntl(fd, libc::F_SETOWN, own),
            libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK),
        ]
    };
    if done.contains(&-1) {
        Err(Error::call("fcntl(O_ASYNC)", nix::errno::Errno::last_raw()))
    } else {
        Ok(())
    }
}

/// accept4(2): the next connection, close-on-exec, waiting for it without a bound.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    loop {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            other => return other.map_err(failed("accept4")),
        }
    }
}

fn unconnected(kind: SocketType, flags: SocketFlags) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | flags, None)
        .map_err(failed("socket(AF_UNIX)"))
}

fn address(dir: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
    SocketAddrUnix::new(&path).map_err(failed(format!("sockaddr_un({name:?})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;

    fn dir() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path()).unwrap();
        (dir, file)
    }

    fn cloexec(fd: BorrowedFd<'_>) -> bool {
        rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
    }

    /// For everybody: a child that another test has just forked may still have a copy.
    fn close(socket: OwnedFd) {
        rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
    }

    #[test]
    fn carries_bytes_and_descriptors() {
        let (a, b) = pair().unwrap();
        let (x, y) = pair().unwrap();
        send(a.as_fd(), b"hello", &[x.as_fd(), y.as_fd()]).unwrap();
        send(a.as_fd(), b"again", &[]).unwrap();
        let mut buffer = [0; 16];
        let got = recv(b.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..got.len], b"hello");
        assert_eq!(got.fds.iter().flatten().count(), 2);
        let second = got.fds[1].as_ref().unwrap();
        assert!(cloexec(second.as_fd()));
        send(x.as_fd(), b"z", &[]).unwrap();
        assert_eq!(recv(second.as_fd(), &mut [0; 4]).unwrap().unwrap().len, 1);
        let got = recv(b.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!((got.len, got.fds.iter().flatten().count()), (5, 0));
        close(a);
        assert!(recv(b.as_fd(), &mut buffer).unwrap().is_none());
        assert_eq!(send(b.as_fd(), b"x", &[]).unwrap_err().errno(), Errno::PIPE.raw_os_error());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let (a, b) = pair().unwrap();
        assert!(send(a.as_fd(), b"", &[]).is_err());
        assert!(send(a.as_fd(), b"x", &[a.as_fd(); MAX_FDS + 1]).is_err());
        send(a.as_fd(), b"12345", &[a.as_fd(); MAX_FDS]).unwrap();
        send(a.as_fd(), b"1234", &[a.as_fd(); MAX_FDS]).unwrap();
        assert!(recv(b.as_fd(), &mut [0; 4]).is_err());
        let got = recv(b.as_fd(), &mut [0; 4]).unwrap().unwrap();
        assert_eq!(got.fds.iter().flatten().count(), MAX_FDS);
    }

    #[test]
    fn waits_with_a_bound() {
        let (a, b) = pair().unwrap();
        assert!(!readable(b.as_fd(), Some(Duration::from_millis(20))).unwrap());
        send(a.as_fd(), b"x", &[]).unwrap();
        assert!(readable(b.as_fd(), Some(Duration::ZERO)).unwrap());
        assert!(readable(b.as_fd(), None).unwrap());
        assert!(!hung_up(b.as_fd()).unwrap(), "a word is no end");
        close(a);
        assert!(hung_up(b.as_fd()).unwrap());
    }

    #[test]
    fn listens_by_directory() {
        let (dir, fd) = dir();
        assert!(connect_at(fd.as_fd(), "gate", Duration::ZERO).unwrap().is_none(), "absent");
        let listener = listen_at(fd.as_fd(), "gate").unwrap();
        let mode = dir.path().join("gate").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(cloexec(listener.as_fd()));
        let client = connect_at(fd.as_fd(), "gate", Duration::from_secs(1)).unwrap().unwrap();
        let server = accept(listener.as_fd()).unwrap();
        assert!(cloexec(server.as_fd()) && cloexec(client.as_fd()));
        drop(client);
        assert!(recv(server.as_fd(), &mut [0; 4]).unwrap().is_none());
        assert_eq!(listen_at(fd.as_fd(), "gate").unwrap_err().errno(), Errno::ADDRINUSE.raw_os_error());
        close(listener);
        assert!(connect_at(fd.as_fd(), "gate", Duration::ZERO).unwrap().is_none(), "refused");
    }

    #[test]
    fn a_full_queue_does_not_hang() {
        let (_dir, fd) = dir();
        let _listener = listen_at(fd.as_fd(), "gate").unwrap();
        let mut clients = Vec::new();
        let full = loop {
            assert!(clients.len() < 5000);
            match connect_at(fd.as_fd(), "gate", Duration::ZERO) {
                Ok(client) => clients.push(client.unwrap()),
                Err(error) => break error.errno(),
            }
        };
        assert_eq!(full, Errno::AGAIN.raw_os_error());
        let late = connect_at(fd.as_fd(), "gate", Duration::from_millis(20)).unwrap_err();
        assert_eq!(late.errno(), Errno::AGAIN.raw_os_error());
    }

    #[test]
    fn datagrams_come_one_by_one_or_not_at_all() {
        let (dir, fd) = dir();
        let own = datagrams_at(fd.as_fd(), "s").unwrap();
        assert_eq!(dir.path().join("s").metadata().unwrap().permissions().mode() & 0o7777, 0o777);
        let other = connect_datagrams(dir.path().join("s").as_os_str()).unwrap();
        assert!(cloexec(own.as_fd()) && cloexec(other.as_fd()));
        let mut buffer = [0; 4];
        assert_eq!(recv_datagram(own.as_fd(), &mut buffer).unwrap(), None);
        send(other.as_fd(), b"ab", &[other.as_fd()]).unwrap();
        send(other.as_fd(), b"too long", &[]).unwrap();
        assert_eq!(recv_datagram(own.as_fd(), &mut buffer).unwrap(), Some(2));
        assert_eq!(&buffer[..2], b"ab");
        assert_eq!(recv_datagram(own.as_fd(), &mut buffer).unwrap(), Some(8));
        let full =
            std::iter::repeat_with(|| send(other.as_fd(), b"x", &[])).find_map(|sent| sent.err()).unwrap();
        assert_eq!(full.errno(), Errno::AGAIN.raw_os_error());
    }

    #[test]
    fn addresses_of_other_kinds_are_refused() {
        for address in ["relative", "vsock:2:1", "", "/none/at/all", "@onggi-nobody"] {
            assert!(connect_datagrams(OsStr::new(address)).is_err(), "{address}");
        }
        let long = format!("/{}", "x".repeat(200));
        assert_eq!(
            connect_datagrams(OsStr::new(&long)).unwrap_err().errno(),
            Errno::NAMETOOLONG.raw_os_error()
        );
    }

    #[test]
    fn a_long_path_is_no_hindrance() {
        let (dir, _) = dir();
        let deep = dir.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let here = File::open(&deep).unwrap();
        let listener = unconnected(SocketType::STREAM, SocketFlags::empty()).unwrap();
        rustix::net::bind(&listener, &address(here.as_fd(), "s").unwrap()).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        connect_stream(&deep.join("s")).unwrap();
        let missing = connect_stream(&deep.join("t")).unwrap_err();
        assert_eq!(missing.errno(), Errno::NOENT.raw_os_error());
        assert!(missing.to_string().contains("/t\""), "{missing}");
    }
}
