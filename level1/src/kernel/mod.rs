//! Kernels: what tries nonces.
//!
//! A [`Kernel`] takes a [`Work`] (a template's tail and a filter) and a [`Batch`] (a rectangle of
//! nonces), and reports candidates and progress to a [`Sink`]. It does not decide what a match is
//! and keeps no account of what was tried: that is [`crate::search`]'s part. The interface suits
//! a processor that works column by column as well as one that takes the batch in big pieces.
//!
//! The kernels for processors share the walk in `two_level`; each brings the code for one column of
//! it. They are chosen at run time ([`Backend`]).

mod backend;
mod crate_sha1;
mod device_info;
#[cfg(feature = "gpu")]
#[allow(unsafe_code, reason = "the shader is compiled without run-time checks")]
pub(crate) mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "no_gpu.rs"]
pub(crate) mod gpu;
mod lanes;
mod portable;
mod rows;
mod schedule;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod streams;
mod tuning;
mod two_level;
mod wide;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod sha_armv8;

pub use backend::{Backend, BackendError};
pub use device_info::{DeviceInfo, GpuError};
pub use tuning::{Schedules, Tuning};

use thiserror::Error;

use crate::nonce::{COLUMNS, Nonce, ROWS};
use crate::target::{Filter, Target};
use crate::template::Tail;
use std::ops::{ControlFlow, Range};

/// What all nonces of a search have in common.
#[derive(Clone, Debug)]
pub struct Work {
    /// The last two blocks and the state before them.
    pub tail: Tail,
    /// What the first word of a candidate's id must satisfy.
    pub filter: Filter,
}

impl Work {
    /// The work of finding an id in `target` among the nonces of `tail`.
    pub fn new(tail: &Tail, target: &Target) -> Self {
        Self {
            tail: tail.clone(),
            filter: target.filter(),
        }
    }
}

/// A rectangle of nonces: each of `columns` in each of `rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Upper bits, at most [`ROWS`]. A kernel may prepare them all at once: keep them to
    /// [`Kernel::rows_per_batch`].
    pub rows: Range<u64>,
    /// Lower bits, at most [`COLUMNS`].
    pub columns: Range<u32>,
}

impl Batch {
    /// Checks that the batch lies within the nonces there are.
    fn assert_valid(&self) {
        assert!(
            self.rows.end <= ROWS && self.columns.end <= COLUMNS,
            "no such nonces: {self:?}"
        );
    }
}

/// Receives what a kernel matches; either answer may end the batch.
pub trait Sink {
    /// `nonce` passed the filter. Called before the progress that includes it.
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()>;

    /// Something happened that its user should know, such as that a device has failed.
    fn note(&mut self, _text: String) {}

    /// `tried` more nonces have been tried. Called often: every few microseconds on a processor.
    fn progress(&mut self, tried: u64) -> ControlFlow<()>;
}

/// Why there is no kernel of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// The processor lacks what the backend needs.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no graphics processor, or it does not work.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Tries nonces. One kernel belongs to one thread and keeps its tables between batches.
pub trait Kernel: Send {
    /// How many rows make the best use of the kernel's memory.
    fn rows_per_batch(&self) -> u64;

    /// Tries every nonce of `batch` once, or those up to where the sink says to stop. Each nonce
    /// that passes the work's filter is reported.
    fn scan(&mut self, work: &Work, batch: &Batch, sink: &mut dyn Sink) -> ControlFlow<()>;
}
