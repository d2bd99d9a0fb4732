//! Remote direct memory access: the rdma controller, the same on v1 and v2.

use super::file::{Files, Line};
use crate::error::Result;
use serde::Serialize;

/// What is used of each device, and may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Rdma {
    rdma_limit: Vec<Device>,
    rdma_current: Vec<Device>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
struct Device {
    device: String,
    /// 4294967295: no limit.
    hca_handles: u32,
    /// 4294967295: no limit.
    hca_objects: u32,
}

impl Rdma {
    /// None without the controller, and without a device.
    pub(super) fn of(files: &Files<'_>) -> Result<Option<Self>> {
        let rdma =
            Rdma { rdma_limit: devices(files, "rdma.max")?, rdma_current: devices(files, "rdma.current")? };
        let some = !rdma.rdma_limit.is_empty() || !rdma.rdma_current.is_empty();
        Ok(some.then_some(rdma))
    }
}

/// `mlx4_0 hca_handle=2 hca_object=2000`
fn devices(files: &Files<'_>, name: &str) -> Result<Vec<Device>> {
    let Some(file) = files.get(name)? else { return Ok(Vec::new()) };
    file.lines().map(device).collect()
}

fn device(line: Line<'_>) -> Result<Device> {
    let (name, figures) = line.pair()?;
    let mut device = Device { device: name.to_owned(), ..Device::default() };
    for figure in figures.split_whitespace() {
        let (key, value) = figure.split_once('=').ok_or_else(|| line.malformed())?;
        let figure = match key {
            "hca_handle" => &mut device.hca_handles,
            "hca_object" => &mut device.hca_objects,
            _ => continue,
        };
        *figure = match line.number(value)? {
            u64::MAX => u32::MAX,
            number => number.try_into().map_err(|_| line.malformed())?,
        };
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_limits() {
        let files = Files::Texts(&[
            ("rdma.max", "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n"),
            ("rdma.current", "mlx4_0 hca_handle=1 hca_object=20\nocrdma1 hca_handle=0 hca_object=0\n"),
        ]);
        assert_eq!(
            serde_json::to_string(&Rdma::of(&files).unwrap()).unwrap(),
            r#"{"rdma_limit":[{"device":"mlx4_0","hca_handles":2,"hca_objects":2000},{"device":"ocrdma1","hca_handles":3,"hca_objects":4294967295}],"rdma_current":[{"device":"mlx4_0","hca_handles":1,"hca_objects":20},{"device":"ocrdma1","hca_handles":0,"hca_objects":0}]}"#
        );
        assert_eq!(Rdma::of(&Files::Texts(&[("rdma.max", ""), ("rdma.current", "")])).unwrap(), None);
        for text in ["mlx4_0\n", "mlx4_0 hca_handle\n", "mlx4_0 hca_object=4294967296\n"] {
            let error = Rdma::of(&Files::Texts(&[("rdma.current", text)])).unwrap_err().to_string();
            assert!(error.starts_with("/c/rdma.current:1: malformed line "), "{error}");
        }
    }
}
