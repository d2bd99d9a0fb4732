//! Device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE for cgroup v2 (linux/bpf.h,
//! `struct bpf_cgroup_dev_ctx`). Pure: this is the assembler, the kernel is asked elsewhere.
//!
//! The program walks the rules from the last to the first and keeps in a register which of the wanted access bits no
//! rule has decided yet. An allow rule takes its bits away, and none left is a yes; a deny rule that meets one of
//! them is a no. So each bit is decided by the last rule that names it, as the spec says.

use super::devices::{ALL, Kind, Rule, Rules};

/// `struct bpf_insn`, in the machine's byte order.
pub(crate) type Instruction = [u8; 8];

/// The instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program(pub(crate) Vec<Instruction>);

// Opcodes: class, operation, source (linux/bpf.h, linux/bpf_common.h).
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const AND_32: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT_32: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const MOVE_64: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_EQUAL_32: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K; Linux 5.1
const JUMP_IF_NOT_EQUAL_32: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JUMP_IF_SET_32: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Registers.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const UNDECIDED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

impl Program {
    /// The program of these rules; none if they allow everything.
    pub(crate) fn build(rules: &Rules) -> Option<Self> {
        if rules.others && rules.rules.iter().all(|(_, rule)| rule.allow) {
            return None;
        }
        let mut program = vec![
            load(KIND, 0),
            instruction(AND_32, KIND, 0, 0xffff),
            load(UNDECIDED, 0),
            instruction(SHIFT_RIGHT_32, UNDECIDED, 0, 16),
            load(MAJOR, 4),
            load(MINOR, 8),
        ];
        let backwards: Vec<Rule> = rules.rules.iter().rev().map(|(_, rule)| *rule).collect();
        for run in backwards.chunk_by(|one, next| one.allow == next.allow) {
            if decide(&mut program, run) {
                return Some(Program(program)); // the kernel refuses instructions that it cannot reach
            }
        }
        program.extend(answer(rules.others));
        Some(Program(program))
    }
}

/// Rules that all allow, or all deny, in whatever order. The usual ones, full access to numbered devices, share
/// their comparisons: the verifier's time grows with the number of instructions. True if nothing is left to decide.
fn decide(program: &mut Vec<Instruction>, run: &[Rule]) -> bool {
    let (mut numbered, others): (Vec<Rule>, Vec<Rule>) =
        run.iter().partition(|rule| rule.allow && rule.access == ALL && rule.major.is_some());
    let mut others = others.as_slice();
    while let [rule, rest @ ..] = others {
        let both =
            rest.first().is_some_and(|next| Rule { kind: rule.kind, ..*next } == *rule && next != rule);
        if block(program, rule, both) {
            return true;
        }
        others = &rest[usize::from(both)..];
    }
    let key = |rule: &Rule| (rule.kind == Kind::Block, rule.major, rule.minor);
    numbered.sort_unstable_by_key(key);
    numbered.dedup();
    for kind in numbered.chunk_by(|one, next| one.kind == next.kind) {
        // Jumps reach 32767 instructions far.
        kind.chunks(8192).for_each(|rules| group(program, rules));
    }
    false
}

/// Full access to some devices of one kind, sorted by number: one comparison for the kind, one for each major number,
/// one for each minor number, and one answer for all.
fn group(program: &mut Vec<Instruction>, rules: &[Rule]) {
    // The comparison, and how far it jumps; none: to the answer.
    let mut compare: Vec<(u8, u8, u32, Option<usize>)> = Vec::new();
    for same in rules.chunk_by(|one, next| one.major == next.major) {
        let major = same[0].major.unwrap_or_default();
        if same[0].minor.is_none() {
            compare.push((JUMP_IF_EQUAL_32, MAJOR, major, None));
        } else {
            compare.push((JUMP_IF_NOT_EQUAL_32, MAJOR, major, Some(same.len())));
            let minors = same.iter().filter_map(|rule| rule.minor);
            compare.extend(minors.map(|minor| (JUMP_IF_EQUAL_32, MINOR, minor, None)));
        }
    }
    let length = compare.len();
    program.push(instruction(JUMP_IF_NOT_EQUAL_32, KIND, (length + 3) as i16, number(rules[0].kind)));
    program.extend(compare.into_iter().enumerate().map(|(at, (code, register, value, far))| {
        instruction(code, register, far.unwrap_or(length - at) as i16, value)
    }));
    program.push(instruction(JUMP, 0, 2, 0));
    program.extend(answer(true));
}

/// One rule: conditions that jump behind the block, then the decision. It may stand for both kinds of devices. True if
/// it decides everything, so that nothing may follow.
fn block(program: &mut Vec<Instruction>, rule: &Rule, both: bool) -> bool {
    let kind = (!both).then(|| number(rule.kind));
    let conditions: Vec<(u8, u32)> = [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)]
        .into_iter()
        .filter_map(|(register, value)| Some((register, value?)))
        .collect();
    let mut decision = Vec::with_capacity(4);
    if rule.access != ALL && rule.allow {
        decision.push(instruction(AND_32, UNDECIDED, 0, u32::from(ALL & !rule.access)));
        decision.push(instruction(JUMP_IF_NOT_EQUAL_32, UNDECIDED, 2, 0));
    } else if rule.access != ALL {
        decision.push(instruction(JUMP_IF_SET_32, UNDECIDED, 1, u32::from(rule.access)));
        decision.push(instruction(JUMP, 0, 2, 0));
    }
    decision.extend(answer(rule.allow));
    for (done, (register, value)) in conditions.iter().enumerate() {
        let behind = conditions.len() - done - 1 + decision.len();
        program.push(instruction(JUMP_IF_NOT_EQUAL_32, *register, behind as i16, *value));
    }
    program.extend(decision);
    conditions.is_empty() && rule.access == ALL
}

/// The kind as the kernel numbers it.
fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Block => 1, // BPF_DEVCG_DEV_BLOCK
        Kind::Char => 2,  // BPF_DEVCG_DEV_CHAR
    }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE_64, RESULT, 0, u32::from(allow)), instruction(EXIT, 0, 0, 0)]
}

/// A word of the context, at this offset, into a register.
fn load(register: u8, offset: i16) -> Instruction {
    let mut load = instruction(LOAD_WORD, register, offset, 0);
    load[1] = registers(register, CONTEXT);
    load
}

fn instruction(code: u8, register: u8, offset: i16, immediate: u32) -> Instruction {
    let ([o1, o2], [i1, i2, i3, i4]) = (offset.to_ne_bytes(), immediate.to_ne_bytes());
    [code, registers(register, 0), o1, o2, i1, i2, i3, i4]
}

/// Two bit fields, whose order follows the byte order.
fn registers(destination: u8, source: u8) -> u8 {
    if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;
    use serde_json::{Value, json};

    /// Runs the program as the kernel would; panics at whatever the verifier would refuse.
    fn run(program: &Program, kind: u32, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | kind, major, minor];
        let (mut registers, mut at) = ([0u64; 6], 0usize);
        loop {
            let [code, r, o1, o2, i @ ..] = program.0[at];
            let (to, offset, imm) = ((r & 15) as usize, i16::from_ne_bytes([o1, o2]), u32::from_ne_bytes(i));
            at += 1;
            let jump = |yes: bool| if yes { usize::try_from(offset).unwrap() } else { 0 };
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4].into(),
                AND_32 => registers[to] = u64::from(registers[to] as u32 & imm),
                SHIFT_RIGHT_32 => registers[to] = u64::from(registers[to] as u32 >> imm),
                MOVE_64 => registers[to] = imm.into(),
                JUMP => at += jump(true),
                JUMP_IF_NOT_EQUAL_32 => at += jump(registers[to] as u32 != imm),
                JUMP_IF_EQUAL_32 => at += jump(registers[to] as u32 == imm),
                JUMP_IF_SET_32 => at += jump(registers[to] as u32 & imm != 0),
                EXIT => return registers[0] == 1,
                _ => panic!("opcode {code:#x}"),
            }
        }
    }

    /// The verifier wants every instruction to be reached.
    fn assert_reached(program: &Program) {
        let (mut reached, mut next) = (vec![false; program.0.len()], vec![0]);
        while let Some(at) = next.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let [code, _, o1, o2, ..] = program.0[at];
            let target = at + 1 + i16::from_ne_bytes([o1, o2]) as usize;
            match code {
                EXIT => {}
                JUMP => next.push(target),
                JUMP_IF_EQUAL_32 | JUMP_IF_NOT_EQUAL_32 | JUMP_IF_SET_32 => next.extend([at + 1, target]),
                _ => next.push(at + 1),
            }
        }
        assert_eq!(reached.iter().position(|reached| !reached), None, "{program:?}");
    }

    /// What the spec says: each access bit by the last rule that names it.
    fn expected(rules: &Rules, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        [READ, WRITE, MKNOD].iter().filter(|bit| access & **bit != 0).all(|bit| {
            let last = rules.rules.iter().rev().map(|(_, rule)| rule).find(|rule| {
                rule.kind == kind
                    && rule.major.is_none_or(|m| m == major)
                    && rule.minor.is_none_or(|m| m == minor)
                    && rule.access & bit != 0
            });
            last.map_or(rules.others, |rule| rule.allow)
        })
    }

    /// The kernel's v1 device controller (security/device_cgroup.c), as a model: whitelists want one exception for
    /// all bits, blacklists refuse on any.
    fn v1(writes: &[super::super::Write], kind: char, access: u8, major: u32, minor: u32) -> bool {
        let allow_all = writes[0].file == "devices.allow";
        let matches = |write: &super::super::Write| {
            let mut parts = write.value.split([' ', ':']);
            let mut next = || parts.next().unwrap();
            let same = next() == kind.to_string();
            let number = |text: &str, wanted: u32| text == "*" || text == wanted.to_string();
            let (major, minor) = (number(next(), major), number(next(), minor));
            let bits: u8 = next()
                .chars()
                .map(|c| match c {
                    'r' => READ,
                    'w' => WRITE,
                    _ => MKNOD,
                })
                .sum();
            same && major && minor && if allow_all { access & bits != 0 } else { access & !bits == 0 }
        };
        writes[1..].iter().any(matches) != allow_all
    }

    fn parse(rules: &Value) -> Rules {
        Rules::parse(&serde_json::from_value::<Vec<_>>(rules.clone()).unwrap()).unwrap()
    }

    #[test]
    fn decides_as_the_spec_says_and_v1_does_the_same() {
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (mut compared, mut on_v1) = (0, 0);
        for _ in 0..400 {
            let rules: Vec<Value> = (0..random(6))
                .map(|_| {
                    json!({
                        "allow": random(2) == 1,
                        "type": (["a", "b", "c"][random(3) as usize]),
                        "major": ([-1i64, 1, 7, 4294967295][random(4) as usize]),
                        "minor": ([-1i64, 3, 4, 4][random(4) as usize]),
                        "access": (["r", "w", "m", "rw", "rwm", "rwm", "rwm"][random(7) as usize]),
                    })
                })
                .collect();
            let rules = parse(&Value::from(rules));
            let program = Program::build(&rules);
            program.iter().for_each(assert_reached);
            let writes = rules.v1();
            for (kind, number, letter) in [(Kind::Block, 1, 'b'), (Kind::Char, 2, 'c')] {
                for (major, minor) in
                    [(1, 3), (1, 4), (7, 3), (7, 9), (u32::MAX, 4), (10, 200), (136, 5), (9, 9)]
                {
                    for access in [READ, WRITE, READ | WRITE, MKNOD] {
                        let should = expected(&rules, kind, access, major, minor);
                        let does = program.as_ref().is_none_or(|p| run(p, number, access, major, minor));
                        assert_eq!(does, should, "{rules} {letter} {major}:{minor} {access}");
                        compared += 1;
                        if let Ok(writes) = &writes {
                            // v1 may be stricter where two wildcards cross, never laxer.
                            let lists = v1(writes, letter, access, major, minor);
                            assert!(should || !lists, "{rules} {letter} {major}:{minor} {access}");
                            on_v1 += usize::from(lists == should);
                        }
                    }
                }
            }
        }
        assert!(compared == 400 * 64 && on_v1 > 8_000, "{compared} {on_v1}");
    }

    #[test]
    fn the_default_bundle_is_short() {
        let program = Program::build(&parse(&json!([{"allow": false, "access": "rwm"}]))).unwrap();
        assert_eq!(program.0.len(), 6 + 4 + (1 + 13 + 3) + 2);
        assert!(run(&program, 2, READ | WRITE, 1, 3) && run(&program, 1, MKNOD, 8, 0));
        assert!(!run(&program, 1, READ, 8, 0) && !run(&program, 2, READ | MKNOD, 4, 0));
        assert_eq!(Program::build(&parse(&json!([{"allow": true, "access": "rwm"}]))), None);
        assert!(
            Program::build(&parse(&json!([{"allow": true}, {"allow": false, "type": "b", "access": "w"}])))
                .is_some()
        );
    }
}
