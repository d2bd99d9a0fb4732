//! ENOSYS for system calls that are newer than the profile.
//!
//! A C library tries a new system call first and takes the old one when the kernel answers ENOSYS. A profile that was
//! written before the new call existed answers its default, mostly EPERM, which the library must take for the truth:
//! programs break with every new system call. Calls with a number above all that the profile names are therefore
//! answered as a kernel answers that does not know them either. runc does the same since 1.0.0-rc93, and explains it.
//!
//! The answer is given by a few instructions in front of libseccomp's program, which cannot say such a thing.
//! Classic BPF: linux/filter.h, linux/bpf_common.h; what is loaded stands in `struct seccomp_data`.

use oci_spec::runtime::{Arch, LinuxSeccompAction};

/// Changes whenever the same profile gives other instructions: compiled programs are kept.
pub(crate) const VERSION: u32 = 3;

/// `struct sock_filter`, in the byte order of this machine.
pub(crate) type Instruction = [u8; 8];

/// BPF_LD | BPF_W | BPF_ABS: the word at offset k.
pub(super) const LOAD: u16 = 0x20;
/// BPF_JMP | BPF_JEQ | BPF_K.
pub(super) const JUMP_EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JGT | BPF_K, without a sign.
pub(super) const JUMP_GREATER: u16 = 0x25;
/// BPF_JMP | BPF_JSET | BPF_K.
pub(super) const JUMP_BITS: u16 = 0x45;
/// BPF_JMP | BPF_JA.
pub(super) const JUMP: u16 = 0x05;
/// BPF_RET | BPF_K.
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;

/// SECCOMP_RET_ERRNO | ENOSYS.
const ENOSYS: u32 = 0x0005_0000 | 38;

/// x32 is x86-64 to the kernel, with this bit in the number (asm/unistd.h, __X32_SYSCALL_BIT).
const X32_BIT: u32 = 1 << 30;

/// On s390 a number that does not fit the instruction travels in a register, and stays 0 here when the kernel does not
/// know it; setup(2), which once had the number, is gone.
const S390_MULTIPLEX: u32 = 0;

/// Where an instruction jumps that ends a section: behind the last of all.
const END: u32 = u32::MAX;

type Parts = (u16, u8, u8, u32);

/// Whether the default action of a profile asks for it: an error or a death that the profile's author did not mean for
/// this call. A tracer that emulates calls wants to see the new ones, too.
pub(crate) fn is_wanted(default: LinuxSeccompAction, errno: Option<u32>) -> bool {
    use LinuxSeccompAction as Action;
    match default {
        Action::ScmpActErrno => errno != Some(ENOSYS & 0xffff),
        Action::ScmpActKill
        | Action::ScmpActKillThread
        | Action::ScmpActKillProcess
        | Action::ScmpActTrap => true,
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace | Action::ScmpActNotify => false,
    }
}

/// The instructions for these architectures, each with the largest number that the profile names on it. They end in the
/// instruction behind them, whatever the accumulator holds.
pub(crate) fn instructions(largest: &[(Arch, u32)]) -> Vec<Instruction> {
    let of = |arch: Arch| largest.iter().find(|entry| entry.0 == arch).map(|entry| entry.1);
    let mut sections: Vec<Vec<Parts>> = Vec::new();
    let (x86_64, x32) = (of(Arch::ScmpArchX86_64), of(Arch::ScmpArchX32));
    if x86_64.is_some() || x32.is_some() {
        sections.push(section(Arch::ScmpArchX86_64, x86_64_checks(x86_64, x32)));
    }
    for &(arch, last) in largest {
        match arch {
            Arch::ScmpArchX86_64 | Arch::ScmpArchX32 => {}
            Arch::ScmpArchS390 | Arch::ScmpArchS390x => {
                let multiplexed = vec![(JUMP_EQUAL, 0, 1, S390_MULTIPLEX), (RETURN, 0, 0, ENOSYS)];
                sections.push(section(arch, [multiplexed, check(last)].concat()));
            }
            _ => sections.push(section(arch, check(last))),
        }
    }
    if sections.is_empty() {
        return Vec::new();
    }
    sections.insert(0, vec![(LOAD, 0, 0, ARCHITECTURE)]);
    let all = sections.concat();
    let resolve = |(at, &(code, yes, no, k)): (usize, &Parts)| {
        let k = if code == JUMP { (all.len() - at - 1) as u32 } else { k };
        encode((code, yes, no, k))
    };
    all.iter().enumerate().map(resolve).collect()
}

/// Only for this architecture; SCMP_ARCH_… is AUDIT_ARCH_…, but for x32.
fn section(arch: Arch, checks: Vec<Parts>) -> Vec<Parts> {
    let past = checks.len() as u8 + 1;
    [vec![(JUMP_EQUAL, 0, past, arch as u32), (LOAD, 0, 0, NUMBER)], checks].concat()
}

/// Three instructions: ENOSYS above `last`, else to the end.
fn check(last: u32) -> Vec<Parts> {
    vec![(JUMP_GREATER, 0, 1, last), (RETURN, 0, 0, ENOSYS), (JUMP, 0, 0, END)]
}

/// A number with the bit of x32 is judged by x32's largest, if that is in the profile, else by libseccomp.
fn x86_64_checks(x86_64: Option<u32>, x32: Option<u32>) -> Vec<Parts> {
    let judged = |last: Option<u32>| last.map_or_else(|| vec![(JUMP, 0, 0, END)], check);
    let (plain, marked) = (judged(x86_64), judged(x32));
    [vec![(JUMP_BITS, plain.len() as u8, 0, X32_BIT)], plain, marked].concat()
}

/// One instruction.
pub(super) fn encode((code, yes, no, k): Parts) -> Instruction {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&code.to_ne_bytes());
    (bytes[2], bytes[3]) = (yes, no);
    bytes[4..].copy_from_slice(&k.to_ne_bytes());
    bytes
}

/// A machine for classic BPF, as seccomp(2) runs it, for tests of programs.
#[cfg(test)]
pub(crate) mod machine {
    /// What the program returns for this call. The instructions are those that seccomp filters use.
    pub(crate) fn run(program: &[u8], arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = [number.to_ne_bytes(), arch.to_ne_bytes(), [0; 4], [0; 4]].concat();
        args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
        let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let one = &program[at * 8..at * 8 + 8];
            let (code, yes, no, k) =
                (u16::from_ne_bytes([one[0], one[1]]), one[2] as usize, one[3] as usize, word(&one[4..]));
            at += 1;
            let mut jump = |taken: bool| at += if taken { yes } else { no };
            match code {
                0x20 => a = word(&data[k as usize..k as usize + 4]),
                0x54 => a &= k,
                0x15 => jump(a == k),
                0x25 => jump(a > k),
                0x35 => jump(a >= k),
                0x45 => jump(a & k != 0),
                0x05 => at += k as usize,
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    const REST: u32 = 0x7fff_0000;

    /// What the instructions answer, in front of a program that allows everything.
    fn answer(largest: &[(Arch, u32)], arch: u32, number: u32) -> u32 {
        let mut program = instructions(largest).concat();
        program.extend(encode((RETURN, 0, 0, REST)));
        machine::run(&program, arch, number, [0; 6])
    }

    #[test]
    fn only_what_is_newer_than_the_profile_is_unknown() {
        let largest = [
            (Arch::ScmpArchX86_64, 449),
            (Arch::ScmpArchX86, 440),
            (Arch::ScmpArchX32, X32_BIT + 547),
            (Arch::ScmpArchS390x, 448),
        ];
        let cases = [
            (X86_64, 0, REST),
            (X86_64, 449, REST),
            (X86_64, 450, ENOSYS),
            (X86_64, X32_BIT - 1, ENOSYS),
            (X86_64, X32_BIT, REST),
            (X86_64, X32_BIT + 547, REST),
            (X86_64, X32_BIT + 548, ENOSYS),
            (X86_64, u32::MAX, ENOSYS),
            (I386, 440, REST),
            (I386, 441, ENOSYS),
            (I386, u32::MAX, ENOSYS),
            (0x8000_0016, 0, ENOSYS),
            (0x8000_0016, 448, REST),
            (0x8000_0016, 449, ENOSYS),
            (AARCH64, 9999, REST),
        ];
        for (arch, number, expected) in cases {
            assert_eq!(answer(&largest, arch, number), expected, "{arch:#x} {number:#x}");
        }
    }

    #[test]
    fn architectures_that_are_not_named_are_left_to_libseccomp() {
        assert!(instructions(&[]).is_empty());
        let plain = [(Arch::ScmpArchX86_64, 10)];
        assert_eq!(answer(&plain, X86_64, 11), ENOSYS);
        assert_eq!(answer(&plain, X86_64, X32_BIT + 11), REST);
        assert_eq!(answer(&plain, I386, 11), REST);
        let marked = [(Arch::ScmpArchX32, X32_BIT + 10)];
        assert_eq!(answer(&marked, X86_64, 11), REST);
        assert_eq!(answer(&marked, X86_64, X32_BIT + 11), ENOSYS);
        assert_eq!(answer(&[(Arch::ScmpArchAarch64, 10)], AARCH64, 11), ENOSYS);
    }

    #[test]
    fn errors_and_deaths_by_default_are_what_it_is_for() {
        use LinuxSeccompAction as Action;
        for default in [Action::ScmpActKill, Action::ScmpActKillProcess, Action::ScmpActTrap] {
            assert!(is_wanted(default, None));
        }
        assert!(is_wanted(Action::ScmpActErrno, None) && is_wanted(Action::ScmpActErrno, Some(1)));
        assert!(!is_wanted(Action::ScmpActErrno, Some(38)), "it is the answer already");
        for default in [Action::ScmpActAllow, Action::ScmpActLog, Action::ScmpActTrace] {
            assert!(!is_wanted(default, None));
        }
    }
}
