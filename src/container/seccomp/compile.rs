//! A profile becomes a program of classic BPF, by libseccomp; in front of it stand the instructions that tell a system
//! call that the profile forbids from one that it cannot know ([`enosys`]). Takes some ten milliseconds for docker's
//! profile; nothing here is loaded into the kernel.

use crate::error::{Error, Result};
use crate::plan::seccomp::{enosys, ranges};
use crate::sys::seccomp::MOST_INSTRUCTIONS;
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{Read, Seek};

/// EPERM: what errnoRet and defaultErrnoRet are when they are not given (config-linux.md, Seccomp).
const EPERM: u32 = 1;

/// From so many names on the program is a binary tree. libseccomp 2.5.4 makes wrong trees of no rules at all, and a
/// short list is as fast. Docker's profile as a tree: a quarter more instructions, but a quarter of the time to load
/// (0.2 ms instead of 0.7), since the kernel walks the program for every number to learn which are always allowed.
const TREE: usize = 32;

/// What a profile is compiled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiled {
    /// Instructions, `struct sock_filter` each.
    pub(super) program: Vec<u8>,
    /// Names that libseccomp does not know.
    pub(super) unknown: Vec<String>,
}

/// The version of libseccomp that this program is linked with.
pub(crate) fn library() -> String {
    libseccomp::ScmpVersion::current().map_or_else(|_| "unknown".to_owned(), |version| version.to_string())
}

/// Compiles a profile.
///
/// # Errors
/// The first architecture or rule that libseccomp refuses, with its field; a program too long for the kernel.
pub(super) fn compile(profile: &LinuxSeccomp) -> Result<Compiled> {
    let long = translate(profile)?;
    let program = ranges::shortened(&long.program).map_or(long.program, |shorter| shorter.concat());
    let count = program.len() / 8;
    if count > MOST_INSTRUCTIONS {
        let reason = format!("{count} instructions, the kernel takes at most {MOST_INSTRUCTIONS}");
        return Err(Error::new(reason)
            .at("linux.seccomp")
            .hint("fewer rules with args, or fewer architectures"));
    }
    Ok(Compiled { program, ..long })
}

/// The program as libseccomp makes it, behind ours.
fn translate(profile: &LinuxSeccomp) -> Result<Compiled> {
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut context =
        ScmpFilterContext::new(default).map_err(|e| refused("seccomp_init", &e).at("linux.seccomp"))?;
    let architectures = add_architectures(&mut context, profile)?;
    let names: usize = rules.iter().map(|rule| rule.names().len()).sum();
    if names > TREE {
        // Libraries before 2.5.0 know no trees: a list then.
        let _ = context.set_ctl_optimize(2);
    }
    let mut unknown = Vec::new();
    let mut largest: Vec<(Arch, u32)> = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        let conditions: Vec<_> = rule.args().iter().flatten().map(condition).collect();
        for name in rule.names() {
            let field = || format!("linux.seccomp.syscalls[{i}] {name:?}");
            let Ok(number) = ScmpSyscall::from_name(name) else {
                unknown.push(name.clone());
                continue;
            };
            remember(&mut largest, &architectures, name);
            add(&mut context, rule, number, default, &conditions).map_err(|e| e.at(field()))?;
        }
    }
    let stub = enosys::is_wanted(profile.default_action(), profile.default_errno_ret());
    let mut program = if stub { enosys::instructions(&largest).concat() } else { Vec::new() };
    program.extend(export(&context)?);
    Ok(Compiled { program, unknown })
}

/// The architectures of the profile, and always the native one, as libseccomp has it.
fn add_architectures(context: &mut ScmpFilterContext, profile: &LinuxSeccomp) -> Result<Vec<Arch>> {
    let mut all = vec![native()];
    for (i, &arch) in profile.architectures().iter().flatten().enumerate() {
        let field = || format!("linux.seccomp.architectures[{i}] \"{arch}\"");
        context.add_arch(scmp(arch)).map_err(|e| {
            let hint = "not known to this version of libseccomp, or of another byte order";
            refused("seccomp_arch_add", &e).at(field()).hint(hint)
        })?;
        if arch != Arch::ScmpArchNative && !all.contains(&arch) {
            all.push(arch);
        }
    }
    Ok(all)
}

/// The architecture of this machine.
fn native() -> Arch {
    let native = ScmpArch::native();
    ARCHITECTURES.into_iter().find(|&arch| scmp(arch) == native).unwrap_or(Arch::ScmpArchNative)
}

/// What the profile names has a number; one below zero only stands for a call that the architecture lacks.
fn remember(largest: &mut Vec<(Arch, u32)>, architectures: &[Arch], name: &str) {
    for &arch in architectures {
        let Ok(number) = ScmpSyscall::from_name_by_arch(name, scmp(arch)) else { continue };
        let Ok(number) = u32::try_from(number.as_raw_syscall()) else { continue };
        match largest.iter_mut().find(|entry| entry.0 == arch) {
            Some(entry) => entry.1 = entry.1.max(number),
            None => largest.push((arch, number)),
        }
    }
}

/// One rule for one name. Conditions on the same argument cannot all be in one rule of libseccomp: then each is a rule
/// of its own, and one of them is enough, as runc has always read such profiles.
fn add(
    context: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    number: ScmpSyscall,
    default: ScmpAction,
    conditions: &[ScmpArgCompare],
) -> Result<()> {
    let action = action(rule.action(), rule.errno_ret());
    if action == default {
        // It says nothing, and libseccomp would refuse it.
        return Ok(());
    }
    let args = rule.args().as_deref().unwrap_or_default();
    let twice =
        |(i, arg): (usize, &LinuxSeccompArg)| args[..i].iter().any(|other| other.index() == arg.index());
    let added = if args.iter().enumerate().any(twice) {
        let mut each = conditions.iter();
        each.try_for_each(|one| context.add_rule_conditional(action, number, &[*one]).map(drop))
    } else {
        context.add_rule_conditional(action, number, conditions).map(drop)
    };
    added.map_err(|e| refused("seccomp_rule_add", &e))
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>> {
    let failed = |call: &'static str| {
        move |error: std::io::Error| Error::call(call, error.raw_os_error().unwrap_or(0)).at("linux.seccomp")
    };
    let memory = rustix::fs::memfd_create("seccomp", MemfdFlags::CLOEXEC);
    let mut file = File::from(memory.map_err(|e| failed("memfd_create")(e.into()))?);
    context.export_bpf(&file).map_err(|e| refused("seccomp_export_bpf", &e).at("linux.seccomp"))?;
    let mut program = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut program)).map_err(failed("read(memfd)"))?;
    Ok(program)
}

fn refused(call: &str, error: &SeccompError) -> Error {
    match error.sysrawrc() {
        Some(code) => Error::call(call, code.abs()),
        None => Error::new(format!("{call}: {error}")),
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(EPERM);
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(errno as i32),
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(errno as u16),
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
    }
}

/// All 64 bits of argument and value count.
fn condition(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (index, value) = (arg.index() as u32, arg.value());
    let (operator, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, value),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        // value is the mask, valueTwo what is left under it.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(value), arg.value_two().unwrap_or(0))
        }
    };
    ScmpArgCompare::new(index, operator, value)
}

/// The architectures of config-linux.md.
const ARCHITECTURES: [Arch; 23] = [
    Arch::ScmpArchAarch64,
    Arch::ScmpArchArm,
    Arch::ScmpArchLoongarch64,
    Arch::ScmpArchM68k,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchPpc,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchRiscv64,
    Arch::ScmpArchS390,
    Arch::ScmpArchS390x,
    Arch::ScmpArchSh,
    Arch::ScmpArchSheb,
    Arch::ScmpArchX32,
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
];

/// Those that libseccomp takes into one filter with the native one.
pub(super) fn architectures() -> Vec<Arch> {
    let taken = |arch: &Arch| {
        ScmpFilterContext::new(ScmpAction::Allow)
            .and_then(|mut context| context.add_arch(scmp(*arch)).map(drop))
            .is_ok()
    };
    ARCHITECTURES.into_iter().filter(taken).collect()
}

fn scmp(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use super::*;
    use crate::plan::seccomp::enosys::machine;

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0;

    fn errno(errno: u32) -> u32 {
        0x0005_0000 | errno
    }

    fn compiled(text: &str) -> Compiled {
        compile(&serde_json::from_str(text).unwrap()).unwrap()
    }

    fn docker() -> Compiled {
        compiled(include_str!("../../../integration/seccomp/default.json"))
    }

    #[test]
    fn dockers_profile_answers_as_it_says() {
        let docker = docker();
        let answer = |arch: u32, number: u32, first: u64| {
            machine::run(&docker.program, arch, number, [first, 0, 0, 0, 0, 0])
        };
        let x32 = 1 << 30;
        let cases = [
            (X86_64, 0, 0, ALLOW),
            (X86_64, 59, 0, ALLOW),
            (X86_64, 165, 0, errno(1)),
            (X86_64, 41, 1, ALLOW),
            (X86_64, 41, 40, errno(1)),
            (X86_64, 41, 40 | 1 << 32, ALLOW),
            (X86_64, 56, 0x11, ALLOW),
            (X86_64, 56, 0x1000_0000, errno(1)),
            (X86_64, 135, 0xffff_ffff, ALLOW),
            (X86_64, 135, 4, errno(1)),
            (X86_64, 435, 0, errno(38)),
            (X86_64, 425, 0, errno(1)),
            (X86_64, 9999, 0, errno(38)),
            (X86_64, x32, 0, ALLOW),
            (X86_64, x32 + 165, 0, errno(1)),
            (X86_64, x32 + 9999, 0, errno(38)),
            (I386, 3, 0, ALLOW),
            (I386, 21, 0, errno(1)),
            (I386, 9999, 0, errno(38)),
            (0xc000_00b7, 0, 0, KILL),
        ];
        for (arch, number, first, expected) in cases {
            assert_eq!(answer(arch, number, first), expected, "{arch:#x} {number} {first:#x}");
        }
        assert!(docker.program.len() / 8 <= MOST_INSTRUCTIONS);
    }

    /// All numbers of all architectures, with arguments of which every profile here asks for some.
    #[test]
    fn a_shorter_program_answers_the_same() {
        let docker = include_str!("../../../integration/seccomp/default.json");
        let few = r#"{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_X86"],"syscalls":[
            {"names":["read","write","exit"],"action":"SCMP_ACT_ALLOW"},
            {"names":["openat"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[
                {"index":2,"value":64,"valueTwo":64,"op":"SCMP_CMP_MASKED_EQ"},{"index":0,"value":9,"op":"SCMP_CMP_GT"}]},
            {"names":["clone","personality"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":4294967296,"op":"SCMP_CMP_LT"}]}]}"#;
        let allow = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["keyctl","bpf","mount"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let mut shorter = 0;
        for text in [docker, few, allow] {
            let profile = serde_json::from_str(text).unwrap();
            let (long, short) = (translate(&profile).unwrap().program, compile(&profile).unwrap().program);
            shorter += usize::from(short.len() < long.len());
            let numbers = (0..600).chain([1024, (1 << 30) - 1, u32::MAX]);
            let marked = (0..600).map(|number| number | 1 << 30);
            for number in numbers.chain(marked) {
                for architecture in [X86_64, I386, 0xc000_00b7, 0] {
                    for first in [0, 7, 8, 40, 0x20000, 0x1000_0000, 0xffff_ffff, 1 << 32, u64::MAX] {
                        let args = [first, first, first ^ 64, 0, 0, 0];
                        let [was, is] =
                            [&long, &short].map(|program| machine::run(program, architecture, number, args));
                        assert_eq!(was, is, "{architecture:#x} {number:#x} {first:#x} of {text}");
                    }
                }
            }
        }
        assert!(shorter > 0);
        let docker = super::tests::docker();
        assert!(docker.program.len() / 8 < 700, "{}", docker.program.len() / 8);
    }

    #[test]
    fn names_of_newer_kernels_are_left_out() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["no_such_call","mkdir","another_one"],"action":"SCMP_ACT_ERRNO","errnoRet":7}]}"#;
        let compiled = compiled(text);
        assert_eq!(compiled.unknown, ["no_such_call", "another_one"]);
        assert_eq!(machine::run(&compiled.program, X86_64, 83, [0; 6]), errno(7));
        assert_eq!(machine::run(&compiled.program, X86_64, 9999, [0; 6]), ALLOW, "no ENOSYS of ours");
    }

    #[test]
    fn a_rule_that_says_the_default_says_nothing() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"syscalls":[
            {"names":["mkdir"],"action":"SCMP_ACT_ERRNO"},{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let compiled = compiled(text);
        assert_eq!(machine::run(&compiled.program, X86_64, 0, [0; 6]), ALLOW);
        assert_eq!(machine::run(&compiled.program, X86_64, 83, [0; 6]), errno(1), "mkdir is the largest");
        assert_eq!(machine::run(&compiled.program, X86_64, 84, [0; 6]), errno(38));
    }

    #[test]
    fn the_native_architecture_is_always_filtered() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
            {"names":["mkdir"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let compiled = compiled(text);
        for (arch, number) in [(X86_64, 83), (I386, 39)] {
            assert_eq!(machine::run(&compiled.program, arch, number, [0; 6]), ALLOW);
            assert_eq!(machine::run(&compiled.program, arch, 2, [0; 6]), errno(1));
            assert_eq!(machine::run(&compiled.program, arch, number + 1, [0; 6]), errno(38));
        }
    }
}
