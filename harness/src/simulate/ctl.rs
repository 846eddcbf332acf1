//! Breaking things by hand while a run goes on: `--ctl SOCKET` listens at a unix socket, and
//! `harness network ctl SOCKET WORDS` says something there. What was done by hand is undone by hand, or at the end.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use octopus::{Change, NodeId, Octopus, Pair, Stage, pairs};

use crate::console;

/// The longest line that is taken, in bytes.
const MOST_BYTES: u64 = 4096;

/// How long somebody may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);

/// Breaks links and nodes of a running `harness network --ctl SOCKET` by hand.
///
/// `down 0-2`, `up 0-2`, `freeze 1`, `thaw 1`, `kill 1`, `stop 1` (asks it to end), `wipe 1` (kills it and empties its
/// folder), `revive 1` (after any of these three): each may be done several times, and has to be undone as often.
/// `heal` undoes everything that was done by hand, `status` tells how links and nodes are.
#[derive(Clone, Debug, clap::Args)]
pub struct CtlArgs {
    /// The socket that the run was given with --ctl
    socket: PathBuf,

    /// What to do
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
}

/// Says it, and prints what comes back.
pub(super) fn say(args: &CtlArgs) -> Result<()> {
    let shown = args.socket.display();
    let mut stream =
        UnixStream::connect(&args.socket).with_context(|| format!("nobody listens at {shown}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", args.words.join(" "))?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("no answer from {shown}"))?;
    match answer.strip_prefix("refused: ") {
        Some(why) => bail!("{}", why.trim_end()),
        None => console::print(answer.trim_end()),
    }
    Ok(())
}

/// Listens until it is dropped.
pub(super) struct Ctl {
    socket: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    hand: Arc<Mutex<Hand>>,
}

impl Ctl {
    /// Listens at a path where nothing is.
    pub fn listen(socket: &Path, octopus: &Octopus) -> Result<Self> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        let hand = Arc::new(Mutex::new(Hand {
            stage: Box::new(octopus.stage()),
            nodes: octopus.nodes().count(),
            places: octopus.network().nodes(),
            done: Vec::new(),
        }));
        let over: Arc<AtomicBool> = Arc::default();
        let (held, ends) = (Arc::clone(&hand), Arc::clone(&over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // Who goes without a word, or does not want the answer, is no reason to end.
                let _gone = stream.and_then(|stream| serve(&stream, &held));
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
            over,
            thread: Some(thread),
            hand,
        })
    }

    /// Undoes what was done by hand.
    pub fn heal(&self) {
        lock(&self.hand).heal();
    }
}

impl Drop for Ctl {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread up.
        let _woken = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        let _gone = fs::remove_file(&self.socket);
    }
}

fn serve(mut stream: &UnixStream, hand: &Mutex<Hand>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream)
        .take(MOST_BYTES)
        .read_line(&mut line)?;
    let answer = lock(hand).act(line.trim());
    let answer = answer.unwrap_or_else(|why| format!("refused: {why}"));
    stream.write_all(answer.as_bytes())
}

fn lock(hand: &Mutex<Hand>) -> std::sync::MutexGuard<'_, Hand> {
    hand.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that can be done and undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Down(Pair),
    Freeze(NodeId),
    Kill(NodeId),
    Stop(NodeId),
    Wipe(NodeId),
}

struct Hand {
    stage: Box<dyn Stage + Send>,
    nodes: usize,
    /// What links join: the nodes, and the clients' machine if its links are flaky.
    places: usize,
    done: Vec<Deed>,
}

impl Hand {
    fn act(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (deed, is_done) = match words[..] {
            ["status"] => return Ok(self.status()),
            ["heal"] => {
                self.heal();
                return Ok(self.status());
            }
            ["down", link] => (Deed::Down(self.pair(link)?), true),
            ["up", link] => (Deed::Down(self.pair(link)?), false),
            ["freeze", node] => (Deed::Freeze(self.node(node)?), true),
            ["thaw", node] => (Deed::Freeze(self.node(node)?), false),
            ["kill", node] => (Deed::Kill(self.node(node)?), true),
            ["stop", node] => (Deed::Stop(self.node(node)?), true),
            ["wipe", node] => (Deed::Wipe(self.node(node)?), true),
            ["revive", node] => (self.to_revive(self.node(node)?), false),
            _ => {
                return Err(format!(
                    "\"{line}\" is none of down LINK, up LINK, freeze, thaw, kill, stop, wipe, revive NODE, heal, status"
                ));
            }
        };
        if is_done {
            self.done.push(deed);
            self.begin(deed);
        } else {
            let place = self.done.iter().position(|&other| other == deed);
            let place = place.ok_or("that was not done by hand")?;
            self.done.swap_remove(place);
            self.undo(deed);
        }
        Ok(self.status())
    }

    /// What makes a node live again: the latest that has ended it.
    fn to_revive(&self, node: NodeId) -> Deed {
        let ends = [Deed::Kill(node), Deed::Stop(node), Deed::Wipe(node)];
        let done = self.done.iter().rev();
        let latest = done.copied().find(|deed| ends.contains(deed));
        latest.unwrap_or(Deed::Kill(node))
    }

    fn heal(&mut self) {
        for deed in std::mem::take(&mut self.done) {
            self.undo(deed);
        }
    }

    fn begin(&mut self, deed: Deed) {
        match deed {
            Deed::Down(pair) => self.stage.change(pair, Change::Down),
            Deed::Freeze(node) => self.stage.freeze(node),
            Deed::Kill(node) => self.stage.kill(&[node]),
            Deed::Stop(node) => self.stage.shut_down(node),
            Deed::Wipe(node) => {
                self.stage.kill(&[node]);
                self.stage.wipe(node);
            }
        }
    }

    fn undo(&mut self, deed: Deed) {
        match deed {
            Deed::Down(pair) => self.stage.change(pair, Change::Up),
            Deed::Freeze(node) => self.stage.thaw(node),
            Deed::Kill(node) | Deed::Stop(node) | Deed::Wipe(node) => self.stage.revive(&[node]),
        }
    }

    fn status(&self) -> String {
        let mut text = String::new();
        for node in 0..self.nodes {
            let _infallible = writeln!(text, "node {node} {}", self.stage.node(node).word());
        }
        for pair in pairs(self.places) {
            let link = self.stage.link(pair);
            let up = if link.is_up() { "up" } else { "down" };
            let delay = link.latency_ms + link.spike_ms;
            let _infallible = writeln!(
                text,
                "link {pair} {up}, {delay} ms, jitter {} ms",
                link.jitter_ms
            );
        }
        text
    }

    fn pair(&self, word: &str) -> Result<Pair, String> {
        let (one, other) = word
            .split_once('-')
            .ok_or_else(|| format!("{word} is no link: write 0-1"))?;
        let place = |word: &str| number(word, self.places);
        let (one, other) = (place(one)?, place(other)?);
        if one == other {
            return Err(format!("{word} joins a node to itself"));
        }
        Ok(Pair::new(one, other))
    }

    fn node(&self, word: &str) -> Result<NodeId, String> {
        number(word, self.nodes)
    }
}

fn number(word: &str, count: usize) -> Result<NodeId, String> {
    let node = word.parse().ok().filter(|&node| node < count);
    node.ok_or_else(|| format!("{word} is none of the {count} nodes"))
}
