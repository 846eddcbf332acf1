//! `level4`: flags, the folder, signals.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use level4::security::{SecurityFiles, TlsFiles};
use level4::{Fault, RunError, Settings, note, run, set_verbose};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A program that can write a trace is told by this variable where to.
const TRACE: &str = "OCTOPUS_TRACE";

/// SQLite, replicated: any node takes any SQL, every request runs exactly once, in one order.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  level4 -l 127.0.0.1:4001 -d /var/tmp/a
  level4 -l 127.0.0.1:4002 -d /var/tmp/b --join 127.0.0.1:4001
  level4 -l 10.0.0.2:4000 -d /var/lib/level4 --join 10.0.0.1:4000 --secret-file /etc/level4.secret
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
    /// Address at which peers reach this node, if not the one it listens at; needed with 0.0.0.0 or [::]
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// Peers prove by it that they belong to the cluster: a line of 16 bytes or more, the same on all nodes
    ///
    /// Without a secret and without certificates, peers are accepted from this machine only. To change it
    /// without a stop, write the new one as a second line, send SIGHUP, and when all nodes have both, take
    /// the old one out, and send SIGHUP again. A secret protects the greeting, and not what is said after
    /// it, which anybody on the way can read and change: --tls-cert protects that, too.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// This node's certificate (PEM): peers speak TLS, and show one that --tls-ca has signed
    ///
    /// It has to be for the host that peers reach this node by (localhost, for unix sockets), for servers
    /// and for clients. Read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authority that signs the certificates of all nodes (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
    /// Accept peers that can prove nothing from everywhere, not only from this machine
    #[arg(long)]
    insecure_peers: bool,
    /// The longest request body, MiB; a larger one gets 413
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_body: usize,
    /// The leader shows signs of life this often, ms
    #[arg(long, value_name = "MS", default_value_t = 50)]
    heartbeat: u64,
    /// Silence of the leader after which others stand for election, ms; several round trips at least
    #[arg(long, value_name = "MS", default_value_t = 400)]
    election: u64,
    /// Write down what happens at this node, for `harness trace` [default: the variable OCTOPUS_TRACE]
    ///
    /// JSON lines, 128 MiB at most; a node that starts again goes on in the same file. The files of all
    /// nodes in one folder are one run.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Keep the database in the node's folder, and not in memory: it may be larger than that
    ///
    /// A process that starts again executes nothing a second time. A folder can be used with and without it
    /// in turn.
    #[arg(long)]
    on_disk: bool,
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
    let origin = env::current_dir();
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

/// The files of secrets and certificates, by paths that stay right in another folder.
fn security(flags: &Flags) -> io::Result<SecurityFiles> {
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
    let tls = [&flags.tls_cert, &flags.tls_key, &flags.tls_ca].map(absolute);
    let tls = match tls {
        [Ok(Some(cert)), Ok(Some(key)), Ok(Some(ca))] => Some(TlsFiles { cert, key, ca }),
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => return Err(error),
        _ => None,
    };
    Ok(SecurityFiles {
        secret: absolute(&flags.secret_file)?,
        tls,
        insecure: flags.insecure_peers,
    })
}

/// Changes on every SIGHUP.
fn reload() -> io::Result<watch::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(());
    tokio::spawn(async move { while hangup.recv().await.is_some() && sender.send(()).is_ok() {} });
    Ok(receiver)
}

fn start(flags: Flags) -> anyhow::Result<()> {
    set_verbose(flags.verbose);
    let security = security(&flags).context("the current folder is gone")?;
    let trace = flags
        .trace
        .or_else(|| env::var_os(TRACE).map(PathBuf::from));
    let trace = trace.map(std::path::absolute).transpose();
    let trace = trace.context("the path of the trace cannot be used")?;
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
    env::set_current_dir(&folder)
        .with_context(|| format!("cannot use the folder {}", folder.display()))?;
    let mut settings = Settings {
        listen: flags.listen,
        advertise: flags.advertise,
        join: flags.join,
        body_limit: flags.max_body.saturating_mul(1024 * 1024),
        heartbeat: Duration::from_millis(flags.heartbeat),
        election: Duration::from_millis(flags.election),
        security,
        reload: None,
        trace,
        on_disk: flags.on_disk,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let folder = env::current_dir().context("the folder is gone")?;
    let result = runtime.block_on(async {
        if !settings.security.is_empty() {
            settings.reload = Some(reload().context("cannot wait for SIGHUP")?);
        }
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
