use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use super::ModelError;

/// The device that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where this build and machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
    /// The Apple GPU of this number.
    Metal(usize),
}

impl DeviceChoice {
    /// Whether this build knows such devices; the machine may still have none.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Auto | Self::Cpu => true,
            Self::Cuda(_) => cfg!(feature = "cuda"),
            Self::Metal(_) => cfg!(feature = "metal"),
        }
    }

    /// The device itself.
    pub fn open(self) -> Result<Device, ModelError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok([Device::cuda_if_available(0), Device::metal_if_available(0)]
                .into_iter()
                .flatten()
                .find(|device| !device.is_cpu())
                .unwrap_or(Device::Cpu)),
            Self::Cuda(ordinal) => self.gpu(Device::new_cuda(ordinal)),
            Self::Metal(ordinal) => self.gpu(Device::new_metal(ordinal)),
        }
    }

    fn gpu(self, opened: candle_core::Result<Device>) -> Result<Device, ModelError> {
        opened.map_err(|error| ModelError::Device {
            given: self.to_string(),
            reason: match self.is_built_in() {
                true => error.to_string(),
                false => "this build has no support for it".to_owned(),
            },
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal(ordinal) => write!(f, "metal:{ordinal}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal(0)),
            _ => {
                let numbered = name.split_once(':').and_then(|(kind, ordinal)| {
                    let ordinal = ordinal.parse().ok()?;
                    match kind {
                        "cuda" => Some(Self::Cuda(ordinal)),
                        "metal" => Some(Self::Metal(ordinal)),
                        _ => None,
                    }
                });
                numbered.ok_or_else(|| ModelError::Device {
                    given: name.to_owned(),
                    reason: "no such device".to_owned(),
                })
            }
        }
    }
}
