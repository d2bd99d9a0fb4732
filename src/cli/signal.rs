//! Signals as people and engines write them: `KILL`, `SIGKILL`, `sigkill`, `9`, `SIGRTMIN+3`.

use std::str::FromStr;

use nix::libc;

/// A signal by its number; 0 asks only whether the process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(pub(crate) i32);

/// signal(7), the standard signals and their second names.
const NAMES: [(&str, i32); 34] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The first real-time signal that a libc leaves to programs. glibc's, and docker's: the container's libc counts,
/// not the one this program is linked with.
const RTMIN: i32 = 34;
/// The last one; also the highest signal of all.
const RTMAX: i32 = 64;

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match NAMES.iter().find(|row| row.0 == name) {
            Some(row) => Some(row.1),
            None if name.starts_with("RT") => real_time(name),
            None => digits(text).filter(|number| *number <= RTMAX),
        };
        number
            .map(Signal)
            .ok_or_else(|| "not a signal: a name as KILL or RTMIN+1, or a number up to 64".to_owned())
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`
fn real_time(name: &str) -> Option<i32> {
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (Some(rest), _) => RTMIN + digits(rest.strip_prefix('+')?)?,
        (_, Some("")) => RTMAX,
        (_, Some(rest)) => RTMAX - digits(rest.strip_prefix('-')?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Nothing but digits, few enough that nothing overflows.
fn digits(text: &str) -> Option<i32> {
    let plain = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals() {
        let table = [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("Kill", 9),
            ("9", 9),
            ("15", 15),
            ("0", 0),
            ("64", 64),
            ("SIGCLD", 17),
            ("POLL", 29),
            ("IOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("SIGRTMAX-14", 50),
            ("RTMAX-30", 34),
        ];
        for (text, number) in table {
            assert_eq!(text.parse(), Ok(Signal(number)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "SIG",
            "SIG9",
            "65",
            "-9",
            "+9",
            " 9",
            "9 ",
            "0x9",
            "TERMINATE",
            "SIGSIGTERM",
            "RT",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN++1",
            "99999999999999",
            "KILL\0",
        ] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_standard_signal_has_a_name() {
        for number in 1..32 {
            assert!(NAMES.iter().any(|row| row.1 == number), "{number}");
        }
    }
}
