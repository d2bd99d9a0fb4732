//! Times as Go's time package reads them, and so runc: `5s`, `1m30s`, `500ms`, `1.5h`.

use std::str::FromStr;
use std::time::Duration;

/// A length of time that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Duration);

/// Nanoseconds of each unit; a longer name stands before a shorter one that it begins with. Two letters look like µ.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go counts nanoseconds in 63 bits: some 292 years.
const LONGEST: u128 = i64::MAX as u128;

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let nanos = nanos(unsigned).ok_or("not a time like 5s, 1m30s or 500ms")?;
        if nanos == 0 || text.starts_with('-') {
            return Err("duration interval must be greater than 0".to_owned());
        }
        u64::try_from(nanos)
            .map(|nanos| Interval(Duration::from_nanos(nanos)))
            .map_err(|error| error.to_string())
    }
}

/// A sum of numbers with units; 0 needs no unit.
fn nanos(text: &str) -> Option<u128> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, 0_u128);
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (name, unit) =
            UNITS.iter().filter(|unit| tail.starts_with(unit.0)).max_by_key(|unit| unit.0.len())?;
        sum = sum.checked_add(times(number, *unit)?).filter(|sum| *sum <= LONGEST)?;
        rest = &tail[name.len()..];
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

/// `1`, `1.5`, `.5`, `1.` units; what is less than a nanosecond is dropped.
fn times(number: &str, unit: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(part) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in part.bytes() {
        // Digits behind the nanosecond weigh nothing; one at a time, since the units are no powers of ten.
        place /= 10;
        sum += u128::from(digit - b'0') * place;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+1ns", 1),
            ("1us", 1_000),
            ("1\u{b5}s", 1_000),
            ("1\u{3bc}s", 1_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("0.1s0.05s", 150_000_000),
            ("1s1s", 2_000_000_000),
            ("0h5s", 5_000_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
            ("0.30000000000000000000001s", 300_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Interval(Duration::from_nanos(nanos))), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["0", "0s", "-5s", "-0", "0.1ns", "0h0m"] {
            let error = text.parse::<Interval>().unwrap_err();
            assert_eq!(error, "duration interval must be greater than 0", "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            ".s",
            "5 s",
            " 5s",
            "5s ",
            "5S",
            "5d",
            "1.2.3s",
            "--5s",
            "5s5",
            "abc",
            "\u{b5}",
            "9223372036854775808ns",
            "99999999999999999999999999999999999999999999h",
            "3000000h",
        ] {
            let error = text.parse::<Interval>().unwrap_err();
            assert_eq!(error, "not a time like 5s, 1m30s or 500ms", "{text}");
        }
    }
}
