//! Machines where there are no namespaces: none.

use std::{convert::Infallible, io, path::Path};

use super::{MachineSettings, address::MachineAddress};
use crate::{error::Error, network::Device};

/// What machines are joined to the network by; there is nothing on this system.
#[derive(Clone, Copy, Debug)]
pub(super) enum DeviceKind {}

impl DeviceKind {
    pub fn find(_: &MachineSettings) -> Result<Self, Error> {
        Err(Error::NoMachines("they need Linux".to_owned()))
    }
}

/// A machine; there is none on this system.
#[derive(Debug)]
pub struct Machine(Infallible);

impl Machine {
    pub(super) fn new(
        _: MachineAddress,
        _: &Path,
        _: &MachineSettings,
        kind: DeviceKind,
    ) -> Result<(Self, Device), Error> {
        match kind {}
    }

    /// Its name and addresses.
    pub fn address(&self) -> &MachineAddress {
        match self.0 {}
    }

    /// Does something on the machine.
    pub fn run<T: Send + 'static>(&self, _: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match self.0 {}
    }

    /// Sets the monotonic clock of what is started here from now on.
    pub fn set_clock(&self, _: u64) -> io::Result<()> {
        match self.0 {}
    }

    /// Moves the calling thread into the machine's network.
    pub fn enter_network(&self) -> io::Result<()> {
        match self.0 {}
    }
}
