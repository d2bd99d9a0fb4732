//! A shorter program for the same answers. libseccomp compares a system call with every number of the profile, and the
//! kernel, when it loads the program, checks and translates each instruction and walks the program for every number. Most
//! answers depend on architecture and number alone, and are the same for whole ranges of numbers: a search tree over the
//! ranges gives those. What asks for arguments goes on to the old program, of which only that remains. Pure.

use super::enosys::{
    ARCHITECTURE, Instruction, JUMP, JUMP_BITS, JUMP_EQUAL, JUMP_GREATER, LOAD, NUMBER, RETURN, encode,
};
use std::collections::BTreeSet;

/// BPF_JMP | BPF_JGE | BPF_K, without a sign.
const JUMP_AT_LEAST: u16 = 0x35;
/// BPF_ALU | BPF_AND | BPF_K.
const AND: u16 = 0x54;

/// code, jump if so, jump if not, constant.
type Parts = (u16, u8, u8, u32);

/// What stands in the accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// The number of the system call.
    Number(u32),
    /// Its architecture.
    Architecture(u32),
    /// An architecture that the program does not name.
    Foreign,
    /// Anything.
    Unknown,
}

/// A call as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Call {
    architecture: Word,
    number: Word,
}

/// What a program may do with a call.
#[derive(Debug, Default)]
struct Walk {
    answers: BTreeSet<u32>,
    steps: BTreeSet<usize>,
}

/// What is known of a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Always this.
    Always(u32),
    /// It depends on arguments.
    Depends,
}

/// The shorter program; none if the program has instructions that are not understood here, or would not be shorter.
pub(crate) fn shortened(program: &[u8]) -> Option<Vec<Instruction>> {
    let old: Vec<Parts> = program.chunks_exact(8).map(decode).collect();
    let architectures = architectures(&old)?;
    let edges = edges(&old);
    let (mut kept, mut blocks) = (BTreeSet::new(), Vec::new());
    for &architecture in &architectures {
        let mut ranges: Vec<(u32, Answer)> = Vec::new();
        for &number in &edges {
            let call = Call { architecture: Word::Architecture(architecture), number: Word::Number(number) };
            let walk = walk(&old, call, &architectures)?;
            let answer = match walk.answers.first() {
                Some(&answer) if walk.answers.len() == 1 => Answer::Always(answer),
                _ => Answer::Depends,
            };
            if answer == Answer::Depends {
                kept.extend(walk.steps);
            }
            if ranges.last().is_none_or(|last| last.1 != answer) {
                ranges.push((number, answer));
            }
        }
        blocks.push((architecture, ranges));
    }
    let foreign = walk(&old, Call { architecture: Word::Foreign, number: Word::Unknown }, &architectures)?;
    kept.extend(foreign.steps);
    let new = assembled(&blocks, &rest(&old, &kept)?);
    (new.len() < old.len()).then(|| new.into_iter().map(encode).collect())
}

fn decode(bytes: &[u8]) -> Parts {
    let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
    (code, bytes[2], bytes[3], u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]))
}

/// The architectures that the program compares with; none: it asks for them in another way.
fn architectures(old: &[Parts]) -> Option<Vec<u32>> {
    let mut found = BTreeSet::new();
    let mut todo = vec![(0, Word::Unknown)];
    let mut seen = BTreeSet::new();
    while let Some((at, word)) = todo.pop() {
        if !seen.insert((at, word)) {
            continue;
        }
        let &(code, yes, no, k) = old.get(at)?;
        let next = at + 1;
        match code {
            LOAD if k == ARCHITECTURE => todo.push((next, Word::Foreign)),
            LOAD => todo.push((next, Word::Unknown)),
            AND if word != Word::Foreign => todo.push((next, Word::Unknown)),
            JUMP => todo.push((next + k as usize, word)),
            JUMP_EQUAL | JUMP_GREATER | JUMP_AT_LEAST | JUMP_BITS => {
                match (code, word) {
                    (JUMP_EQUAL, Word::Foreign) => drop(found.insert(k)),
                    (_, Word::Foreign) => return None,
                    _ => {}
                }
                todo.extend([(next + yes as usize, word), (next + no as usize, word)]);
            }
            RETURN => {}
            _ => return None,
        }
    }
    Some(found.into_iter().collect())
}

/// Numbers where the answer may change: between two of them every comparison with a number has one outcome. A bit is
/// tested of x32 only, whose bit divides the numbers into four parts.
fn edges(old: &[Parts]) -> BTreeSet<u32> {
    let mut edges = BTreeSet::from([0]);
    for &(code, _, _, k) in old {
        match code {
            JUMP_EQUAL => edges.extend([Some(k), k.checked_add(1)].into_iter().flatten()),
            JUMP_GREATER => edges.extend(k.checked_add(1)),
            JUMP_AT_LEAST => drop(edges.insert(k)),
            JUMP_BITS if k.is_power_of_two() => edges.extend((1..=u32::MAX / k).take(4).map(|i| i * k)),
            _ => {}
        }
    }
    edges
}

/// Follows a call through the program, both ways where it is not known which; none: an instruction is not understood.
fn walk(old: &[Parts], call: Call, architectures: &[u32]) -> Option<Walk> {
    let mut walk = Walk::default();
    let mut todo = vec![(0, Word::Unknown)];
    let mut seen = BTreeSet::new();
    while let Some((at, word)) = todo.pop() {
        if !seen.insert((at, word)) {
            continue;
        }
        let &(code, yes, no, k) = old.get(at)?;
        walk.steps.insert(at);
        let next = at + 1;
        match code {
            LOAD if k == NUMBER => todo.push((next, call.number)),
            LOAD if k == ARCHITECTURE => todo.push((next, call.architecture)),
            LOAD | AND => todo.push((next, Word::Unknown)),
            JUMP => todo.push((next + k as usize, word)),
            JUMP_EQUAL | JUMP_GREATER | JUMP_AT_LEAST | JUMP_BITS => {
                match decided(code, word, k, architectures) {
                    Some(true) => todo.push((next + yes as usize, word)),
                    Some(false) => todo.push((next + no as usize, word)),
                    None => todo.extend([(next + yes as usize, word), (next + no as usize, word)]),
                }
            }
            RETURN => drop(walk.answers.insert(k)),
            _ => return None,
        }
    }
    Some(walk)
}

/// The outcome of a comparison, if it is known, and the same for a whole range of numbers.
fn decided(code: u16, word: Word, k: u32, architectures: &[u32]) -> Option<bool> {
    let value = match word {
        // The ranges end at every multiple of the one bit only if there are but four.
        Word::Number(_) if code == JUMP_BITS && k != 1 << 30 => return None,
        Word::Number(value) | Word::Architecture(value) => value,
        Word::Foreign if code == JUMP_EQUAL && architectures.contains(&k) => return Some(false),
        Word::Foreign | Word::Unknown => return None,
    };
    Some(match code {
        JUMP_EQUAL => value == k,
        JUMP_GREATER => value > k,
        JUMP_AT_LEAST => value >= k,
        _ => value & k != 0,
    })
}

/// Of the old program only these steps; jumps, and comparisons of which one way is gone, go over into what they lead to.
/// None: a jump got too long for its byte.
fn rest(old: &[Parts], kept: &BTreeSet<usize>) -> Option<Vec<Parts>> {
    let ways = |at: usize| -> Vec<usize> {
        let (code, yes, no, k) = old[at];
        let targets = match code {
            JUMP => vec![at + 1 + k as usize],
            LOAD | AND | RETURN => Vec::new(),
            _ => vec![at + 1 + yes as usize, at + 1 + no as usize],
        };
        targets.into_iter().filter(|target| kept.contains(target)).collect()
    };
    let arrive = |mut at: usize| {
        while let [only] = ways(at)[..] {
            at = only;
        }
        at
    };
    let steps: Vec<usize> = kept.iter().copied().filter(|&at| ways(at).len() != 1).collect();
    let place = |at: usize| steps.binary_search(&arrive(at)).ok();
    let keep = |(new, &at): (usize, &usize)| {
        let (code, _, _, k) = old[at];
        match ways(at)[..] {
            [yes, no] => {
                let past = |target: usize| u8::try_from(place(target)?.checked_sub(new + 1)?).ok();
                Some((code, past(yes)?, past(no)?, k))
            }
            // What comes next may have been a jump over steps that are kept.
            _ if code != RETURN && place(at + 1) != Some(new + 1) => None,
            _ => Some(old[at]),
        }
    };
    steps.iter().enumerate().map(keep).collect()
}

/// A jump to the old program, as long as it is not known where that begins.
const TO_REST: Parts = (JUMP, 0, 0, u32::MAX);

fn assembled(blocks: &[(u32, Vec<(u32, Answer)>)], rest: &[Parts]) -> Vec<Parts> {
    let mut new = vec![(LOAD, 0, 0, ARCHITECTURE)];
    for (architecture, ranges) in blocks {
        let tree = tree(ranges);
        new.extend([(JUMP_EQUAL, 1, 0, *architecture), (JUMP, 0, 0, tree.len() as u32 + 1)]);
        new.push((LOAD, 0, 0, NUMBER));
        new.extend(tree);
    }
    new.push(TO_REST);
    let start = new.len();
    for (at, parts) in new.iter_mut().enumerate().filter(|(_, parts)| **parts == TO_REST) {
        parts.3 = (start - at - 1) as u32;
    }
    [new.as_slice(), rest].concat()
}

/// A binary search for the range that the number in the accumulator is in.
fn tree(ranges: &[(u32, Answer)]) -> Vec<Parts> {
    let mut tree = Backwards(Vec::new());
    tree.search(ranges);
    tree.0.reverse();
    tree.0
}

/// A program written from its end, since jumps lead forwards only: what is jumped to is there already, and may be
/// jumped to again. Places are counted from the end.
struct Backwards(Vec<Parts>);

impl Backwards {
    /// How far back an answer is looked for, so that whoever asks for it reaches it.
    const NEAR: usize = 128;

    /// Where the search in these ranges begins.
    fn search(&mut self, ranges: &[(u32, Answer)]) -> usize {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let Some(&(start, answer)) = high.first() else { return 0 };
        if low.is_empty() {
            return self.answer(answer);
        }
        let high = self.search(high);
        let low = self.search(low);
        let (high, low) = (self.reach(high), self.reach(low));
        // Each is at most one further away than `reach` saw it.
        let past = |place: usize| (self.0.len() - place - 1) as u8;
        self.push((JUMP_AT_LEAST, past(high), past(low), start))
    }

    fn answer(&mut self, answer: Answer) -> usize {
        let parts = match answer {
            Answer::Always(answer) => (RETURN, 0, 0, answer),
            Answer::Depends => TO_REST,
        };
        let far = self.0.len().saturating_sub(Self::NEAR);
        match self.0[far..].iter().position(|there| *there == parts) {
            Some(place) => far + place,
            None => self.push(parts),
        }
    }

    /// The place, or where a jump to it is if it may be too far for the byte of a comparison.
    fn reach(&mut self, place: usize) -> usize {
        match self.0.len() - place {
            0..=250 => place,
            far => self.push((JUMP, 0, 0, far as u32 - 1)),
        }
    }

    fn push(&mut self, parts: Parts) -> usize {
        self.0.push(parts);
        self.0.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::enosys::machine;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const DENY: u32 = 0x0005_0001;
    const X86_64: u32 = 0xc000_003e;

    fn bytes(parts: &[Parts]) -> Vec<u8> {
        parts.iter().flat_map(|&parts| encode(parts)).collect()
    }

    fn head() -> Vec<Parts> {
        let other = [(JUMP_EQUAL, 1, 0, X86_64), (RETURN, 0, 0, DENY)];
        [vec![(LOAD, 0, 0, ARCHITECTURE)], other.to_vec(), vec![(LOAD, 0, 0, NUMBER)]].concat()
    }

    /// Even numbers below 400 are allowed, 57 by its first argument; another architecture is denied.
    fn list() -> Vec<Parts> {
        let mut program = head();
        for number in (0..400).step_by(2) {
            program.extend([(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]);
        }
        program.extend([(JUMP_EQUAL, 0, 4, 57), (LOAD, 0, 0, 16), (AND, 0, 0, 0xff), (JUMP_EQUAL, 0, 1, 7)]);
        program.extend([(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, DENY)]);
        program
    }

    #[test]
    fn every_answer_stays() {
        let old = bytes(&list());
        // Single numbers are no ranges: it is shorter only where neighbours agree.
        let new = shortened(&old).map_or(old.clone(), |new| new.concat());
        for architecture in [X86_64, 1] {
            for number in (0..500).chain([1 << 30, (1 << 30) + 2, u32::MAX]) {
                for first in [0, 7, 0x107, 8] {
                    let args = [first, 0, 0, 0, 0, 0];
                    let [was, is] = [&old, &new].map(|p| machine::run(p, architecture, number, args));
                    assert_eq!(was, is, "{architecture:#x} {number} {first}");
                }
            }
        }
    }

    #[test]
    fn a_search_may_be_longer_than_a_jump() {
        let answer = |i: u32| match i % 7 {
            0 => Answer::Depends,
            odd if odd % 2 == 1 => Answer::Always(ALLOW),
            even => Answer::Always(DENY + even),
        };
        let ranges: Vec<(u32, Answer)> = (0..2000).map(|i| (3 * i, answer(i))).collect();
        let program = bytes(&assembled(&[(X86_64, ranges)], &[(RETURN, 0, 0, 7)]));
        assert!(program.len() / 8 < 2200, "answers are shared: {}", program.len() / 8);
        for number in 0..6100 {
            let wanted = match answer((number / 3).min(1999)) {
                Answer::Always(answer) => answer,
                Answer::Depends => 7,
            };
            assert_eq!(machine::run(&program, X86_64, number, [0; 6]), wanted, "{number}");
        }
    }

    #[test]
    fn what_is_not_understood_stays_as_it_is() {
        let shift = [(LOAD, 0, 0, NUMBER), (0x64, 0, 0, 3), (RETURN, 0, 0, ALLOW)];
        assert_eq!(shortened(&bytes(&shift)), None);
        assert_eq!(shortened(&bytes(&[(LOAD, 0, 0, NUMBER)])), None, "it has no end");
        let masked =
            [(LOAD, 0, 0, ARCHITECTURE), (JUMP_BITS, 0, 1, 2), (RETURN, 0, 0, 0), (RETURN, 0, 0, ALLOW)];
        assert_eq!(shortened(&bytes(&masked)), None);
        assert_eq!(shortened(&bytes(&[(RETURN, 0, 0, ALLOW)])), None, "nothing to win");
    }

    #[test]
    fn a_bit_of_the_number_is_no_range() {
        let mut program = head();
        for number in 0..300 {
            program.extend([(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]);
        }
        program.extend([(JUMP_BITS, 0, 1, 1), (RETURN, 0, 0, DENY), (RETURN, 0, 0, ALLOW)]);
        let old = bytes(&program);
        let new = shortened(&old).expect("shorter").concat();
        assert!(new.len() < 20 * 8, "{}", new.len() / 8);
        for number in 0..1000 {
            let [was, is] = [&old, &new].map(|p| machine::run(p, X86_64, number, [0; 6]));
            assert_eq!(was, is, "{number}");
        }
    }
}
