//! CPUs and memory nodes as a list (`0-3,7`; cpuset(7), Formats for lists), and as the kernel's bit mask: for
//! process.execCPUAffinity (config.md, Linux Process) and linux.memoryPolicy (config-linux.md, Memory policy). Knows
//! nothing of which of them a machine has.

use crate::error::{Error, Result};
use std::fmt;

/// The highest number that is taken: beyond any kernel's CPUs (CONFIG_NR_CPUS) and nodes, and a mask of 8 KiB.
const HIGHEST: u32 = (1 << 16) - 1;

/// Numbers from 0 on, one bit each: bit n of word n / 64.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Mask(Vec<u64>);

impl Mask {
    /// Reads a list: numbers and ranges between commas, blanks around them; an empty text is the empty mask.
    ///
    /// # Errors
    /// An element is no number or range, or larger than 65535; or there are commas but no number.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let mut mask = Mask::default();
        for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            let (first, last) = element.split_once('-').unwrap_or((element, element));
            let (first, last) = (number(first, element)?, number(last, element)?);
            if first > last {
                return Err(Error::new(format!("{element:?} is no range: {first} is above {last}")));
            }
            (first..=last).for_each(|number| mask.add(number));
        }
        if mask.is_empty() && !text.is_empty() {
            return Err(Error::new(format!("{text:?} names no number")));
        }
        Ok(mask)
    }

    fn add(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the kernel takes it; the last word is not 0.
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

/// A list again, as short as it can be.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |number: usize| self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1);
        let (mut next, mut comma) = (0, "");
        while let Some(first) = (next..self.0.len() * 64).find(|&number| has(number)) {
            next = (first..).find(|&number| !has(number)).unwrap_or(first);
            match next - 1 {
                last if last == first => write!(f, "{comma}{first}")?,
                last => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

/// Digits only: no sign, no blank inside.
fn number(text: &str, element: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(Error::new(format!("{element:?} is no number or range")));
    }
    match text.parse() {
        Ok(number) if number <= HIGHEST => Ok(number),
        _ => Err(Error::new(format!("{text} is above {HIGHEST}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks_and_lists_again() {
        for (text, again, words) in [
            ("", "", vec![]),
            ("0", "0", vec![1]),
            ("0-3,7", "0-3,7", vec![0x8f]),
            (" 1 , 0-1,,3-3 ,", "0-1,3", vec![0xb]),
            ("63,64", "63-64", vec![1 << 63, 1]),
            ("0-127", "0-127", vec![u64::MAX, u64::MAX]),
            ("130", "130", vec![0, 0, 4]),
        ] {
            let mask = Mask::new(text).expect(text);
            assert_eq!((mask.to_string().as_str(), mask.words()), (again, words.as_slice()), "{text:?}");
        }
        assert_eq!(Mask::new("65535").expect("the highest").words().len(), 1024);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, reason) in [
            (",", "\",\" names no number"),
            (" ", "\" \" names no number"),
            ("a", "\"a\" is no number or range"),
            ("0,+1", "\"+1\" is no number or range"),
            ("-1", "\"-1\" is no number or range"),
            ("1-", "\"1-\" is no number or range"),
            ("1-2-3", "\"1-2-3\" is no number or range"),
            ("1 - 2", "\"1 - 2\" is no number or range"),
            ("٣", "\"٣\" is no number or range"),
            ("3-1", "\"3-1\" is no range: 3 is above 1"),
            ("65536", "65536 is above 65535"),
            ("0-99999999999", "99999999999 is above 65535"),
        ] {
            assert_eq!(Mask::new(text).expect_err(text).to_string(), reason);
        }
    }
}
