//! `level4`: flags, the folder, signals.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use level4::{Fault, RunError, Settings, note, run, set_verbose};
use tokio::signal::unix::{SignalKind, signal};

/// SQLite, replicated: any node takes any SQL, every request runs exactly once, in one order.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  level4 -l 127.0.0.1:4001 -d /var/tmp/a
  level4 -l 127.0.0.1:4002 -d /var/tmp/b --join 127.0.0.1:4001
  curl -d 'CREATE TABLE t (a); SELECT 1;' http://127.0.0.1:4002/sql"
)]
struct Flags {
    /// Where to listen: HOST:PORT, or a unix socket's path, which begins with . or /
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    listen: String,
    /// Folder of the node's state, made if missing [default: a temporary one, removed at the end]
    #[arg(short, long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A member through which to join its cluster; without it, a node without state founds one
    #[arg(long, value_name = "ADDRESS")]
    join: Option<String>,
    /// Address at which peers reach this node, if not the one it listens at
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// The longest request body, MiB; a larger one gets 413
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_body: usize,
    /// The leader shows signs of life this often, ms
    #[arg(long, value_name = "MS", default_value_t = 50)]
    heartbeat: u64,
    /// Silence of the leader after which others stand for election, ms; several round trips at least
    #[arg(long, value_name = "MS", default_value_t = 400)]
    election: u64,
    /// Say on stderr what happens between nodes
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // A closed terminal is no reason to fail differently.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let origin = std::env::current_dir();
    match start(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("{error:#}"));
            if let Some(RunError::Fault(Fault::Skip { .. })) = error.downcast_ref() {
                note(format_args!("{}", start_again(origin)));
            }
            ExitCode::FAILURE
        }
    }
}

/// Replaces the process by a new one with the same arguments; gives the reason why it cannot. A temporary
/// folder goes with the old one, and is nothing that others would miss: its node was alone or has peers.
fn start_again(origin: io::Result<PathBuf>) -> io::Error {
    match origin.and_then(|origin| Ok((origin, std::env::current_exe()?))) {
        Ok((origin, program)) => {
            let arguments = std::env::args_os().skip(1);
            Command::new(program)
                .args(arguments)
                .current_dir(origin)
                .exec()
        }
        Err(error) => error,
    }
}

fn start(flags: Flags) -> anyhow::Result<()> {
    set_verbose(flags.verbose);
    let temporary;
    let folder = if let Some(folder) = flags.directory {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        folder
    } else {
        temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
        temporary.path().to_owned()
    };
    // Relative socket paths are relative to the folder.
    std::env::set_current_dir(&folder)
        .with_context(|| format!("cannot use the folder {}", folder.display()))?;
    let settings = Settings {
        listen: flags.listen,
        advertise: flags.advertise,
        join: flags.join,
        body_limit: flags.max_body.saturating_mul(1024 * 1024),
        heartbeat: Duration::from_millis(flags.heartbeat),
        election: Duration::from_millis(flags.election),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let folder = std::env::current_dir().context("the folder is gone")?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(run(settings, &folder, shutdown).await?)
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
