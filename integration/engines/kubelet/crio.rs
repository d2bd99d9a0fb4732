//! The kubelet over CRI-O.

use super::over;
use crate::crio::{self, CRIO, ROOT, connect};
use crate::harness::{Layout, Need};
use crate::place::Place;

kubelet_over! { CRIO, "kubelet over CRI-O", open, connect {
    user_namespace: Need::IdMappedMounts;
}}

fn open(layout: Layout) -> Place {
    over(crio::open(layout), include_str!("../config/kubelet-crio.yaml"), ROOT)
}
