//! The replicated data of the simulation.

use crate::machine::{Executor, Moment};
use crate::message::Command;
use bytes::Bytes;

/// What is wrong with a replica, by the simulation's doing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Nothing.
    #[default]
    None,
    /// Answers are others than they should be.
    Visible,
    /// Only the content is.
    Hidden,
}

/// What no replica can execute, as if it took for ever.
pub const POISON: &[u8] = b"poison";

/// What a machine's environment does to it at times.
#[derive(Debug, thiserror::Error)]
#[error("out of memory")]
pub struct OutOfMemory;

/// The replicated data: how many commands ran, and a hash over all of them in order.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// Commands executed.
    pub count: u64,
    hash: u64,
    /// Part of the content that no answer shows.
    hidden: u64,
    /// Saved with the content, so that the simulation knows what became of it.
    pub defect: Defect,
    time_ms: u64,
    /// The next command fails halfway, for a reason of this machine's own.
    pub fails: bool,
    /// Position, hash and text of what ran since somebody looked.
    pub ran: Vec<(u64, u64, Bytes)>,
}

impl Ledger {
    /// Makes this replica another than it should be.
    pub fn spoil(&mut self, defect: Defect) {
        self.defect = defect;
        match defect {
            Defect::None => {}
            Defect::Visible => self.hash ^= 1,
            Defect::Hidden => self.hidden += 1,
        }
    }

    /// A digest of the content.
    pub fn digest(&self) -> u64 {
        self.hash ^ self.hidden.rotate_left(32) ^ self.count
    }
}

impl Executor for Ledger {
    type Error = OutOfMemory;
    type Saved = Vec<u8>;

    fn engine(&self) -> u64 {
        1
    }

    fn execute(&mut self, moment: Moment, command: &Command) -> Result<Bytes, OutOfMemory> {
        let Command::Shell(text) = command else {
            unreachable!("clients send nothing else")
        };
        assert!(moment.time_ms >= self.time_ms, "time goes back");
        self.time_ms = moment.time_ms;
        assert!(text.as_ref() != POISON, "a copy of what was skipped ran");
        for &byte in text {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if std::mem::take(&mut self.fails) {
            return Err(OutOfMemory);
        }
        self.ran.push((self.count, self.hash, text.clone()));
        self.count += 1;
        Ok(Bytes::from(format!("{} {}", self.count - 1, self.hash)))
    }

    fn save(&mut self) -> Vec<u8> {
        let numbers = [self.count, self.hash, self.hidden, self.time_ms];
        let mut state = numbers.map(u64::to_le_bytes).concat();
        state.push(self.defect as u8);
        state
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), OutOfMemory> {
        let number = |place: usize| {
            let bytes = &state[8 * place..8 * place + 8];
            u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
        };
        (self.count, self.hash) = (number(0), number(1));
        (self.hidden, self.time_ms) = (number(2), number(3));
        self.defect = match state[32] {
            0 => Defect::None,
            1 => Defect::Visible,
            _ => Defect::Hidden,
        };
        Ok(())
    }
}
