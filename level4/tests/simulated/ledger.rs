//! The replicated data of the simulation.

use std::convert::Infallible;

use bytes::Bytes;
use level4::machine::{Executor, Moment};
use level4::message::Command;

/// The replicated data: how many commands ran, and a hash over all of them in order.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// Commands executed.
    pub count: u64,
    hash: u64,
    /// Position, hash and text of what ran since somebody looked.
    pub ran: Vec<(u64, u64, Bytes)>,
}

impl Executor for Ledger {
    type Error = Infallible;

    fn execute(&mut self, _: Moment, command: &Command) -> Result<Bytes, Infallible> {
        let Command::Shell(text) = command else {
            unreachable!("clients send nothing else")
        };
        for &byte in text {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.ran.push((self.count, self.hash, text.clone()));
        self.count += 1;
        Ok(Bytes::from(format!("{} {}", self.count - 1, self.hash)))
    }

    fn save(&mut self) -> Result<Vec<u8>, Infallible> {
        Ok([self.count.to_le_bytes(), self.hash.to_le_bytes()].concat())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Infallible> {
        let (count, hash) = state.split_at(8);
        self.count = u64::from_le_bytes(count.try_into().expect("8 bytes"));
        self.hash = u64::from_le_bytes(hash.try_into().expect("8 bytes"));
        Ok(())
    }
}
