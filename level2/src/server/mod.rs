//! The whole proxy: binds, starts the workers, has the backends checked, serves the admin side, reloads,
//! drains.

mod checks;
mod limits;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::admin;
use crate::config::{Config, Flags, Inherited};
use crate::net::{self, Bound, ListenAddress, OwnSocket};
use crate::notes::Notes;
use crate::proxy::{self, Shared};
use crate::tls::{Fingerprint, Tls, TlsError};

/// How often waiting requests are looked at for having waited too long.
const TICK: Duration = Duration::from_millis(50);

/// How often files of certificates and keys are looked at for changes.
const LOOK: Duration = Duration::from_secs(1);

/// Why the proxy could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}", describe(error))]
    Listen {
        /// The address.
        address: ListenAddress,
        /// Why.
        error: io::Error,
    },
    /// A certificate or a key is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread, a runtime or a signal could not be had.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A worker ended before its time.
    #[error("a worker failed: {0}")]
    Worker(String),
}

/// An error of the system in words of the user's.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".into(),
        _ => error.to_string(),
    }
}

/// The sockets that were bound.
struct Sockets {
    /// By worker.
    workers: Vec<Vec<Bound>>,
    addresses: Vec<ListenAddress>,
    /// Removed at the end.
    own: Vec<OwnSocket>,
}

impl Sockets {
    fn bind(config: &Config, inherited: Vec<Bound>) -> Result<Self, ServerError> {
        let mut sockets = Self {
            workers: (0..config.threads).map(|_| Vec::new()).collect(),
            addresses: Vec::new(),
            own: Vec::new(),
        };
        for bound in inherited {
            let copies = bound.copies(config.threads)?;
            sockets.add(copies)?;
        }
        let needed = config.listen.iter().map(|address| (address, true));
        let others = config
            .listen_if_possible
            .iter()
            .map(|address| (address, false));
        for (address, needed) in needed.chain(others) {
            match net::bind(address, config.threads) {
                Ok(copies) => {
                    sockets.add(copies)?;
                    sockets.own.extend(OwnSocket::at(&address.address));
                }
                Err(error) if needed => {
                    return Err(ServerError::Listen {
                        address: address.clone(),
                        error,
                    });
                }
                Err(_) => {}
            }
        }
        Ok(sockets)
    }

    fn add(&mut self, copies: Vec<Bound>) -> io::Result<()> {
        self.addresses.push(copies[0].address()?);
        for (worker, copy) in self.workers.iter_mut().zip(copies) {
            worker.push(copy);
        }
        Ok(())
    }
}

/// The worker threads.
struct Workers {
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
    stop: watch::Sender<bool>,
    abort: watch::Sender<bool>,
    /// Closed when the last worker has ended.
    ended: mpsc::Receiver<Infallible>,
}

impl Workers {
    fn start(shared: &Arc<Shared>, sockets: Vec<Vec<Bound>>) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (abort, aborted) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let mut threads = Vec::new();
        for (index, bound) in sockets.into_iter().enumerate() {
            let (shared, stopped, aborted) = (shared.clone(), stopped.clone(), aborted.clone());
            let alive = alive.clone();
            let body = move || {
                let outcome = proxy::run(shared, index, bound, stopped, aborted);
                drop(alive);
                outcome
            };
            threads.push(
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(body)?,
            );
        }
        Ok(Self {
            threads,
            stop,
            abort,
            ended,
        })
    }

    fn join(self) -> Result<(), ServerError> {
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(ServerError::Worker(error.to_string())),
                Err(_) => return Err(ServerError::Worker("it panicked".into())),
            }
        }
        Ok(())
    }
}

struct Signals {
    end: End,
    hangup: Signal,
}

/// The signals that end the proxy.
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            end: End {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl End {
    /// The next wish to end.
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs the proxy until SIGTERM or SIGINT. Writes a line `listening on ADDRESS` per listener to the notes
/// when it is ready. The flags are read again at SIGHUP.
pub fn run(
    mut config: Config,
    flags: &Flags,
    inherited: Vec<Bound>,
    notes: &Notes,
) -> Result<(), ServerError> {
    limits::fit(&mut config, notes);
    let inherits = Inherited::of(&inherited);
    let tls = Tls::default();
    let seen = Fingerprint::of(&config.tls);
    for warning in tls.load(&config.tls)? {
        notes.write(format_args!("warning: {warning}"));
    }
    let sockets = Sockets::bind(&config, inherited)?;
    let admin = config.admin.clone();
    let admin = admin
        .map(|address| {
            let listen = ListenAddress::from(address.clone());
            let bound = net::bind(&listen, 1).and_then(|mut bound| {
                bound
                    .pop()
                    .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
            });
            bound
                .map(|bound| (bound, OwnSocket::at(&address)))
                .map_err(|error| ServerError::Listen {
                    address: listen,
                    error,
                })
        })
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let shared = Arc::new(Shared::new(config, tls, notes.clone()));
    let mut workers = Workers::start(&shared, sockets.workers)?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        if let Some((bound, own)) = admin {
            notes.write(format_args!("metrics on {}", bound.address()?));
            let page = admin::serve(shared.clone(), bound.into_listener()?);
            // Ends with the runtime: nobody's request is lost with a page of figures.
            tokio::spawn(async move {
                let _own = own;
                page.await;
            });
        }
        for address in &sockets.addresses {
            notes.write(format_args!("listening on {address}"));
        }
        let settings = Settings {
            flags,
            inherits,
            seen,
        };
        attend(&shared, settings, &mut signals, &mut workers).await;
        drain(&shared, &mut signals, &mut workers).await;
        Ok::<(), io::Error>(())
    });
    workers.stop.send_replace(true);
    workers.abort.send_replace(true);
    drop(runtime);
    workers.join()?;
    shared.log.flush();
    drop(sockets.own);
    Ok(outcome?)
}

/// Where the settings come from.
struct Settings<'a> {
    flags: &'a Flags,
    inherits: Inherited,
    /// The certificates' and keys' files, as they were when they were last read.
    seen: Fingerprint,
}

/// What the main thread does while the workers serve. Ends with a signal, or if a worker ends.
async fn attend(
    shared: &Arc<Shared>,
    mut settings: Settings<'_>,
    signals: &mut Signals,
    workers: &mut Workers,
) {
    let mut watched = 0;
    let mut tick = tokio::time::interval(TICK);
    let mut look = tokio::time::interval(LOOK);
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        let backends = shared.config().backends.len();
        for backend in watched..backends {
            // Ends with the runtime.
            tokio::spawn(checks::watch(shared.clone(), backend));
        }
        watched = backends;
        tokio::select! {
            () = signals.end.recv() => return,
            _ = workers.ended.recv() => return,
            _ = signals.hangup.recv() => settings.reload(shared),
            _ = look.tick() => settings.look(shared),
            _ = tick.tick() => shared.gate.tick(),
        }
    }
}

impl Settings<'_> {
    /// Reads the settings again and takes them over.
    fn reload(&mut self, shared: &Shared) {
        let notes = &shared.notes;
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
        }
        match self.read_again(shared) {
            Ok(config) => {
                let lines = shared.reload(config);
                for line in &lines {
                    notes.write(format_args!("reload: {line}"));
                }
                notes.write(format_args!("reloaded: {} changes", lines.len()));
            }
            Err(error) => notes.write(format_args!(
                "reload refused, the settings stay as they are: {error:#}"
            )),
        }
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }

    /// The settings as they are now, with certificates and keys in use already.
    fn read_again(&mut self, shared: &Shared) -> anyhow::Result<Config> {
        let mut config = self.flags.clone().resolve(self.inherits)?;
        limits::fit(&mut config, &shared.notes);
        self.seen = Fingerprint::of(&config.tls);
        for warning in shared.tls.load(&config.tls)? {
            shared.notes.write(format_args!("warning: {warning}"));
        }
        Ok(config)
    }

    /// Takes over certificates and keys whose files have changed.
    fn look(&mut self, shared: &Shared) {
        let files = &shared.config().tls;
        let found = Fingerprint::of(files);
        if found == self.seen {
            return;
        }
        self.seen = found;
        match shared.tls.load(files) {
            Ok(warnings) => {
                shared
                    .notes
                    .write(format_args!("certificates changed: they are read again"));
                for warning in warnings {
                    shared.notes.write(format_args!("warning: {warning}"));
                }
            }
            Err(error) => shared.notes.write(format_args!(
                "certificates changed, and those read before stay in use: {error}"
            )),
        }
    }
}

/// Lets requests in flight end: until the last has, time is up, or a second signal comes.
async fn drain(shared: &Shared, signals: &mut Signals, workers: &mut Workers) {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    workers.stop.send_replace(true);
    let limit = shared.config().drain_timeout;
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = workers.ended.recv() => return,
            () = &mut deadline => {
                let text = "requests are cut off: they took longer than --drain-timeout";
                shared.notes.write(format_args!("{text}"));
                return;
            }
            () = signals.end.recv() => {
                shared.notes.write(format_args!("requests are cut off by a second signal"));
                return;
            }
            _ = tick.tick() => shared.gate.tick(),
        }
    }
}
