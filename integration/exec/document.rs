//! The examples about `exec` in docs/processes.md, run as they stand.

use crate::harness::{Sandbox, binary};

cases! {
    the_examples_of_the_document;
}

/// The lines of the fenced blocks in the section, as pairs: what is typed after `$ `, and what is printed.
fn examples() -> Vec<(String, String)> {
    let document = include_str!("../../docs/processes.md");
    let section =
        document.split("\n## ").find(|section| section.starts_with("exec")).expect("a section exec");
    let blocks = section.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n"));
    let mut found: Vec<(String, String)> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(typed), _) => found.push((typed.to_owned(), String::new())),
            (None, Some((_, printed))) => printed.push_str(&format!("{line}\n")),
            (None, None) => panic!("output before the first command: {line}"),
        }
    }
    found
}

/// One shell for all of them, so that one example may build on another; output and errors as on a terminal.
fn the_examples_of_the_document(sandbox: &mut Sandbox) {
    sandbox.args(&["/bin/sleep", "100"]).write_config();
    let words = ["run", "--detach", "--bundle", &sandbox.path("bundle"), "web1"];
    sandbox.onggi(&words).finish().ok();
    let examples = examples();
    assert!(examples.len() >= 6, "{examples:?}");
    let command = format!("{} --root {}", binary().display(), sandbox.path("state"));
    let (mut script, mut wanted) =
        (format!("cd {}\nonggi() {{ {command} \"$@\"; }}\n", sandbox.path(".")), String::new());
    for (typed, printed) in &examples {
        script.push_str(&format!("echo '--'\n{typed}\n"));
        wanted.push_str(&format!("--\n{printed}"));
    }
    let output = sandbox.tool_call(&["/bin/sh", "-c", &format!("exec 2>&1\n{script}")]).finish();
    assert_eq!(output.stdout, wanted);
}
