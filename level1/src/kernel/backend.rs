//! The kernels there are: by name, by what the processor can do, and how fast it does it.

use super::crate_sha1::CrateScanner;
use super::portable::PortableScanner;
use super::two_level::TwoLevel;
use super::{Batch, Kernel, Sink, Work};
use crate::commit::Commit;
use crate::nonce::Nonce;
use crate::target::Target;
use crate::template::CommitTemplate;
use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use thiserror::Error;

/// A way to hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The `sha1` crate for the last block: the yardstick.
    Sha1Crate,
    /// Plain code for any processor.
    Scalar,
    /// The SHA extensions of x86-64.
    ShaNi,
    /// Eight lanes.
    Avx2,
    /// Sixteen lanes.
    Avx512,
    /// Four lanes of a 64-bit ARM.
    Neon,
    /// The SHA extensions of ARMv8.
    ShaArmv8,
}

/// The processor lacks what a backend needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this processor has no {0}; '--backend auto' takes the best it has")]
pub struct BackendError(pub Backend);

impl Backend {
    /// All backends, the plainest first.
    pub const ALL: [Self; 7] = [
        Self::Sha1Crate,
        Self::Scalar,
        Self::ShaNi,
        Self::Avx2,
        Self::Avx512,
        Self::Neon,
        Self::ShaArmv8,
    ];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1Crate => "sha1",
            Self::Scalar => "scalar",
            Self::ShaNi => "sha-ni",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::ShaArmv8 => "sha-armv8",
        }
    }

    /// A kernel of this backend, if the processor can run it.
    pub fn kernel(self) -> Result<Box<dyn Kernel>, BackendError> {
        let kernel: Option<Box<dyn Kernel>> = match self {
            Self::Sha1Crate => Some(Box::new(TwoLevel::new(CrateScanner::default()))),
            Self::Scalar => Some(Box::new(TwoLevel::new(PortableScanner::default()))),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => boxed(super::sha_ni::ShaNiScanner::new()),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => boxed(super::avx2::Avx2Scanner::new()),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => boxed(super::avx512::Avx512Scanner::new()),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => boxed(super::neon::NeonScanner::new()),
            #[cfg(target_arch = "aarch64")]
            Self::ShaArmv8 => boxed(super::sha_armv8::ShaArmv8Scanner::new()),
            #[cfg(not(target_arch = "x86_64"))]
            Self::ShaNi | Self::Avx2 | Self::Avx512 => None,
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon | Self::ShaArmv8 => None,
        };
        kernel.ok_or(BackendError(self))
    }

    /// The backends that the processor can run.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|backend| backend.kernel().is_ok())
    }

    /// The backends worth choosing from, the most capable first. Which instruction set wins differs
    /// between processors (SHA-NI and AVX2 change places from one generation to the next), so that
    /// the order is where to begin, and [`Self::measure`] the last word.
    pub fn by_capability() -> Vec<Self> {
        let order = [
            Self::Avx512,
            Self::Avx2,
            Self::ShaNi,
            Self::ShaArmv8,
            Self::Neon,
            Self::Scalar,
            Self::Sha1Crate,
        ];
        let able = |backend: &Self| backend.kernel().is_ok();
        order.into_iter().filter(able).collect()
    }

    /// The first of [`Self::by_capability`].
    pub fn most_capable() -> Self {
        Self::by_capability()[0]
    }

    /// Hashes a second on this thread, at this moment: tried for less than a millisecond.
    pub fn measure(self) -> f64 {
        trial(self, TRIAL)
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn boxed<S: super::two_level::ColumnScanner + 'static>(
    scanner: Option<S>,
) -> Option<Box<dyn Kernel>> {
    scanner.map(|scanner| Box::new(TwoLevel::new(scanner)) as Box<dyn Kernel>)
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How long a trial lasts: a few hundred columns of the slowest kernel.
const TRIAL: Duration = Duration::from_micros(400);

/// The rate of a trial, in hashes a second.
fn trial(backend: Backend, duration: Duration) -> f64 {
    let Ok(mut kernel) = backend.kernel() else {
        return 0.0;
    };
    let text = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nTrial\n";
    let (Ok(commit), Ok(target)) = (Commit::parse(text.as_bytes()), Target::below("0001")) else {
        unreachable!("both are constants")
    };
    let work = Work::new(CommitTemplate::new(&commit.in_a_line(), 0).tail(), &target);
    let batch = Batch {
        rows: 0..kernel.rows_per_batch(),
        columns: 0..crate::nonce::COLUMNS,
    };
    let mut sink = Stopwatch {
        started: None,
        duration,
        tried: 0,
        rate: 0.0,
    };
    let _ = kernel.scan(&work, &batch, &mut sink);
    sink.rate
}

/// Times columns, from the end of the first (which comes after the rows' preparation).
struct Stopwatch {
    started: Option<Instant>,
    duration: Duration,
    tried: u64,
    rate: f64,
}

impl Sink for Stopwatch {
    fn candidate(&mut self, _nonce: Nonce) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn progress(&mut self, tried: u64) -> ControlFlow<()> {
        let Some(started) = self.started else {
            self.started = Some(Instant::now());
            return ControlFlow::Continue(());
        };
        self.tried += tried;
        let elapsed = started.elapsed();
        if elapsed < self.duration {
            return ControlFlow::Continue(());
        }
        self.rate = self.tried as f64 / elapsed.as_secs_f64();
        ControlFlow::Break(())
    }
}
