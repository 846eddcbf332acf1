//! The twin of `gpu` in a program that is built without it: there are no devices.

use super::{Batch, Kernel, Sink, Work};
use super::{DeviceInfo, GpuError, Tuning};
use std::ops::ControlFlow;

/// A graphics processor. None can be opened, so there is never a value of this.
#[derive(Debug)]
pub struct Device {
    info: DeviceInfo,
    tuning: Tuning,
}

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
        &self.info
    }

    /// The same device with the work cut in another way.
    #[must_use]
    pub fn tuned(&self, tuning: Tuning) -> Self {
        let info = self.info.clone();
        Self { info, tuning }
    }

    /// How the work is cut.
    pub fn tuning(&self) -> Tuning {
        self.tuning
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
    ///
    /// # Errors
    /// Always: [`GpuError::NotBuilt`].
    pub fn new(_device: &Device) -> Result<Self, GpuError> {
        Err(GpuError::NotBuilt)
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
