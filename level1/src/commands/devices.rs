//! `level1 devices`: the graphics processors there are; and whether one joins the processor.

use super::sweep;
use crate::cli::{DeviceArgs, gpu};
use anyhow::{Context, Result};
use level1::{Backend, GpuError, KernelError, Style, Worker, Workers, devices, hopeless_job, rate};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

/// How long a device is tried before it may join the processor.
const TRIAL: Duration = Duration::from_millis(250);

pub fn run(args: &DeviceArgs) -> Result<ExitCode> {
    if args.sweep {
        return sweep::run(args.device, args.seconds);
    }
    let mut stdout = io::stdout().lock();
    for info in devices()? {
        let measured = gpu(Some(info.index))
            .map_err(KernelError::from)
            .and_then(|device| rate(&hopeless_job(Style::Line), &device.into(), args.seconds));
        let rate = match measured {
            Ok(rate) => format!("{:.1} MH/s", rate / 1e6),
            Err(error) => error.to_string(),
        };
        writeln!(stdout, "{}: {info}: {rate}", info.index)
            .context("cannot write to standard output")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The processor's threads and, if there is one that is worth it, a graphics processor.
///
/// One that is slower than a single thread of the processor is not: it is most likely a software
/// device, which would take from the processor what it adds. Rows are handed out to whoever asks
/// next, so the work is split by speed from there on.
pub fn join(
    backend: Backend,
    threads: NonZeroUsize,
    index: Option<usize>,
) -> Result<Workers, KernelError> {
    let cpu = Worker::cpu(backend, threads);
    let device = match gpu(index) {
        Ok(device) => device,
        // Asked for by number, it must be there.
        Err(error) if index.is_some() => return Err(error.into()),
        Err(GpuError::NotBuilt) => return Ok(cpu.into()),
        Err(error) => {
            note(&format!("{error}; going on with the processor alone"));
            return Ok(cpu.into());
        }
    };
    let job = hopeless_job(Style::Line);
    let thread = rate(&job, &Worker::cpu(backend, NonZeroUsize::MIN).into(), TRIAL)?;
    match rate(&job, &device.clone().into(), TRIAL) {
        Ok(rate) if rate >= thread => return Ok(Workers::new([device, cpu])),
        Ok(rate) => note(&format!(
            "{device} is left out: {:.0} MH/s, where a thread of the processor makes {:.0}",
            rate / 1e6,
            thread / 1e6
        )),
        Err(error) => note(&format!("{error}; going on with the processor alone")),
    }
    Ok(cpu.into())
}

fn note(text: &str) {
    // Without anybody to read it, the note is not missed.
    let _ = writeln!(io::stderr(), "level1: {text}");
}
