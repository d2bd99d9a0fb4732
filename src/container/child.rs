//! A process that was born and is not yet known to the world: whatever fails now ends it.

use crate::init::birth::Newborn;
use crate::sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};

/// A newborn that is killed and reaped unless it is kept.
pub(super) struct Child(Option<Newborn>);

impl Child {
    pub(super) fn of(newborn: Newborn) -> Self {
        Child(Some(newborn))
    }

    pub(super) fn get(&self) -> &Newborn {
        self.0.as_ref().expect("taken only by keep and drop")
    }

    pub(super) fn keep(mut self) -> Newborn {
        self.0.take().expect("taken only by keep and drop")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(Newborn { pidfd, .. }) = self.0.take() {
            end(&pidfd);
        }
    }
}

/// Kills and reaps; it may be dead and reaped already.
pub(super) fn end(process: &OwnedFd) {
    let _ = pidfd::pidfd_send_signal(process.as_fd(), nix::libc::SIGKILL);
    let _ = pidfd::reap(process.as_fd());
}
