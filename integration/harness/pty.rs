//! A terminal whose other side is the test: it types, and sees what is shown.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::patience;

/// The master of a terminal.
pub(crate) struct Pty {
    master: OwnedFd,
    peer: Option<OwnedFd>,
    seen: RefCell<Vec<u8>>,
}

impl Pty {
    /// A new terminal of the host.
    pub(crate) fn new(rows: u16, columns: u16) -> Pty {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let peer = ioctl_tiocgptpeer(&master, flags).unwrap();
        let pty = Pty { peer: Some(peer), ..Pty::of(master) };
        pty.resize(rows, columns);
        pty
    }

    /// A terminal whose master came from elsewhere.
    pub(crate) fn of(master: OwnedFd) -> Pty {
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        Pty { master, peer: None, seen: RefCell::default() }
    }

    /// The side that a program gets.
    pub(crate) fn peer(&self) -> OwnedFd {
        self.peer.as_ref().unwrap().try_clone().unwrap()
    }

    /// Types.
    #[track_caller]
    pub(crate) fn type_in(&self, text: &str) {
        assert_eq!(rustix::io::write(&self.master, text.as_bytes()), Ok(text.len()));
    }

    /// The window has another size now.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Nothing more can be shown until somebody looks.
    pub(crate) fn is_full(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.peer(), PollFlags::OUT)], Some(&now)) == Ok(0)
    }

    /// Its modes, as text to compare.
    pub(crate) fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&self.master).unwrap())
    }

    /// Waits until `wanted` is shown.
    ///
    /// # Returns
    /// What was shown since the last time, `wanted` included.
    #[track_caller]
    pub(crate) fn see(&self, wanted: &str) -> String {
        let deadline = Instant::now() + patience::limit(10);
        loop {
            let shown = String::from_utf8_lossy(&self.seen.borrow()).into_owned();
            if let Some(at) = shown.find(wanted) {
                let end = at + wanted.len();
                self.seen.borrow_mut().drain(..end);
                return shown[..end].to_owned();
            }
            assert!(self.more(deadline), "waited for {wanted:?} and saw {shown:?}");
        }
    }

    /// What was shown since the last time, and what comes until nobody shows anything any more, or nothing is there.
    pub(crate) fn rest(&self) -> String {
        while self.more(Instant::now()) {}
        let all = std::mem::take(&mut *self.seen.borrow_mut());
        String::from_utf8_lossy(&all).into_owned()
    }

    fn more(&self, deadline: Instant) -> bool {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        let mut buffer = [0; 4096];
        let _ = poll(&mut [PollFd::new(&self.master.as_fd(), PollFlags::IN)], Some(&left));
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(count) if count > 0 => {
                self.seen.borrow_mut().extend_from_slice(&buffer[..count]);
                true
            }
            Err(Errno::INTR) => true,
            // Between two openings by the other side, and at its end.
            Err(Errno::IO) if Instant::now() < deadline => {
                std::thread::sleep(std::time::Duration::from_millis(10));
                true
            }
            _ => false,
        }
    }
}
