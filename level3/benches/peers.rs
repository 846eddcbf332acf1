//! Whole answers of a warm cluster, beside other programs on the same tree in the same run.
//!
//! `cargo bench -p level3 --bench peers -- /path/to/linux-6.1 [indexing|needles|expressions] [OTHER-LEVEL3]`
//!
//! Each figure is the median of several runs after one that is not counted; the programs take
//! turns, so that a slow moment of the machine hits all of them. level3 is asked over HTTP on a
//! kept connection and its answer is received to the last byte; the peers write to a pipe that is
//! read to its end. ripgrep and ugrep have no index and scan every time: that is the plain way to do
//! it. (ugrep has had an indexer since its version 4; it is not used here, since it writes into the
//! tree.) codesearch has a trigram index as well, but starts a process for each query and searches on
//! one thread; that is how it is used. Peers that are not installed are left out, with a message. The
//! binary of another version of level3, if one is named, takes its turns as well.
//!
//! Before that, the tree is indexed from nothing several times. Processor time is that of all servers
//! together: unlike the time that passes, it hardly depends on what else the machine does.
//!
//! Then the expressions of `expressions.txt`: level3 and ripgrep on two threads count the lines that
//! match, of the same files, since what is found is the same text for both.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Needles from rare to everywhere.
const NEEDLES: [&str; 6] = [
    "sched_domain_debug_one",
    "Linus Torvalds",
    "hashtable",
    "mutex_lock",
    "static inline",
    "return",
];

/// Counted runs for each needle: of level3, and of the peers, which take their time.
const RUNS: usize = 7;
const PEER_RUNS: usize = 3;

/// Expressions, some of which an index is of no use for.
const EXPRESSIONS: &str = include_str!("expressions.txt");

/// How often the tree is indexed.
const INDEX_RUNS: usize = 2;

/// Counted runs for each expression.
const EXPRESSION_RUNS: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments = std::env::args().skip(1);
    let mut arguments = arguments.filter(|argument| !argument.starts_with('-'));
    let Some(tree) = arguments.next() else {
        println!("peers: skipped: give a tree to index, such as the Linux source:");
        println!("  cargo bench -p level3 --bench peers -- /path/to/linux-6.1");
        return Ok(());
    };
    let tree = Path::new(&tree).canonicalize()?;
    let (mut parts, mut other) = (vec!["indexing", "needles", "expressions"], None);
    for argument in arguments {
        match parts.iter().position(|part| *part == argument) {
            Some(at) => parts = vec![parts[at]],
            None => other = Some(argument),
        }
    }
    let start = |program: &str, name, dir: &Path| -> Outcome<Level3> {
        let mut level3 = Level3::start(program, dir)?;
        level3.index(&tree, name)?;
        Ok(level3)
    };
    let ours = (env!("CARGO_BIN_EXE_level3"), "level3");
    let other = other.as_deref().map(|program| (program, "other level3"));
    if parts.contains(&"indexing") {
        for _ in 0..INDEX_RUNS {
            for (program, name) in [Some(ours), other].into_iter().flatten() {
                let dir = tempfile::tempdir()?;
                start(program, name, dir.path())?.memory()?;
            }
        }
        if parts.len() == 1 {
            return Ok(());
        }
    }
    let dirs = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut level3 = start(ours.0, ours.1, dirs.0.path())?;
    let mut other = other
        .map(|(program, name)| start(program, name, dirs.1.path()))
        .transpose()?;
    if parts.contains(&"needles") {
        let peers = peers(&tree, dirs.0.path())?;
        needles(&mut level3, other.as_mut(), &peers)?;
    }
    if parts.contains(&"expressions") && installed("rg") {
        expressions(&mut level3, &tree)?;
    }
    level3.memory()
}

/// Another program, and how it is asked for a needle.
struct Peer {
    name: &'static str,
    command: Box<dyn Fn(&str) -> Command>,
}

/// The programs that are installed.
fn peers(tree: &Path, dir: &Path) -> Outcome<Vec<Peer>> {
    let mut peers = Vec::new();
    let scanners = [
        (
            "rg",
            &["-F", "-n", "--no-heading", "--color=never", "-e"][..],
        ),
        ("ugrep", &["-F", "-n", "-r", "-I", "--color=never", "-e"]),
    ];
    for (name, flags) in scanners {
        if installed(name) {
            let tree = tree.to_owned();
            let command = Box::new(move |needle: &str| {
                let mut command = Command::new(name);
                command.args(flags).arg(needle).arg(&tree);
                command
            });
            peers.push(Peer { name, command });
        }
    }
    if installed("csearch") && installed("cindex") {
        let index = dir.join("csearchindex");
        let mut command = Command::new("cindex");
        command.arg(tree).env("CSEARCHINDEX", &index);
        let took = run(command.stderr(Stdio::null()))?;
        println!(
            "codesearch: indexed in {:.1} s, index {} MB",
            took.as_secs_f64(),
            std::fs::metadata(&index)?.len() / 1_000_000
        );
        let command = Box::new(move |needle: &str| {
            let mut command = Command::new("csearch");
            command.args(["-n", needle]).env("CSEARCHINDEX", &index);
            command
        });
        let name = "csearch";
        peers.push(Peer { name, command });
    }
    Ok(peers)
}

/// All lines with each needle.
fn needles(level3: &mut Level3, mut other: Option<&mut Level3>, peers: &[Peer]) -> Outcome<()> {
    println!("needle, lines: level3 ms, others ms (ratio to level3)");
    for needle in NEEDLES {
        let target = format!("/?q={}", needle.replace(' ', "%20"));
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        let mut of_peers: Vec<Vec<Duration>> = peers.iter().map(|_| Vec::new()).collect();
        let mut lines = 0;
        for round in 0..=RUNS {
            let started = Instant::now();
            let answer = level3.get(&target)?;
            ours.push(started.elapsed());
            lines = answer
                .windows(2)
                .filter(|pair| pair.ends_with(b"\"") && b",[".contains(&pair[0]))
                .count();
            if let Some(other) = &mut other {
                let started = Instant::now();
                other.get(&target)?;
                others.push(started.elapsed());
            }
            if round <= PEER_RUNS {
                for (peer, times) in peers.iter().zip(&mut of_peers) {
                    times.push(run(&mut (peer.command)(needle))?);
                }
            }
        }
        let ours = median(ours).unwrap_or_default();
        let against = |name: &str, times| {
            let peer = median(times).unwrap_or_default();
            let ratio = peer.as_secs_f64() / ours.as_secs_f64();
            format!(", {name} {:.2} ({ratio:.2} ×)", ms(peer))
        };
        print!("`{needle}`, {lines}: {:.2}", ms(ours));
        if !others.is_empty() {
            print!("{}", against("other level3", others));
        }
        for (peer, times) in peers.iter().zip(of_peers) {
            print!("{}", against(peer.name, times));
        }
        println!();
    }
    Ok(())
}

/// Counts the lines that each expression matches, beside ripgrep.
fn expressions(level3: &mut Level3, tree: &Path) -> Outcome<()> {
    println!();
    println!("expression, lines, pruned, level3 ms, ripgrep ms (ratio)");
    let listed = EXPRESSIONS.lines().filter(|line| !line.starts_with("# "));
    for expression in listed {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let target = format!("/search?q={encoded}&regex=true&limit=0&count=true");
        let (mut ours, mut rg, mut answer) = (Vec::new(), Vec::new(), Value::Null);
        for _ in 0..=EXPRESSION_RUNS {
            let started = Instant::now();
            answer = serde_json::from_slice(&level3.get(&target)?)?;
            ours.push(started.elapsed());
            let mut command = Command::new("rg");
            command.args([
                "-j2",
                "-c",
                "--no-filename",
                "--no-ignore",
                "--max-filesize=1M",
            ]);
            rg.push(run(command.args(["-e", expression]).arg(tree))?);
        }
        let (ours, rg) = (
            median(ours).unwrap_or_default(),
            median(rg).unwrap_or_default(),
        );
        let ratio = rg.as_secs_f64() / ours.as_secs_f64();
        let is_cut = answer["totals"]["at_least"] == true;
        println!(
            "`{expression}`  {}{} {} {:.1} {:.1} ({ratio:.1} ×)",
            if is_cut { "at least " } else { "" },
            answer["totals"]["lines"],
            answer["pruned"],
            ms(ours),
            ms(rg),
        );
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The median of all but the first.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    let counted = times.get_mut(1..)?;
    counted.sort_unstable();
    counted.get(counted.len() / 2).copied()
}

fn installed(program: &str) -> bool {
    let mut command = Command::new(program);
    let found = command
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if found.status().is_err() {
        println!("{program} is not installed: left out");
        return false;
    }
    true
}

/// Runs a program, reads its output to the end, and says how long that took.
fn run(command: &mut Command) -> Outcome<Duration> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(output) = &mut child.stdout {
        std::io::copy(output, &mut std::io::sink())?;
    }
    child.wait()?;
    Ok(started.elapsed())
}

/// A cluster of three nodes and a kept connection to its master.
struct Level3 {
    servers: Child,
    connection: BufReader<TcpStream>,
}

impl Level3 {
    fn start(program: &str, dir: &Path) -> Outcome<Self> {
        let nodes: Vec<String> = (1..=3)
            .map(|id| format!("unix:{}", dir.join(format!("n{id}")).display()))
            .collect();
        let mut servers = Command::new(program)
            .args([
                "start-servers",
                "--listen=127.0.0.1:0",
                "--search-time-limit=120",
                "--nodes",
                &nodes.join(","),
            ])
            .arg(format!("--data={}", dir.join("data").display()))
            .stderr(Stdio::piped())
            .spawn()?;
        let log = servers.stderr.take().ok_or("no log")?;
        let mut lines = BufReader::new(log).lines();
        let mut address: Option<SocketAddr> = None;
        while address.is_none() {
            let line = lines.next().ok_or("the servers have ended")??;
            if let Some(found) = line.split("master listens at http://").nth(1) {
                address = Some(found.parse()?);
            }
        }
        // Somebody has to read on, or the servers would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let stream = TcpStream::connect(address.ok_or("no address")?)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            servers,
            connection: BufReader::with_capacity(1 << 18, stream),
        })
    }

    fn index(&mut self, tree: &Path, name: &str) -> Outcome<()> {
        while self.get("/healthcheck")? != br#"{"success":true}"# {}
        let started = Instant::now();
        self.get(&format!("/index?path={}", tree.display()))?;
        while self.get("/isIndexed")? != br#"{"success":true}"# {
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = started.elapsed().as_secs_f64();
        let spent = self.processor_time()?;
        let [files, text, index] = self.sum(["files", "packed_bytes", "index_bytes"])?;
        println!(
            "{name}: indexed in {took:.1} s, {spent:.1} s of processor time: {files} files, packed text {} MB, index {} MB ({:.1} % of the text)",
            text / 1_000_000,
            index / 1_000_000,
            100.0 * index as f64 / text as f64,
        );
        Ok(())
    }

    /// Processor time of master and nodes so far, in seconds, by proc(5).
    fn processor_time(&self) -> Outcome<f64> {
        let parent = self.servers.id().to_string();
        let mut ticks = 0;
        for process in std::fs::read_dir("/proc")? {
            // Others may end meanwhile.
            let Ok(stat) = std::fs::read_to_string(process?.path().join("stat")) else {
                continue;
            };
            // The name, in parentheses, may have blanks.
            let fields = stat.rsplit(')').next().unwrap_or_default();
            let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
            if fields.get(1) == Some(&parent.as_str()) {
                for field in &fields[11..13] {
                    ticks += field.parse::<u64>()?;
                }
            }
        }
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Sums of some figures over all shards.
    fn sum<const N: usize>(&mut self, names: [&str; N]) -> Outcome<[u64; N]> {
        let status: Value = serde_json::from_slice(&self.get("/status")?)?;
        let nodes = status["nodes"].as_array().ok_or("no nodes")?;
        Ok(names.map(|name| {
            nodes
                .iter()
                .filter_map(|node| node["state"]["shards"][0][name].as_u64())
                .sum()
        }))
    }

    fn memory(&mut self) -> Outcome<()> {
        let status: Value = serde_json::from_slice(&self.get("/status")?)?;
        for node in status["nodes"].as_array().ok_or("no nodes")? {
            let bytes = node["state"]["peak_memory_bytes"].as_u64().unwrap_or(0);
            println!(
                "node {}: peak memory {} MB",
                node["state"]["id"],
                bytes / 1_000_000
            );
        }
        Ok(())
    }

    /// The body of an answer, received whole.
    fn get(&mut self, target: &str) -> Outcome<Vec<u8>> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.connection.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut line) = (None, String::new());
        while line != "\r\n" {
            line.clear();
            self.connection.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = Some(value.trim().parse::<u64>()?);
            }
        }
        let mut body = Vec::new();
        if let Some(length) = length {
            self.connection
                .by_ref()
                .take(length)
                .read_to_end(&mut body)?;
            return Ok(body);
        }
        loop {
            line.clear();
            self.connection.read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16)?;
            self.connection
                .by_ref()
                .take(length)
                .read_to_end(&mut body)?;
            line.clear();
            self.connection.read_line(&mut line)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

impl Drop for Level3 {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.servers);
        // Errors mean that the servers have ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.servers.wait();
    }
}
