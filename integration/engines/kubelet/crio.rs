//! The kubelet over CRI-O.

use super::over;
use crate::crio::{self, CRIO, ROOT, connect};
use crate::harness::{Layout, Need};
use crate::place::Place;

kubelet_over! { CRIO, "kubelet over CRI-O", open, connect {
    // The place of an engine is on a tmpfs, and so are the files that the kubelet gives to every container.
    user_namespace: Need::IdMappedMounts, Need::Kernel(6, 3, "hostUsers: false on a tmpfs");
}}

fn open(layout: Layout) -> Place {
    over(crio::open(layout), include_str!("../config/kubelet-crio.yaml"), ROOT)
}
