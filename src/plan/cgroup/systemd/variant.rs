//! GVariant's text format, as far as the values of annotations need it
//! (docs.gtk.org/glib/gvariant-text-format.html): booleans, numbers, strings and lists of strings, with or without a
//! type before them. Pure. The type that a value must have is known by the property; one written before the value
//! must be able to hold it, no more.

use crate::error::{Error, Result};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Variant {
    /// `true`
    Bool(bool),
    /// `30`, `uint64 30`, `0x1e`
    Integer(i128),
    /// `2.5`
    Real(f64),
    /// `'text'` or `"text"`
    Text(String),
    /// `['a', 'b']`, `@as []`
    Texts(Vec<String>),
}

/// Words that may stand before a number, with the least and the largest it may be.
const WORDS: [(&str, &str, i128, i128); 8] = [
    ("byte", "@y", 0, u8::MAX as i128),
    ("int16", "@n", i16::MIN as i128, i16::MAX as i128),
    ("uint16", "@q", 0, u16::MAX as i128),
    ("int32", "@i", i32::MIN as i128, i32::MAX as i128),
    ("uint32", "@u", 0, u32::MAX as i128),
    ("int64", "@x", i64::MIN as i128, i64::MAX as i128),
    ("uint64", "@t", 0, u64::MAX as i128),
    ("double", "@d", i128::MIN, i128::MAX),
];

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Variant> {
    let wrong = || {
        Error::new(format!("{text:?} is no value in GVariant's text format"))
            .hint("as in 'text', true, uint64 30, ['a', 'b']")
    };
    value(text.trim()).ok_or_else(wrong)
}

fn value(text: &str) -> Option<Variant> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    if let Some((word, _, least, most)) = WORDS.iter().find(|row| row.0 == first || row.1 == first) {
        return match number(rest)? {
            Variant::Integer(whole) if *word == "double" => Some(Variant::Real(whole as f64)),
            Variant::Integer(whole) => (*least..=*most).contains(&whole).then_some(Variant::Integer(whole)),
            real => (*word == "double").then_some(real),
        };
    }
    match (first, text.chars().next()?) {
        ("boolean" | "@b", _) => boolean(rest),
        ("string" | "@s", _) => alone(rest),
        ("@as", _) => list(rest),
        (_, '\'' | '"') => alone(text),
        (_, '[') => list(text),
        _ => boolean(text).or_else(|| number(text)),
    }
}

fn boolean(text: &str) -> Option<Variant> {
    match text {
        "true" => Some(Variant::Bool(true)),
        "false" => Some(Variant::Bool(false)),
        _ => None,
    }
}

fn number(text: &str) -> Option<Variant> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let whole = match digits.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => i128::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => digits.parse().ok(),
    };
    match whole {
        Some(whole) => Some(Variant::Integer(if negative { -whole } else { whole })),
        None => {
            let real: f64 = digits.parse().ok()?;
            real.is_finite().then_some(Variant::Real(if negative { -real } else { real }))
        }
    }
}

fn alone(text: &str) -> Option<Variant> {
    let (text, rest) = string(text)?;
    rest.is_empty().then_some(Variant::Text(text))
}

fn list(text: &str) -> Option<Variant> {
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut texts = Vec::new();
    if let Some(end) = rest.strip_prefix(']') {
        return end.is_empty().then_some(Variant::Texts(texts));
    }
    loop {
        let (text, after) = string(rest)?;
        texts.push(text);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return (after == "]").then_some(Variant::Texts(texts)),
        }
    }
}

/// A quoted string at the beginning, and what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let mut chars = text.char_indices().skip(1);
    let mut read = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((read, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => read.push('\n'),
                't' => read.push('\t'),
                c @ ('\\' | '\'' | '"') => read.push(c),
                _ => return None,
            },
            c => read.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let texts = |list: &[&str]| Variant::Texts(list.iter().map(|text| (*text).to_owned()).collect());
        for (text, expected) in [
            ("true", Variant::Bool(true)),
            (" boolean false ", Variant::Bool(false)),
            ("30", Variant::Integer(30)),
            ("-1", Variant::Integer(-1)),
            ("+7", Variant::Integer(7)),
            ("uint64 18446744073709551615", Variant::Integer(u64::MAX.into())),
            ("@t 5", Variant::Integer(5)),
            ("byte 0xff", Variant::Integer(255)),
            ("2.5", Variant::Real(2.5)),
            ("double 2", Variant::Real(2.0)),
            ("'text'", Variant::Text("text".into())),
            (r#""it's""#, Variant::Text("it's".into())),
            (r"'it\'s \\ \n'", Variant::Text("it's \\ \n".into())),
            ("''", Variant::Text(String::new())),
            ("['a', \"b\"]", texts(&["a", "b"])),
            ("[ 'a','b' ]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[]", texts(&[])),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn no_values() {
        for text in [
            "",
            "text",
            "True",
            "'open",
            "'a' 'b'",
            "'a'b",
            "[",
            "['a'",
            "['a',]",
            "['a' 'b']",
            "[1]",
            "1 2",
            "0x",
            "0xg",
            "--1",
            "1.5.5",
            "nan",
            "inf",
            "1e999",
            "uint64 -1",
            "byte 256",
            "uint16 70000",
            "int32 x",
            "string 5",
            "@as 'a'",
            r"'\q'",
            "uint64 2.5",
            "{}",
            "<'x'>",
            "('a', 'b')",
            "-",
            "+",
        ] {
            assert!(parse(text).is_err(), "{text:?}: {:?}", parse(text));
        }
    }
}
