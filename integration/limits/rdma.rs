//! linux.resources.rdma. Machines with such devices are few: what the kernel says of one that is none proves the way.

use serde_json::json;

use super::refuses;
use crate::harness::{Need, Sandbox};

cases! {
    reaches_the_kernel: Need::Controller("rdma");
    an_entry_without_limits_is_refused;
    without_its_controller_is_an_error: Need::NoController("rdma");
}

fn reaches_the_kernel(sandbox: &mut Sandbox) {
    let rdma = json!({ "onggi_0": { "hcaHandles": 3, "hcaObjects": 10_000 } });
    let parts = ["rdma.max", "\"onggi_0 hca_handle=3 hca_object=10000\"", "ENODEV: no such device"];
    refuses(sandbox, "rdma", rdma, "rdma \"onggi_0\"", &parts);
}

fn an_entry_without_limits_is_refused(sandbox: &mut Sandbox) {
    refuses(sandbox, "rdma", json!({ "onggi_0": {} }), "rdma \"onggi_0\"", &["neither"]);
}

fn without_its_controller_is_an_error(sandbox: &mut Sandbox) {
    let rdma = json!({ "onggi_0": { "hcaHandles": 3 } });
    refuses(sandbox, "rdma", rdma, "rdma \"onggi_0\"", &["controller"]);
}
