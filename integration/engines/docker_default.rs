//! docker with this runtime as the default: nothing is said when a container is run, nor when an image is built.

use std::sync::Arc;

use crate::client::Client;
use crate::docker::{client, open};
use crate::dockerfile;
use crate::harness::{Layout, Need, Sandbox};
use crate::place::{Place, shared};

const DOCKER: Need = Need::Program("dockerd");
const LIMITS: Need = Need::Controller("memory");

whole_engine! { DOCKER, docker, LIMITS, "docker-init" {
    build_of_a_dockerfile: LIMITS;
    build_with_buildkit: LIMITS, Need::BuildKit;
    user_namespace: LIMITS, Need::File("/home/tester");
}}

fn default(layout: Layout) -> Place {
    open(layout, include_str!("config/docker-default.json"))
}

fn docker(sandbox: &Sandbox) -> Client {
    client(shared("docker_default", sandbox.layout, default), &[])
}

/// By the classic builder, which has its containers made by the daemon.
fn build_of_a_dockerfile(sandbox: &mut Sandbox) {
    let client = docker(sandbox);
    let folder = dockerfile::folder(sandbox);
    let words = ["build", "--network", "none", "--tag", "built", &folder];
    client.call(sandbox, &words).env("DOCKER_BUILDKIT", "0").limit(60).finish().ok();
    dockerfile::check(&client.call(sandbox, &["run", "--rm", "built"]).finish());
}

/// By BuildKit, which runs the program that is called `runc` in the daemon's PATH; what cannot be started says whose words
/// these are.
fn build_with_buildkit(sandbox: &mut Sandbox) {
    let client = docker(sandbox);
    client.place.call(sandbox, &["ln", "-s", "onggi", "/usr/local/sbin/runc"]).finish().ok();
    let build = |folder: &str| {
        let call = client.call(sandbox, &["build", "--progress", "plain", "--tag", "built-too", folder]);
        // Where clients keep things; never in root's own folder.
        call.env("DOCKER_BUILDKIT", "1").env("DOCKER_CONFIG", sandbox.path("docker")).limit(60).finish()
    };
    build(&dockerfile::folder(sandbox)).ok();
    dockerfile::check(&client.call(sandbox, &["run", "--rm", "built-too"]).finish());
    let failed = build(&dockerfile::impossible(sandbox)).code(1);
    let words = "process.args[0] \"nope\": exec: \"nope\": executable file not found in $PATH";
    assert!(failed.stderr.contains(words), "{}", failed.describe());
}

/// The daemon's own user namespace for all its containers.
fn user_namespace(sandbox: &mut Sandbox) {
    let config = include_str!("config/docker-default.json");
    let config = config.replacen('{', "{ \"userns-remap\": \"tester\",", 1);
    let client = client(Arc::new(open(sandbox.layout, &config)), &[]);
    let seen = client.prove(
        sandbox,
        &[],
        "id -u; read inside outside size </proc/self/uid_map; echo $inside $outside",
    );
    assert_eq!(seen, "0\n0 100000");
    let left = Arc::into_inner(client.place).map(Place::close);
    assert_eq!(left, Some(Vec::new()));
}
