//! ociVersion (config.md, Specification version): SemVer 2.0.0, and any 1.x, which the spec keeps compatible.

use super::Quoted;
use crate::error::{Error, Result};

/// Accepts every 1.x.y, pre-releases and build metadata included.
///
/// # Errors
/// Missing, not a semantic version, or another major version.
pub(crate) fn check(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::new("missing").at("ociVersion").hint("the runtime-spec's version, as \"1.3.0\""));
    }
    let field = format!("ociVersion {}", Quoted(text));
    match major(text) {
        Some(1) => Ok(()),
        Some(_) => Err(Error::new("not supported").at(field).hint("any 1.x.y is")),
        None => Err(Error::new("not a semantic version").at(field).hint("MAJOR.MINOR.PATCH, as 1.3.0")),
    }
}

/// The major version of a well-formed SemVer 2.0.0.
fn major(text: &str) -> Option<u64> {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    let number = |word: &str| !word.is_empty() && digits(word) && (word == "0" || !word.starts_with('0'));
    let build_fits = build.is_none_or(|build| build.split('.').all(word));
    let pre_fits =
        pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))));
    let mut numbers = core.split('.');
    let first = numbers.next()?;
    let rest: Vec<&str> = numbers.collect();
    let core_fits = number(first) && rest.len() == 2 && rest.iter().all(|part| number(part));
    (core_fits && pre_fits && build_fits).then(|| first.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_is_welcome() {
        for text in
            ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0", "1.0.0-rc5", "1.2.0+dev", "1.1.0-rc.1+a.0b", "1.0.0--"]
        {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn everything_else_says_why() {
        let unsupported = |v: &str| format!("ociVersion {v:?}: not supported (hint: any 1.x.y is)");
        let malformed =
            |v: &str| format!("ociVersion {v:?}: not a semantic version (hint: MAJOR.MINOR.PATCH, as 1.3.0)");
        for text in ["0.1.0", "0.6.0-dev", "2.0.0", "10.0.0"] {
            assert_eq!(check(text).expect_err("refused").to_string(), unsupported(text));
        }
        for text in [
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "1.0.x",
            "01.0.0",
            "1.00.0",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.0-01",
            "1.0.0+",
            " 1.0.0",
            "1.0.0 ",
            "-1.0.0",
            "1..0",
            "99999999999999999999.0.0",
            "latest",
        ] {
            assert_eq!(check(text).expect_err("refused").to_string(), malformed(text));
        }
        assert!(check("").is_err());
    }
}
