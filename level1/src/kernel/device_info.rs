//! What is known of graphics processors with and without a kernel for them.

use std::fmt;
use thiserror::Error;

/// Why a graphics processor cannot be used, or cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GpuError {
    /// The program has no kernel for them.
    #[error(
        "this program was built without a kernel for graphics processors (add '--features gpu')"
    )]
    NotBuilt,
    /// No driver offers any device.
    #[error("no graphics processor found (is a Vulkan driver installed?)")]
    NoDevice,
    /// The device's number is out of range.
    #[error("there is no graphics processor {0}; 'level1 devices' lists {1}")]
    NoSuchDevice(usize, usize),
    /// The driver refused or the device failed; its words.
    #[error("the graphics processor failed: {0}")]
    Failed(String),
}

/// What is known of a device without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number for `--device`.
    pub index: usize,
    /// Its name, as the driver gives it.
    pub name: String,
    /// The programming interface through which it is used, such as `vulkan`.
    pub interface: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.name, self.kind, self.interface)
    }
}
