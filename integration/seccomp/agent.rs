//! A seccomp agent in a thread of the test: it takes one container process state, then answers notified calls.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use crate::harness::limit;

/// What an agent was told, and what it was asked.
pub(crate) struct Heard {
    /// The container process state.
    pub(crate) state: Value,
    /// The connection ended after it.
    pub(crate) closed: bool,
    /// Each notified call: pid as the agent sees it, number, first argument.
    pub(crate) calls: Vec<(i32, i32, u64)>,
}

/// Listens at `path`.
pub(crate) fn listen(path: &str) -> UnixListener {
    UnixListener::bind(Path::new(path)).unwrap()
}

/// Takes one connection, then answers every notified call with its first argument plus one, until nobody is left.
pub(crate) fn serve(listener: UnixListener) -> JoinHandle<Heard> {
    std::thread::spawn(move || {
        assert!(readable(&listener), "nobody called the agent");
        let (stream, _) = listener.accept().unwrap();
        let (state, notify, closed) = receive(&stream);
        let mut calls = Vec::new();
        while readable(&notify) {
            let Ok(request) = ScmpNotifReq::receive(notify.as_raw_fd()) else { break };
            calls.push((request.pid as i32, request.data.syscall.as_raw_syscall(), request.data.args[0]));
            let value = request.data.args[0] as i64 + 1;
            let answer = ScmpNotifResp::new_val(request.id, value, ScmpNotifRespFlags::empty());
            let _ = answer.respond(notify.as_raw_fd());
        }
        Heard { state, closed, calls }
    })
}

/// Something to read in time, not only the end.
fn readable(fd: &impl std::os::fd::AsFd) -> bool {
    let limit = Timespec::try_from(limit(30)).unwrap();
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&limit)).unwrap_or(0) > 0 && fds[0].revents().contains(PollFlags::IN)
}

/// The state up to the end of the connection, and the descriptor that came with its first byte.
fn receive(stream: &UnixStream) -> (Value, OwnedFd, bool) {
    stream.set_read_timeout(Some(limit(30))).unwrap();
    let (mut text, mut found, mut closed) = (Vec::new(), Vec::new(), false);
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4096];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let Ok(message) = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) else { break };
        let count = message.bytes;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                assert!(text.is_empty(), "descriptors come with the first message only");
                found.extend(fds);
            }
        }
        if count == 0 {
            closed = true;
            break;
        }
        text.extend(&bytes[..count]);
    }
    assert_eq!(found.len(), 1, "one descriptor");
    (serde_json::from_slice(&text).unwrap(), found.pop().unwrap(), closed)
}
