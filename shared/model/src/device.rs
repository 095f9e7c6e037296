//! Here is a setting, give me the device that models compute on, and why it is that one.

use crate::error::{ModelError, Result};
use candle_core::Device;
use serde::{Deserialize, Serialize};

/// What the settings ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// A GPU where this binary can use one and a driver answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU; an error where there is none.
    Cuda,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(format!("`{other}` is none of auto, cpu and cuda")),
        }
    }
}

/// A device and the reason for it, such as `the CPU: this binary was built without CUDA`.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    /// Where weights go and products are computed.
    pub device: Device,
    /// For the log and for `lore doctor`.
    pub reason: String,
}

impl DeviceChoice {
    /// The device. Each call opens it anew; tensors of two calls must not meet.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] where no GPU can be used, with the reason.
    pub fn open(self) -> Result<ChosenDevice> {
        let cpu = |why: &str| ChosenDevice {
            device: Device::Cpu,
            reason: format!("the CPU: {why}"),
        };
        if self == Self::Cpu {
            return Ok(cpu("the settings ask for it"));
        }
        match (self, open_cuda()) {
            (_, Ok((device, name))) => Ok(ChosenDevice {
                device,
                reason: format!("{name}, through CUDA"),
            }),
            (Self::Cuda, Err(why)) => Err(ModelError::NoDevice(why)),
            (_, Err(why)) => Ok(cpu(&why)),
        }
    }
}

/// Bytes that tensors may still take on a GPU; `None` on a CPU.
pub fn free_on_gpu(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    return crate::cuda::free(device);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        None
    }
}

#[cfg(feature = "cuda")]
fn open_cuda() -> std::result::Result<(Device, String), String> {
    crate::cuda::open()
}

#[cfg(not(feature = "cuda"))]
fn open_cuda() -> std::result::Result<(Device, String), String> {
    Err("this binary was built without CUDA (feature `cuda`)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_what_the_settings_call_them() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda),
        ] {
            assert_eq!(text.parse(), Ok(choice));
        }
        let error = "gpu".parse::<DeviceChoice>().expect_err("no device");
        assert!(
            error.contains("gpu") && error.contains("auto, cpu and cuda"),
            "{error}"
        );
    }

    #[test]
    fn the_cpu_is_there_when_it_is_asked_for() {
        let chosen = DeviceChoice::Cpu.open().expect("a device");
        assert!(chosen.device.is_cpu());
        assert!(chosen.reason.contains("settings"), "{}", chosen.reason);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_binary_without_cuda_says_so() {
        let chosen = DeviceChoice::Auto.open().expect("a device");
        assert!(
            chosen.device.is_cpu() && chosen.reason.contains("without CUDA"),
            "{}",
            chosen.reason
        );
        let error = DeviceChoice::Cuda.open().expect_err("no GPU").to_string();
        assert!(
            error.contains("without CUDA") && error.contains("device = \"auto\""),
            "{error}"
        );
    }
}
