//! A program that makes the system calls of a test and nothing else: no C library, no loader, no compiler needed. It
//! writes what each call returned, eight bytes each, and ends with exit_group(0). x86-64 only.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::Sandbox;

/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS: usize = 64 + 56;
/// Where the results stand: behind any code.
const RESULTS: u64 = BASE + 0x8000;

/// write and exit_group of x86-64.
const WRITE: u64 = 1;
const EXIT_GROUP: u64 = 231;

/// Calls in the order in which they are made.
#[derive(Default)]
pub(crate) struct Program {
    code: Vec<u8>,
    calls: u64,
}

impl Program {
    /// Nothing yet.
    pub(crate) fn new() -> Program {
        Program::default()
    }

    /// A system call of x86-64; its number may have the bit of x32.
    pub(crate) fn call(mut self, number: u64, args: &[u64]) -> Program {
        // rdi, rsi, rdx, r10, r8, r9
        let registers = [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]];
        self.load(&registers, args);
        self.load(&[[0x48, 0xb8]], &[number]);
        self.code.extend([0x0f, 0x05]); // syscall
        self.store()
    }

    /// A system call of 32-bit x86, by interrupt 0x80.
    pub(crate) fn call32(mut self, number: u64, args: &[u64]) -> Program {
        // rbx, rcx, rdx
        self.load(&[[0x48, 0xbb], [0x48, 0xb9], [0x48, 0xba]], args);
        self.load(&[[0x48, 0xb8]], &[number]);
        self.code.extend([0xcd, 0x80]); // int 0x80
        self.code.extend([0x48, 0x98]); // cdqe: eax with its sign
        self.store()
    }

    fn load(&mut self, registers: &[[u8; 2]], values: &[u64]) {
        for (register, value) in registers.iter().zip(values) {
            self.code.extend(register); // mov register, value
            self.code.extend(value.to_le_bytes());
        }
    }

    fn store(mut self) -> Program {
        self.code.extend([0x48, 0xa3]); // mov [address], rax
        self.code.extend((RESULTS + 8 * self.calls).to_le_bytes());
        self.calls += 1;
        self
    }

    /// The file.
    fn elf(mut self) -> Vec<u8> {
        let results = 8 * self.calls;
        self = self.call(WRITE, &[1, RESULTS, results]).call(EXIT_GROUP, &[0]);
        let length = (HEADERS + self.code.len()) as u64;
        assert!(BASE + length < RESULTS);
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, EM_X86_64
        file.extend((BASE + HEADERS as u64).to_le_bytes()); // e_entry
        file.extend(64u64.to_le_bytes()); // e_phoff
        file.extend([0; 8]); // e_shoff
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([1, 0, 0, 0, 7, 0, 0, 0]); // PT_LOAD, read, write, execute
        for word in [0, BASE, BASE, length, 0x1_0000, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        file.extend(&self.code);
        file
    }

    /// Puts it into the root filesystem; the container's process is to be it.
    pub(crate) fn install(self, sandbox: &mut Sandbox) {
        let path = sandbox.rootfs("/program");
        fs::write(&path, self.elf()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        sandbox.set("/process/args", json!(["/program"]));
    }

    /// Runs it in the container; what the calls returned, an errno below zero.
    #[track_caller]
    pub(crate) fn run(self, sandbox: &mut Sandbox) -> Vec<i64> {
        self.install(sandbox);
        let running = sandbox.begin("run", &[]).spawn();
        let (stdout, _) = running.files();
        running.finish().ok();
        numbers(&fs::read(stdout).unwrap())
    }
}

/// What a program wrote.
pub(crate) fn numbers(bytes: &[u8]) -> Vec<i64> {
    bytes.chunks(8).map(|word| i64::from_le_bytes(word.try_into().unwrap())).collect()
}
