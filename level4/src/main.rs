//! `level4`: flags, and the folder.

mod prompt;

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use level4::backup::{BackupConfig, RestoreConfig};
use level4::cdc::CdcConfig;
use level4::security::{HttpsFiles, SecurityFiles, TlsFiles};
use level4::{
    Fault, QueueSettings, RunError, Settings, note, run_program, set_verbose, start_again,
};

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
  level4 shell http://127.0.0.1:4002
  curl -d 'CREATE TABLE t (a); SELECT 1;' http://127.0.0.1:4002/sql"
)]
#[command(args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "flags, each on its own")]
struct Flags {
    #[command(subcommand)]
    program: Option<Program>,
    /// Where to listen: HOST:PORT, or a unix socket's path, which begins with . or /
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    listen: String,
    /// Folder of the node's state, made if missing [default: a temporary one, removed at the end]
    #[arg(short, long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Listen for peers there, and for clients alone at --listen
    #[arg(long, value_name = "ADDRESS")]
    peers: Option<String>,
    /// A member through which to join its cluster (several, with commas); without it, a node without state
    /// founds one
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    join: Vec<String>,
    /// What this node is called in /nodes and /status, besides its number
    #[arg(long, value_name = "ID", value_parser = word)]
    node_id: Option<String>,
    /// Be a member that has everything, answers everything, and never votes: for more readers
    #[arg(long, requires = "join")]
    nonvoter: bool,
    /// Address at which peers reach this node, if not the one it listens at; needed with 0.0.0.0 or [::]
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// Address at which clients reach this node, if not the one it listens at
    #[arg(long, value_name = "ADDRESS")]
    advertise_api: Option<String>,
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
    /// The longest request body, MiB; a larger one gets 413 (but a file at /db/load or /boot, one at a time)
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_body: usize,
    /// The leader shows signs of life this often, ms
    #[arg(long, value_name = "MS", default_value_t = 50)]
    heartbeat: u64,
    /// Silence of the leader after which others stand for election, ms; several round trips at least
    #[arg(long, value_name = "MS", default_value_t = 400)]
    election: u64,
    /// Clients need a name and a password, as this file says (JSON, rqlite's format)
    ///
    /// `[{"username": "bob", "password": "secret", "perms": ["query", "execute"]}]`; the permissions are all,
    /// execute, query, load, backup, snapshot, status, ready, remove, leader-ops and ui. The user * stands
    /// for everybody. A password may be a bcrypt hash. Read again on SIGHUP. Give all nodes the same file, and
    /// let peers prove themselves; passwords can be read on their way without --http-cert.
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    /// The certificate that clients are shown (PEM): they speak HTTPS, and plain HTTP is refused
    ///
    /// Read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "http_key")]
    http_cert: Option<PathBuf>,
    /// The private key of --http-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    http_key: Option<PathBuf>,
    /// The authority that signs the certificates of clients (PEM)
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    http_ca_cert: Option<PathBuf>,
    /// Clients have to show a certificate that --http-ca-cert has signed
    #[arg(long, requires = "http_ca_cert")]
    http_verify_client: bool,
    /// Have the leader make backups by itself, as this file says (JSON, rqlite's format)
    ///
    /// `{"version": 1, "type": "file", "interval": "1h", "sub": {"dir": "/backups", "name": "db.sqlite.gz"}}`, or
    /// "s3" with region, bucket, path, access_key_id, secret_access_key and endpoint. Files of more than 5 GiB, or
    /// than part_size bytes if that is given, go in parts. $NAME stands for a variable of the environment.
    #[arg(long, value_name = "FILE")]
    auto_backup: Option<PathBuf>,
    /// Begin a new cluster with a backup, from where this file says (likewise)
    ///
    /// It may have 64 GiB, and be any SQLite file, also compressed by gzip. Fetching it may take 30 s, or as long
    /// as "timeout" says.
    #[arg(long, value_name = "FILE")]
    auto_restore: Option<PathBuf>,
    /// Have the leader tell others of every row that changes, as this file says (JSON, rqlite's format)
    ///
    /// Or only a URL that changes are posted to, or `stdout`:
    /// `{"endpoint": "https://host/hook", "service_id": "orders", "table_filter": "^orders$"}`. Give it to all
    /// nodes: the one that leads sends, at least once and in order, and the next one goes on from there.
    #[arg(long, value_name = "URL|FILE")]
    cdc_config: Option<String>,
    /// Web pages of this origin may ask (CORS)
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Option<String>,
    /// Write down what happens at this node, for `harness trace` [default: the variable OCTOPUS_TRACE]
    ///
    /// JSON lines, 128 MiB at most; a node that starts again goes on in the same file. The files of all
    /// nodes in one folder are one run.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Keep the database in the node's folder, so that it may be larger than the memory (new: keep backups)
    ///
    /// A process that starts again executes nothing a second time. A folder can be used in both forms in turn.
    /// The database may have 64 GiB.
    #[arg(long, overrides_with = "memory")]
    on_disk: bool,
    /// Keep the database in memory (the default): snapshot and log are on disk
    #[arg(long, overrides_with = "on_disk")]
    memory: bool,
    /// Say on stderr what happens between nodes
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Program {
    Shell(prompt::ShellFlags),
}

fn main() -> ExitCode {
    let mut flags = match Flags::try_parse() {
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
    if let Some(Program::Shell(shell)) = flags.program.take() {
        return match prompt::run(shell) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                note(format_args!("{error:#}"));
                ExitCode::FAILURE
            }
        };
    }
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

/// A name without spaces.
fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has to be 1 to 64 visible ASCII characters".to_owned());
    }
    Ok(text.to_owned())
}

/// The files of secrets and certificates, by paths that stay right in another folder.
fn security(flags: &Flags) -> io::Result<SecurityFiles> {
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
    let tls = [&flags.tls_cert, &flags.tls_key, &flags.tls_ca].map(absolute);
    let tls = match tls {
        [Ok(Some(cert)), Ok(Some(key)), Ok(Some(ca))] => Some(TlsFiles {
            cert,
            key,
            ca: Some(ca),
        }),
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => return Err(error),
        _ => None,
    };
    Ok(SecurityFiles {
        secret: absolute(&flags.secret_file)?,
        tls,
        insecure: flags.insecure_peers,
    })
}

/// The files of HTTPS, likewise.
fn https(flags: &Flags) -> io::Result<Option<HttpsFiles>> {
    let (Some(cert), Some(key)) = (&flags.http_cert, &flags.http_key) else {
        return Ok(None);
    };
    let client_ca = flags.http_ca_cert.as_ref();
    let client_ca = client_ca.filter(|_| flags.http_verify_client);
    Ok(Some(HttpsFiles {
        cert: std::path::absolute(cert)?,
        key: std::path::absolute(key)?,
        client_ca: client_ca.map(std::path::absolute).transpose()?,
    }))
}

fn start(flags: Flags) -> anyhow::Result<()> {
    set_verbose(flags.verbose);
    let security = security(&flags).context("the current folder is gone")?;
    let https = https(&flags).context("the current folder is gone")?;
    let auth = flags.auth.map(std::path::absolute).transpose();
    let auth = auth.context("the path of the file of users cannot be used")?;
    let auto_backup = flags.auto_backup.as_deref().map(BackupConfig::load);
    let auto_backup = auto_backup.transpose()?;
    let auto_restore = flags.auto_restore.as_deref().map(RestoreConfig::load);
    let auto_restore = auto_restore.transpose()?;
    let cdc = flags.cdc_config.as_deref().map(CdcConfig::load);
    let cdc = cdc.transpose().context("--cdc-config")?;
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
    let settings = Settings {
        listen: flags.listen,
        advertise: flags.advertise,
        peers: flags.peers,
        advertise_api: flags.advertise_api,
        join: flags.join,
        ends_if_removed: false,
        leaves_at_end: false,
        discovery: None,
        founders: None,
        label: flags.node_id,
        nonvoter: flags.nonvoter,
        body_limit: flags.max_body.saturating_mul(1024 * 1024),
        heartbeat: Duration::from_millis(flags.heartbeat),
        election: Duration::from_millis(flags.election),
        security,
        reload: None,
        queue: QueueSettings::default(),
        https,
        allow_origin: flags.allow_origin,
        auth,
        auto_backup,
        auto_restore,
        cdc,
        trace,
        on_disk: flags.on_disk,
        snapshots: None,
        foreign_keys: true,
        is_rqlited: false,
    };
    let folder = env::current_dir().context("the folder is gone")?;
    Ok(run_program(settings, &folder)?)
}
