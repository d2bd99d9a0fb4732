//! Block devices: the blkio controller of v1, io of v2 in its terms.

use super::file::{Files, Line};
use super::is_zero;
use super::pressure::Pressure;
use crate::error::Result;
use serde::Serialize;

/// What went to and from block devices.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<DeviceFigure>,
    /// Requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<DeviceFigure>,
    /// Requests that wait; BFQ and CFQ on v1, as all that follow.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    io_queued_recursive: Vec<DeviceFigure>,
    /// Nanoseconds from dispatch to completion.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<DeviceFigure>,
    /// Nanoseconds of waiting in the scheduler.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<DeviceFigure>,
    /// Requests that became part of others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<DeviceFigure>,
    /// Milliseconds of the disk's time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<DeviceFigure>,
    /// Sectors of 512 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<DeviceFigure>,
    /// Time waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// One figure of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
struct DeviceFigure {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`; empty where the kernel does not tell them apart.
    #[serde(skip_serializing_if = "String::is_empty")]
    op: String,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

/// A v1 file without its prefix, and where it goes.
type Row = (&'static str, fn(&mut Blkio) -> &mut Vec<DeviceFigure>);

const BYTES: Row = ("io_service_bytes", |blkio| &mut blkio.io_service_bytes_recursive);
const REQUESTS: Row = ("io_serviced", |blkio| &mut blkio.io_serviced_recursive);
/// The schedulers' others; BFQ has them with CONFIG_BFQ_CGROUP_DEBUG only.
const DETAILS: [Row; 6] = [
    ("io_queued", |blkio| &mut blkio.io_queued_recursive),
    ("io_service_time", |blkio| &mut blkio.io_service_time_recursive),
    ("io_wait_time", |blkio| &mut blkio.io_wait_time_recursive),
    ("io_merged", |blkio| &mut blkio.io_merged_recursive),
    ("time", |blkio| &mut blkio.io_time_recursive),
    ("sectors", |blkio| &mut blkio.sectors_recursive),
];
/// Who may have counted: BFQ; CFQ (Linux < 5.0); else the throttling layer, which on old kernels (< 4.16) does not
/// add up what is below. The first that has figures is it.
const COUNTERS: [(&str, &str); 4] = [
    ("blkio.bfq.", "_recursive"),
    ("blkio.", "_recursive"),
    ("blkio.throttle.", "_recursive"),
    ("blkio.throttle.", ""),
];

impl Blkio {
    /// io.stat: bytes and requests, read and written.
    pub(super) fn add_v2(&mut self, files: &Files<'_>) -> Result<()> {
        self.psi = Pressure::of(files, "io.pressure")?;
        let Some(file) = files.get("io.stat")? else { return Ok(()) };
        for line in file.lines() {
            let mut device = None;
            for word in line.words() {
                let Some((key, value)) = word.split_once('=') else {
                    // A device without figures may stand in front of the next one on the same line (Linux < 6.7).
                    device = numbers(line, word)?.or(device);
                    continue;
                };
                let (op, figures) = match key {
                    "rbytes" => ("Read", &mut self.io_service_bytes_recursive),
                    "wbytes" => ("Write", &mut self.io_service_bytes_recursive),
                    "rios" => ("Read", &mut self.io_serviced_recursive),
                    "wios" => ("Write", &mut self.io_serviced_recursive),
                    _ => continue,
                };
                let (major, minor) = device.ok_or_else(|| line.malformed())?;
                figures.push(DeviceFigure { major, minor, op: op.to_owned(), value: line.number(value)? });
            }
        }
        Ok(())
    }

    /// The blkio controller of v1.
    pub(super) fn add_v1(&mut self, files: &Files<'_>) -> Result<()> {
        for (prefix, suffix) in COUNTERS {
            let figures = |name: &str| figures(files, &format!("{prefix}{name}{suffix}"));
            let (bytes, requests) = (figures(BYTES.0)?, figures(REQUESTS.0)?);
            if bytes.is_empty() && requests.is_empty() {
                continue;
            }
            (*BYTES.1(self), *REQUESTS.1(self)) = (bytes, requests);
            if prefix != "blkio.throttle." {
                for (name, place) in DETAILS {
                    *place(self) = figures(name)?;
                }
            }
            break;
        }
        Ok(())
    }
}

/// `8:0 Read 4096`, or `8:0 4096`; the sum over all devices (`Total 4096`) is left out.
fn figures(files: &Files<'_>, name: &str) -> Result<Vec<DeviceFigure>> {
    let mut figures = Vec::new();
    let Some(file) = files.get(name)? else { return Ok(figures) };
    for line in file.lines() {
        let words: Vec<&str> = line.words().collect();
        let (device, op, value) = match words[..] {
            ["Total", _] => continue,
            [device, value] => (device, "", value),
            [device, op, value] => (device, op, value),
            _ => return Err(line.malformed()),
        };
        let (major, minor) = numbers(line, device)?.ok_or_else(|| line.malformed())?;
        figures.push(DeviceFigure { major, minor, op: op.to_owned(), value: line.number(value)? });
    }
    Ok(figures)
}

/// `8:0`; none for a word that is no device.
fn numbers(line: Line<'_>, word: &str) -> Result<Option<(u64, u64)>> {
    let Some((major, minor)) = word.split_once(':') else { return Ok(None) };
    Ok(Some((line.number(major)?, line.number(minor)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(major: u64, minor: u64, op: &str, value: u64) -> DeviceFigure {
        DeviceFigure { major, minor, op: op.into(), value }
    }

    #[test]
    fn v2_in_the_terms_of_v1() {
        let stat = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0 cost.usage=7\n\
                    8:0 253:0 rbytes=90430464 wbytes=0 rios=8950 wios=0 dbytes=50331648 dios=3021\n";
        let mut blkio = Blkio::default();
        blkio.add_v2(&Files::Texts(&[("io.stat", stat)])).unwrap();
        assert_eq!(
            blkio.io_service_bytes_recursive,
            [
                figure(8, 16, "Read", 1_459_200),
                figure(8, 16, "Write", 314_773_504),
                figure(253, 0, "Read", 90_430_464),
                figure(253, 0, "Write", 0)
            ]
        );
        assert_eq!(
            serde_json::to_string(&blkio).unwrap(),
            r#"{"ioServiceBytesRecursive":[{"major":8,"minor":16,"op":"Read","value":1459200},{"major":8,"minor":16,"op":"Write","value":314773504},{"major":253,"op":"Read","value":90430464},{"major":253,"op":"Write"}],"ioServicedRecursive":[{"major":8,"minor":16,"op":"Read","value":192},{"major":8,"minor":16,"op":"Write","value":353},{"major":253,"op":"Read","value":8950},{"major":253,"op":"Write"}]}"#
        );
    }

    #[test]
    fn v1_takes_the_first_that_counts() {
        let throttle = "8:0 Read 4096\n8:0 Write 0\n8:0 Sync 4096\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 4096\n\
                        Total 4096\n";
        let mut texts = vec![
            ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
            ("blkio.bfq.io_serviced_recursive", "Total 0\n"),
            ("blkio.throttle.io_service_bytes_recursive", throttle),
            ("blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Total 1\nTotal 1\n"),
            ("blkio.throttle.io_serviced", "8:0 Read 99\nTotal 99\n"),
        ];
        let mut blkio = Blkio::default();
        blkio.add_v1(&Files::Texts(&texts)).unwrap();
        assert_eq!(blkio.io_serviced_recursive, [figure(8, 0, "Read", 1), figure(8, 0, "Total", 1)]);
        assert_eq!(blkio.io_service_bytes_recursive.len(), 6);

        texts[0].1 = "8:0 Read 7\nTotal 7\n";
        texts.push(("blkio.bfq.sectors_recursive", "8:0 11\n"));
        texts.push(("blkio.bfq.io_queued_recursive", "8:0 Read 2\nTotal 2\n"));
        let mut blkio = Blkio::default();
        blkio.add_v1(&Files::Texts(&texts)).unwrap();
        assert_eq!(blkio.io_service_bytes_recursive, [figure(8, 0, "Read", 7)]);
        assert_eq!(blkio.sectors_recursive, [figure(8, 0, "", 11)]);
        assert!(blkio.io_serviced_recursive.is_empty());
        let json = serde_json::to_value(&blkio).unwrap();
        assert_eq!(json["ioQueueRecursive"][0]["value"], 2);
    }

    #[test]
    fn broken_lines_are_named() {
        for text in ["rbytes=1\n", "8:0 rbytes=x\n", "8:x rbytes=1\n"] {
            let error = Blkio::default().add_v2(&Files::Texts(&[("io.stat", text)])).unwrap_err();
            assert!(error.to_string().starts_with("/c/io.stat:1: malformed line "), "{error}");
        }
        for text in ["8:0\n", "8:0 Read 1 2\n", "sda Read 1\n", "8:0 Read much\n"] {
            let files = [("blkio.throttle.io_serviced", text)];
            let error = Blkio::default().add_v1(&Files::Texts(&files)).unwrap_err();
            assert!(error.to_string().contains("io_serviced:1: malformed line "), "{error}");
        }
        let mut blkio = Blkio::default();
        blkio.add_v2(&Files::Texts(&[("io.stat", "8:0 \n")])).unwrap();
        assert_eq!(serde_json::to_string(&blkio).unwrap(), "{}");
    }
}
