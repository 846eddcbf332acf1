//! Running a master and its nodes as children: names in front of their lines, one end for all.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long children may take to stop before they are killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A server that runs at least this long is started again at once when it dies; one that ends
/// sooner most likely cannot run at all, and ends the cluster.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A server to run.
#[derive(Clone, Debug)]
pub struct Server {
    /// What stands in front of its lines.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A server at work.
struct Running<'a> {
    server: &'a Server,
    child: Child,
    since: Instant,
    log: [JoinHandle<()>; 2],
}

/// Runs the servers until SIGINT or SIGTERM, then stops them all. One that dies is started again.
///
/// # Errors
/// A server cannot be started, or ends right away.
pub fn run(program: &Path, servers: &[Server]) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGCHLD])?;
    let mut running = Vec::new();
    let mut outcome = Ok(());
    for server in servers {
        match start(program, server) {
            Ok(child) => running.push(child),
            Err(error) => outcome = Err(error),
        }
    }
    while outcome.is_ok() {
        match signals.forever().next() {
            Some(SIGCHLD) => outcome = revive(program, &mut running),
            _ => break,
        }
    }
    stop(running, &mut signals);
    outcome
}

fn start<'a>(program: &Path, server: &'a Server) -> io::Result<Running<'a>> {
    let mut child = Command::new(program)
        .args(&server.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let log = [log(&server.name, out), log(&server.name, err)];
    Ok(Running {
        server,
        child,
        since: Instant::now(),
        log,
    })
}

/// Passes a server's lines on, with its name in front.
fn log(name: &str, lines: Option<impl Read + Send + 'static>) -> JoinHandle<()> {
    let name = name.to_owned();
    thread::spawn(move || {
        let Some(lines) = lines else { return };
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            // Nobody listening any more is no reason to stop the servers.
            let _ = writeln!(io::stderr(), "[{name}] {line}");
        }
    })
}

/// Starts again what has died.
fn revive(program: &Path, running: &mut [Running<'_>]) -> io::Result<()> {
    for server in running {
        let Some(status) = server.child.try_wait()? else {
            continue;
        };
        let name = &server.server.name;
        crate::note!("[{name}] ended: {status}");
        if server.since.elapsed() < SETTLED_AFTER && status != killed() {
            return Err(io::Error::other(format!("{name} does not run")));
        }
        crate::note!("[{name}] starts again");
        *server = start(program, server.server)?;
    }
    Ok(())
}

/// The status of a process that was killed: that is nothing its arguments could be blamed for.
fn killed() -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    ExitStatus::from_raw(Signal::KILL.as_raw())
}

/// Stops all servers and waits for their last lines.
fn stop(mut running: Vec<Running<'_>>, signals: &mut Signals) {
    for server in &running {
        signal(&server.child, Signal::TERM);
    }
    let deadline = Instant::now() + STOP_WITHIN;
    for server in &mut running {
        while matches!(server.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                crate::note!("[{}] does not stop and is killed", server.server.name);
                signal(&server.child, Signal::KILL);
                // Cannot fail for a child that was not waited for.
                let _ = server.child.wait();
                break;
            }
            // Taking signals keeps a second Ctrl-C from ending us before the children.
            signals.pending().for_each(drop);
            thread::sleep(Duration::from_millis(10));
        }
    }
    for handle in running.into_iter().flat_map(|server| server.log) {
        if handle.join().is_err() {
            crate::note!("a logging thread has panicked");
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    // An error means that the child has ended already.
    let _ = kill_process(Pid::from_child(child), signal);
}
