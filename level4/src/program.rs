//! A node as a program of its own: its runtime, the signals that it hears, and its next life.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::server::run;
use crate::settings::{RunError, Settings};

/// What is under way in the background when the node has ended gets this long.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// Runs a node in `folder` until SIGTERM or SIGINT. Secrets, certificates and users are read again on
/// SIGHUP.
///
/// # Errors
///
/// If the node does not start, or does not go on.
pub fn run_program(mut settings: Settings, folder: &Path) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let result = runtime.block_on(async {
        settings.reload = reload(&settings).map_err(RunError::Runtime)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Runtime)?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        run(settings, folder, shutdown).await
    });
    runtime.shutdown_timeout(AFTERWARDS);
    result
}

/// Changes on every SIGHUP, if there is anything to be read again.
fn reload(settings: &Settings) -> io::Result<Option<watch::Receiver<()>>> {
    let nothing =
        settings.security.is_empty() && settings.auth.is_none() && settings.https.is_none();
    if nothing {
        return Ok(None);
    }
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(());
    tokio::spawn(async move { while hangup.recv().await.is_some() && sender.send(()).is_ok() {} });
    Ok(Some(receiver))
}

/// Replaces the process by a new one with the same arguments, in the folder where it began; gives the
/// reason why it cannot. A temporary folder goes with the old one, and is nothing that others would miss:
/// its node was alone or has peers.
pub fn start_again(origin: io::Result<PathBuf>) -> io::Error {
    match origin.and_then(|origin| Ok((origin, env::current_exe()?))) {
        Ok((origin, program)) => {
            let arguments = env::args_os().skip(1);
            Command::new(program)
                .args(arguments)
                .current_dir(origin)
                .exec()
        }
        Err(error) => error,
    }
}
