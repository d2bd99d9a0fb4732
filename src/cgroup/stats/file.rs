//! One statistics file of a cgroup: read once, whole and bounded, then taken apart line by line. What the kernel does
//! not have is no error; a line that cannot be read is one that names the file and the line.

use crate::cgroup::directory::Directory;
use crate::error::{Error, Result};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::io::Read;

/// No file that is read here comes near: the longest has a line for each block device.
const LIMIT: u64 = 1 << 20;

/// Where files are read from.
#[derive(Debug)]
pub(super) enum Files<'c> {
    /// A cgroup.
    Cgroup(&'c Directory),
    /// Names and texts, as a kernel wrote them once.
    #[cfg(test)]
    Texts(&'c [(&'c str, &'c str)]),
}

impl Files<'_> {
    /// The file; none where the kernel does not have it, has switched it off, or has removed the cgroup.
    pub(super) fn get(&self, name: &str) -> Result<Option<StatFile>> {
        match self {
            Files::Cgroup(cgroup) => match read(cgroup, name) {
                Err(error) if absent(&error) => Ok(None),
                file => file.map(Some),
            },
            #[cfg(test)]
            Files::Texts(texts) => {
                let text = texts.iter().find(|text| text.0 == name).map(|text| text.1.to_owned());
                Ok(text.map(|text| StatFile { path: format!("/c/{name}"), text }))
            }
        }
    }

    /// The number that is all of a file; none as in [`Files::get`].
    pub(super) fn value(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)?.map(|file| file.value()).transpose()
    }

    /// The names of all files.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        match self {
            Files::Cgroup(cgroup) => names(cgroup),
            #[cfg(test)]
            Files::Texts(texts) => Ok(texts.iter().map(|text| text.0.to_owned()).collect()),
        }
    }
}

/// Not there; the cgroup is gone; pressure is not measured (EOPNOTSUPP).
fn absent(error: &Error) -> bool {
    [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP].iter().any(|errno| errno.raw_os_error() == error.errno())
}

fn read(cgroup: &Directory, name: &str) -> Result<StatFile> {
    let path = format!("{}/{name}", cgroup.path());
    let file = std::fs::File::from(cgroup.open(name, OFlags::RDONLY)?);
    let mut bytes = Vec::with_capacity(4096);
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| {
        Error::call(format!("read({path:?})"), error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    })?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::new(format!("larger than {LIMIT} bytes")).at(path));
    }
    Ok(StatFile { path, text: String::from_utf8_lossy(&bytes).into_owned() })
}

fn names(cgroup: &Directory) -> Result<Vec<String>> {
    let failed = |errno: Errno| Error::call(format!("getdents64({:?})", cgroup.path()), errno.raw_os_error());
    let listing = match cgroup.open(".", OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if absent(&error) => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(listing).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type() == FileType::RegularFile {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct StatFile {
    path: String,
    text: String,
}

impl StatFile {
    /// Its lines; empty ones do not count.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = self.text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
        lines.map(|(at, text)| Line { file: self, number: at + 1, text: text.trim() })
    }

    /// Its first line, which is empty if there is none.
    pub(super) fn first(&self) -> Line<'_> {
        Line { file: self, number: 1, text: self.text.lines().next().unwrap_or_default().trim() }
    }

    /// Its only number.
    pub(super) fn value(&self) -> Result<u64> {
        let line = self.first();
        line.number(line.text)
    }

    /// Its only number, which may be negative.
    pub(super) fn signed(&self) -> Result<i64> {
        let line = self.first();
        line.text.parse().map_err(|_| line.malformed())
    }

    /// The number behind this word; 0 where no line begins with it.
    pub(super) fn number_of(&self, key: &str) -> Result<u64> {
        for line in self.lines() {
            if let (word, value) = line.pair()?
                && word == key
            {
                return line.number(value);
            }
        }
        Ok(0)
    }
}

/// One of its lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'f> {
    file: &'f StatFile,
    number: usize,
    pub(super) text: &'f str,
}

impl<'f> Line<'f> {
    /// The first word and all behind it.
    pub(super) fn pair(self) -> Result<(&'f str, &'f str)> {
        self.text.split_once(' ').map(|(key, value)| (key, value.trim())).ok_or_else(|| self.malformed())
    }

    /// Its words.
    pub(super) fn words(self) -> impl Iterator<Item = &'f str> {
        self.text.split_whitespace()
    }

    /// A number of the line. `max` is 18446744073709551615; what counts down past zero, as sums over CPUs that are
    /// not locked may for a moment, is 0.
    pub(super) fn number(self, word: &str) -> Result<u64> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match word.strip_prefix('-') {
            _ if word == "max" => Ok(u64::MAX),
            Some(below) if !below.is_empty() && digits(below) => Ok(0),
            None if digits(word) => word.parse().map_err(|_| self.malformed()),
            _ => Err(self.malformed()),
        }
    }

    /// The error that the line is not what the kernel's documentation says.
    pub(super) fn malformed(self) -> Error {
        let shown: String = self.text.chars().take(200).collect();
        Error::new(format!("malformed line {shown:?}")).at(format!("{}:{}", self.file.path, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> StatFile {
        StatFile { path: "/c/f".into(), text: text.into() }
    }

    #[test]
    fn numbers() {
        for (text, number) in
            [("0\n", 0), ("18446744073709551615\n", u64::MAX), ("max\n", u64::MAX), ("-4096\n", 0), ("7", 7)]
        {
            assert_eq!(file(text).value().unwrap(), number, "{text}");
        }
        for text in ["", "\n", "-", "+1", "1 2", "0x1", "18446744073709551616", "maximum", "1k"] {
            let error = file(text).value().unwrap_err().to_string();
            assert!(error.starts_with("/c/f:1: malformed line "), "{error}");
        }
        assert_eq!(file("-1\n").signed().unwrap(), -1);
        assert!(file("x\n").signed().is_err());
    }

    #[test]
    fn a_malformed_line_is_named() {
        let file = file("low 0\n\nnovalue\nmax 3\n");
        let error = file.number_of("max").unwrap_err().to_string();
        assert_eq!(error, "/c/f:3: malformed line \"novalue\"");
        assert_eq!(file.number_of("low").unwrap(), 0);
        assert_eq!(self::file("low 1\noom_kill 2\n").number_of("oom_kill").unwrap(), 2);
        assert_eq!(self::file("low 1\n").number_of("oom_kill").unwrap(), 0);
    }
}
