//! config.md, Hostname and Domainname.

use serde_json::json;

use crate::harness::Sandbox;

clauses! {
    551 MUST "Hostname", "set the container's hostname" => hostname_is_that_of_the_container;
    552 MUST "Domainname", "set the container's domainname" => domainname_is_that_of_the_container;
}

fn hostname_is_that_of_the_container(it: &mut Sandbox) {
    it.set("/hostname", json!("inside"));
    assert_eq!(it.see("cat /proc/sys/kernel/hostname; hostname"), "inside\ninside");
}

fn domainname_is_that_of_the_container(it: &mut Sandbox) {
    it.set("/domainname", json!("example.org"));
    assert_eq!(it.see("cat /proc/sys/kernel/domainname"), "example.org");
}
