//! `level1 devices`: the graphics processors there are; and whether one joins the processor.

use anyhow::{Context, Result};
use level1::bench;
use level1::kernel::KernelError;
use level1::kernel::gpu::{Device, GpuError, devices};
use level1::race::Crew;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long a device is measured.
const TRIAL: Duration = Duration::from_millis(250);

pub fn run() -> Result<ExitCode> {
    let devices = devices();
    if devices.is_empty() {
        return Err(GpuError::NoDevice.into());
    }
    let mut stdout = io::stdout().lock();
    for info in devices {
        let measured = Device::open(Some(info.index))
            .map_err(KernelError::from)
            .and_then(|device| bench::rate(&Crew::device(Arc::new(device)), TRIAL));
        let rate = match measured {
            Ok(rate) => format!("{:.1} MH/s", rate / 1e6),
            Err(error) => error.to_string(),
        };
        writeln!(stdout, "{}: {info}: {rate}", info.index)
            .context("cannot write to standard output")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a graphics processor to the crew, if there is one that is worth it.
///
/// One that is slower than a single thread of the processor is not: it is most likely a software
/// device, which would take from the processor what it adds. Rows are handed out to whoever asks
/// next, so the work is split by speed from there on.
pub fn join(crew: Crew, index: Option<usize>) -> Result<Crew, KernelError> {
    let device = match Device::open(index) {
        Ok(device) => Arc::new(device),
        // Asked for by number, it must be there.
        Err(error) if index.is_some() => return Err(error.into()),
        Err(error) => {
            note(&format!("{error}; going on with the processor alone"));
            return Ok(crew);
        }
    };
    let thread = bench::rate(&Crew::processor(crew.backend(), 1), TRIAL)?;
    match bench::rate(&Crew::device(Arc::clone(&device)), TRIAL) {
        Ok(rate) if rate >= thread => Ok(crew.and_device(device)),
        Ok(rate) => {
            note(&format!(
                "{} is left out: {:.0} MH/s, where a thread of the processor makes {:.0}",
                device.info(),
                rate / 1e6,
                thread / 1e6
            ));
            Ok(crew)
        }
        Err(error) => {
            note(&format!("{error}; going on with the processor alone"));
            Ok(crew)
        }
    }
}

fn note(text: &str) {
    // Without anybody to read it, the note is not missed.
    let _ = writeln!(io::stderr(), "level1: {text}");
}
