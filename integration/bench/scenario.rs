//! What is measured: the scenarios, and the commands that each asks of a runtime, of the floor and of nobody.

use anyhow::{Result, bail};

use crate::bundle;
use crate::holder::Holder;
use crate::peers::{Kind, Peer};
use crate::programs;
use crate::stopwatch::pid_file;

/// One thing to do, alike for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// `run` of /bin/true.
    Run,
    /// `exec ID /bin/true`, in the foreground.
    Exec,
    /// `exec --process FILE --detach --pid-file FILE ID`, and the end of the process, as engines do it.
    ExecDetached,
    /// `create`, `start`, the end of the container, `delete`.
    Lifecycle,
    /// The same with docker's default seccomp profile.
    Seccomp,
}

use Scenario::{Exec, ExecDetached, Lifecycle, Run, Seccomp};

/// The words of `BENCH`. Of seccomp its price is promised, so that what it is added to is measured as well.
const WORDS: [(&str, &[Scenario]); 4] = [
    ("run", &[Run]),
    ("exec", &[Exec, ExecDetached]),
    ("lifecycle", &[Lifecycle]),
    ("seccomp", &[Lifecycle, Seccomp]),
];

/// What the stopwatch does one after the other: words of a command, or `@FILE`.
type Steps = Vec<Vec<String>>;

impl Scenario {
    /// Those that `BENCH` names, separated by blanks or commas, in the order of the words; all if it names none.
    pub(crate) fn selected() -> Result<Vec<Scenario>> {
        let text = std::env::var("BENCH").unwrap_or_default();
        let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        if let Some(unknown) = words.iter().find(|word| WORDS.iter().all(|(name, _)| name != *word)) {
            bail!("BENCH={text:?}: {unknown:?} is none of {}", WORDS.map(|(name, _)| name).join(", "));
        }
        let mut selected: Vec<Scenario> = Vec::new();
        for (_, scenarios) in WORDS.iter().filter(|(name, _)| words.is_empty() || words.contains(name)) {
            selected.extend(scenarios.iter().filter(|it| !selected.contains(it)).collect::<Vec<_>>());
        }
        Ok(selected)
    }

    /// The first column's head in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Run => "run /bin/true",
            Exec => "exec /bin/true",
            ExecDetached => "exec --detach --process /bin/true",
            Lifecycle => "create, start, delete /bin/true",
            Seccomp => "create, start, delete with seccomp",
        }
    }

    /// What JSON calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Run => "run",
            Exec => "exec",
            ExecDetached => "exec-detached",
            Lifecycle => "lifecycle",
            Seccomp => "seccomp",
        }
    }

    /// Whether it needs a container that runs already.
    pub(crate) fn is_exec(self) -> bool {
        self == Exec || self == ExecDetached
    }

    /// One measurement: `id` is nobody's yet, `holder` the container that exec enters.
    pub(crate) fn steps(self, peer: &Peer, id: &str, holder: Option<&Holder>) -> Result<Steps> {
        Ok(match (peer.kind, self, holder) {
            (Kind::Bare, ..) => vec![line(&[&peer.program])],
            (Kind::Floor, Run, _) => vec![line(&[programs::FLOOR_RUN, bundle::ROOTFS, &cgroup(id)])],
            (Kind::Floor, Exec | ExecDetached, Some(holder)) => {
                vec![line(&[programs::FLOOR_EXEC, &holder.pid.to_string(), &holder.cgroup])]
            }
            (Kind::Floor, ..) => self.floor_of_lifecycle(id),
            (Kind::Runtime, Run, _) => vec![peer.command("run", &["--bundle", bundle::PLAIN, id])],
            (Kind::Runtime, Exec, Some(holder)) => vec![peer.command("exec", &[&holder.id, "/bin/true"])],
            (Kind::Runtime, ExecDetached, Some(holder)) => {
                let file = pid_file(id);
                let words = ["--process", bundle::PROCESS, "--detach", "--pid-file", &file, &holder.id];
                vec![peer.command("exec", &words), vec![format!("@{file}")]]
            }
            (Kind::Runtime, Lifecycle, _) => lifecycle(peer, bundle::PLAIN, id),
            (Kind::Runtime, Seccomp, _) => lifecycle(peer, bundle::SECCOMP, id),
            (_, Exec | ExecDetached, None) => bail!("there is no container to enter"),
        })
    }

    fn floor_of_lifecycle(self, id: &str) -> Steps {
        let (cgroup, gate, file) = (cgroup(id), format!("/run/{id}.gate"), pid_file(id));
        let mut create = line(&[programs::FLOOR_LIFECYCLE, "create", bundle::ROOTFS, &cgroup, &gate, &file]);
        if self == Seccomp {
            create.push(bundle::FILTER.into());
        }
        vec![
            create,
            line(&[programs::FLOOR_LIFECYCLE, "start", &gate]),
            vec![format!("@{file}")],
            line(&[programs::FLOOR_LIFECYCLE, "delete", &cgroup, &gate]),
        ]
    }
}

fn lifecycle(peer: &Peer, bundle: &str, id: &str) -> Steps {
    let file = pid_file(id);
    vec![
        peer.command("create", &["--bundle", bundle, "--pid-file", &file, id]),
        peer.command("start", &[id]),
        vec![format!("@{file}")],
        peer.command("delete", &[id]),
    ]
}

fn line(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The cgroup of a floor's container.
fn cgroup(id: &str) -> String {
    format!("/sys/fs/cgroup/{id}")
}
