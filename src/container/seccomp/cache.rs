//! Compiled programs, kept for the next container with the same profile: reading one takes some ten microseconds,
//! compiling docker's profile ten thousand.
//!
//! ```text
//! ROOT/:seccomp/          0700; `:` stands in no container's name
//!   0123456789abcdef      0600: head, inputs, unknown names, program
//! ```
//!
//! An entry is named by a hash of its inputs, but never believed for its name: it holds them, and all of them are
//! compared. It is used only if the directory and the file belong to us and nobody else may write them, if it is
//! whole, and if its own hash is right; anything else is compiled again and replaced. A cache that cannot be written
//! is no error: it only saves time.

use super::compile::{Compiled, library};
use crate::container::store::FILTERS;
use crate::error::Result;
use crate::plan::seccomp::enosys;
use crate::sys::dir::{self, ENOENT};
use oci_spec::runtime::LinuxSeccomp;
use std::hash::Hasher;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A directory that is full is emptied: so many different profiles are no second container of the first.
const MOST_ENTRIES: usize = 64;

/// An entry is at most so long; docker's has some 20 KiB.
const LONGEST: u64 = 1 << 20;

/// What an entry begins with: this, three lengths of four bytes, and the hash of all that follows, of eight.
const MAGIC: &[u8; 12] = b"onggi bpf 1\n";
const HEAD: usize = MAGIC.len() + 3 * 4 + 8;

/// The program of this profile: from the cache below `root`, or else by `compile`, and then kept.
pub(super) fn find(
    root: &Path,
    profile: &LinuxSeccomp,
    compile: impl FnOnce() -> Result<Compiled>,
) -> Result<Compiled> {
    let inputs = inputs(profile);
    let name = format!("{:016x}", hash(&inputs));
    let directory = open(root);
    let kept = directory.as_ref().and_then(|directory| read(directory.as_fd(), &name, &inputs));
    if let Some(compiled) = kept {
        return Ok(compiled);
    }
    let compiled = compile()?;
    if let Some(directory) = directory.or_else(|| make(root)) {
        write(directory.as_fd(), &name, &inputs, &compiled);
    }
    Ok(compiled)
}

/// All that decides about the program, and a little more.
fn inputs(profile: &LinuxSeccomp) -> Vec<u8> {
    let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    let (program, version) = (env!("CARGO_PKG_VERSION"), enosys::VERSION);
    let (kernel, arch) = (kernel.unwrap_or_default(), std::env::consts::ARCH);
    let mut inputs = format!("{program} {version}\n{}\n{kernel}\n{arch}\n", library()).into_bytes();
    // Writing plain data as JSON into memory cannot fail.
    let _ = serde_json::to_writer(&mut inputs, profile);
    inputs
}

/// Not the same in every build, perhaps: then an entry is not found, and made again.
fn hash(bytes: &[u8]) -> u64 {
    #[expect(deprecated, reason = "fixed keys are what is wanted of it")]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The directory, if it is there and ours alone.
fn open(root: &Path) -> Option<OwnedFd> {
    let root = dir::open(root).ok()?;
    let directory = dir::open_at(root.as_fd(), FILTERS).ok()?;
    dir::is_private(directory.as_fd()).unwrap_or(false).then_some(directory)
}

fn make(root: &Path) -> Option<OwnedFd> {
    let top = match dir::open(root) {
        Err(error) if error.errno() == ENOENT => {
            dir::make_all(root).ok()?;
            dir::open(root)
        }
        other => other,
    };
    // Another creator may be first.
    let _ = dir::make_at(top.ok()?.as_fd(), FILTERS);
    open(root)
}

fn read(directory: BorrowedFd<'_>, name: &str, inputs: &[u8]) -> Option<Compiled> {
    decode(&dir::read_private(directory, name, LONGEST).ok()??, inputs)
}

fn write(directory: BorrowedFd<'_>, name: &str, inputs: &[u8], compiled: &Compiled) {
    let entry = encode(inputs, compiled);
    if entry.len() as u64 >= LONGEST {
        return;
    }
    let names = dir::names(directory).unwrap_or_default();
    if names.len() >= MOST_ENTRIES {
        // Whoever reads one of them has it open; whoever writes one does without.
        names.iter().for_each(|name| drop(dir::unlink(directory, name)));
    }
    // Nobody else writes into a file of this name, so that what is renamed is whole.
    let new = format!("{name}.{}", std::process::id());
    let _ = dir::replace_by(directory, name, &new, &entry);
}

fn encode(inputs: &[u8], compiled: &Compiled) -> Vec<u8> {
    let unknown = compiled.unknown.join("\n");
    let parts = [inputs, unknown.as_bytes(), &compiled.program];
    let lengths = parts.map(|part| (part.len() as u32).to_le_bytes()).concat();
    let body = parts.concat();
    [MAGIC.as_slice(), &lengths, &hash(&body).to_le_bytes(), &body].concat()
}

fn decode(entry: &[u8], inputs: &[u8]) -> Option<Compiled> {
    let head = entry.strip_prefix(MAGIC)?;
    let length = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (first, second, third) = (length(0)? as usize, length(4)? as usize, length(8)? as usize);
    let told = u64::from_le_bytes(head.get(12..20)?.try_into().ok()?);
    let body = entry.get(HEAD..)?;
    let whole = first.checked_add(second)?.checked_add(third)? == body.len();
    if !whole || body.get(..first)? != inputs || hash(body) != told || third == 0 || third % 8 != 0 {
        return None;
    }
    let (unknown, program) = body[first..].split_at(second);
    let unknown = std::str::from_utf8(unknown).ok()?.lines().map(str::to_owned).collect();
    Some(Compiled { program: program.to_vec(), unknown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled() -> Compiled {
        Compiled { program: vec![7; 16], unknown: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn an_entry_is_for_its_inputs_only_and_whole() {
        let entry = encode(b"inputs", &compiled());
        assert_eq!(decode(&entry, b"inputs"), Some(compiled()));
        assert_eq!(decode(&entry, b"inputt"), None);
        assert_eq!(decode(&entry, b"input"), None);
        for length in 0..entry.len() {
            assert_eq!(decode(&entry[..length], b"inputs"), None, "{length}");
        }
        for at in 0..entry.len() {
            let mut bad = entry.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&bad, b"inputs"), None, "{at}");
        }
        let none = Compiled { unknown: Vec::new(), ..compiled() };
        assert_eq!(decode(&encode(b"", &none), b""), Some(none));
        let odd = Compiled { program: vec![7; 15], ..compiled() };
        assert_eq!(decode(&encode(b"", &odd), b""), None, "half an instruction");
    }

    #[test]
    fn profiles_that_differ_have_inputs_that_differ() {
        let inputs = |text: &str| inputs(&serde_json::from_str(text).unwrap());
        let one = inputs(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        assert_eq!(one, inputs(r#"{ "defaultAction": "SCMP_ACT_ALLOW" }"#), "spelling does not matter");
        assert_ne!(one, inputs(r#"{"defaultAction":"SCMP_ACT_LOG"}"#));
        assert_ne!(one, inputs(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"]}"#));
    }

    #[test]
    fn is_made_when_first_needed_and_used_the_second_time() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        let profile: LinuxSeccomp = serde_json::from_str(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap();
        assert_eq!(find(&root, &profile, || Ok(compiled())), Ok(compiled()));
        let again = find(&root, &profile, || panic!("compiled twice"));
        assert_eq!(again, Ok(compiled()));
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(find(&file, &profile, || Ok(compiled())), Ok(compiled()), "without a place for it");
    }
}
