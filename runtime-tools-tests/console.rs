//! The socket that a caller gives to `create` with a terminal, and the terminal that comes through it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixListener;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use crate::harness::{Pty, Sandbox, limit};

/// A socket that a terminal shall come through.
pub(crate) struct Console {
    listener: UnixListener,
    path: String,
}

impl Console {
    /// A new one; the process wants a terminal from now on.
    pub(crate) fn new(it: &mut Sandbox) -> Console {
        it.set("/process/terminal", json!(true));
        let path = it.path("console");
        Console { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// Creates the container, which must succeed, and takes the terminal.
    #[track_caller]
    pub(crate) fn create(&self, it: &Sandbox) -> Pty {
        it.create_as(&it.token, &["--console-socket", &self.path]).finish().ok();
        let time = Timespec::try_from(limit(10)).unwrap();
        let ready = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&time)).unwrap();
        assert!(ready > 0, "nobody connected to the console socket");
        let (stream, _) = self.listener.accept().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4096];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut found = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Pty::of(found.next().expect("no terminal came through the console socket"))
    }
}
