//! The twin of `gpu` in a program that is built without it: there are no devices.

use super::{Batch, Kernel, Sink, Work};
use super::{DeviceInfo, GpuError};
use std::ops::ControlFlow;

/// A graphics processor: none can be opened.
#[derive(Debug)]
pub enum Device {}

impl Device {
    /// Opens the device with this number, or the first.
    ///
    /// # Errors
    /// Always: [`GpuError::NotBuilt`].
    pub fn open(_index: Option<usize>) -> Result<Self, GpuError> {
        Err(GpuError::NotBuilt)
    }

    /// What the device is.
    pub fn info(&self) -> &DeviceInfo {
        match *self {}
    }
}

/// The devices there are.
///
/// # Errors
/// Always: [`GpuError::NotBuilt`].
pub fn devices() -> Result<Vec<DeviceInfo>, GpuError> {
    Err(GpuError::NotBuilt)
}

/// The kernel of a graphics processor: none can be made.
pub enum GpuKernel {}

impl GpuKernel {
    /// Prepares a device for mining.
    pub fn new(device: &Device) -> Result<Self, GpuError> {
        match *device {}
    }
}

impl Kernel for GpuKernel {
    fn rows_per_batch(&self) -> u64 {
        match *self {}
    }

    fn scan(&mut self, _work: &Work, _batch: &Batch, _sink: &mut dyn Sink) -> ControlFlow<()> {
        match *self {}
    }
}
