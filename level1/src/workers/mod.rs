//! Who searches: kernels on threads of the processor, graphics processors, or both.

mod choice;
mod run;

pub use choice::{Choice, Team};
pub use run::{Control, Outcome, search};

use crate::kernel::gpu::{Device, GpuKernel};
use crate::kernel::{Backend, Kernel, KernelError};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// One kind of processor that tries nonces.
#[derive(Clone, Debug)]
pub enum Worker {
    /// A kernel on some threads of the processor.
    Cpu {
        /// The kernel.
        backend: Backend,
        /// How many threads run it.
        threads: NonZeroUsize,
    },
    /// A graphics processor.
    Gpu(Arc<Device>),
}

/// All that work on one job at the same time.
#[derive(Clone, Debug)]
pub struct Workers(Vec<Worker>);

impl Worker {
    /// A kernel on so many threads of the processor.
    pub fn cpu(backend: Backend, threads: NonZeroUsize) -> Self {
        Self::Cpu { backend, threads }
    }

    /// A kernel for each thread.
    ///
    /// # Errors
    /// The processor, or the graphics processor, cannot do what the worker is made for.
    fn kernels(&self) -> Result<Vec<Box<dyn Kernel>>, KernelError> {
        match self {
            Self::Cpu { backend, threads } => {
                (0..threads.get()).map(|_| Ok(backend.kernel()?)).collect()
            }
            Self::Gpu(device) => Ok(vec![Box::new(GpuKernel::new(device)?)]),
        }
    }
}

impl Workers {
    /// These workers, of whom there should be at least one.
    pub fn new(workers: impl IntoIterator<Item = Worker>) -> Self {
        Self(workers.into_iter().collect())
    }

    /// Who they are.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.0.iter()
    }

    /// A kernel for each thread of each worker.
    ///
    /// # Errors
    /// A processor cannot do what its worker is made for.
    pub fn kernels(&self) -> Result<Vec<Box<dyn Kernel>>, KernelError> {
        let kernels: Result<Vec<_>, _> = self.0.iter().map(Worker::kernels).collect();
        Ok(kernels?.into_iter().flatten().collect())
    }
}

impl From<Worker> for Workers {
    fn from(worker: Worker) -> Self {
        Self(vec![worker])
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { backend, threads } if threads.get() == 1 => {
                write!(f, "{backend} on 1 thread")
            }
            Self::Cpu { backend, threads } => write!(f, "{backend} on {threads} threads"),
            Self::Gpu(device) => write!(f, "{}", device.info()),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, worker) in self.0.iter().enumerate() {
            let joint = if at == 0 { "" } else { " and " };
            write!(f, "{joint}{worker}")?;
        }
        Ok(())
    }
}
