//! Real processes for the contract tests and the benchmarks, and a small HTTP client.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "every test file uses a part of it; a panic is how a test fails"
)]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node.
pub struct Node {
    child: Option<Child>,
    folder: PathBuf,
    /// `host:port` or a socket's path, for clients.
    pub address: String,
    arguments: Vec<String>,
    /// What it says on stderr goes there.
    log: Option<PathBuf>,
}

/// The program: cargo's for tests, the one beside this one's folder for examples.
fn program() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_level4").map(PathBuf::from);
    built.unwrap_or_else(|| {
        let own = std::env::current_exe().unwrap();
        own.ancestors().nth(2).unwrap().join("level4")
    })
}

impl Node {
    /// Starts a node listening at `listen` in `folder`, and waits until it listens.
    pub fn start(folder: &Path, listen: &str, join: Option<&str>) -> Self {
        let join = join.map(|through| format!("--join={through}"));
        let more: Vec<&str> = join.as_deref().into_iter().collect();
        Self::start_with(folder, listen, &more)
    }

    /// Likewise, with more arguments.
    pub fn start_with(folder: &Path, listen: &str, more: &[&str]) -> Self {
        let mut node = Self::new(folder, listen, more);
        node.restart();
        node
    }

    /// Likewise, and what it says on stderr can be looked at.
    pub fn start_logged(folder: &Path, listen: &str, more: &[&str]) -> Self {
        let mut node = Self::new(folder, listen, more);
        node.log = Some(folder.with_extension("stderr"));
        node.restart();
        node
    }

    fn new(folder: &Path, listen: &str, more: &[&str]) -> Self {
        let arguments = [&["-l", listen], more].concat();
        Self {
            child: None,
            folder: folder.to_owned(),
            address: listen.to_owned(),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            log: None,
        }
    }

    /// What it has said on stderr, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.as_ref().unwrap()).unwrap()
    }

    /// It is started with this argument, too, from now on.
    pub fn add_argument(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// At its next start it is told to join through another node.
    pub fn join(&mut self, through: &str) {
        self.arguments
            .retain(|argument| !argument.starts_with("--join"));
        self.add_argument(&format!("--join={through}"));
    }

    /// It listens there from its next start on.
    pub fn listen_at(&mut self, address: &str) {
        address.clone_into(&mut self.arguments[1]);
    }

    /// Starts the process (again).
    pub fn restart(&mut self) {
        let mut command = Command::new(program());
        if let Some(path) = &self.log {
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path);
            command.stderr(log.unwrap());
        }
        let mut child = command
            .args(&self.arguments)
            .arg("-d")
            .arg(&self.folder)
            // Nothing may depend on it.
            .env("TZ", "XYZ-9")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(line.contains("listens at"), "said {line:?}");
        if address.starts_with('.') {
            self.address = self.folder.join(&address).to_string_lossy().into_owned();
        } else {
            // A port chosen by the system stays the same through restarts.
            self.arguments[1].clone_from(&address);
            self.address = address;
        }
        self.child = Some(child);
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().unwrap();
        child.try_wait().unwrap().is_some()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        child.wait().unwrap().code()
    }

    /// Sends a request and gives status and body; `None` if the node hung up.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Option<(u16, String)> {
        request(&self.address, method, path, headers, body).ok()
    }

    /// `POST /sql`, which has to work.
    pub fn sql(&self, sql: &str) -> String {
        let (status, body) = self
            .request("POST", "/sql", "", sql.as_bytes())
            .expect("an answer");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// `GET`, which has to work.
    pub fn get(&self, path: &str) -> String {
        self.request("GET", path, "", b"").expect("an answer").1
    }

    /// Waits until the node knows `count` members and a leader.
    #[track_caller]
    pub fn wait_for_members(&self, count: usize) {
        eventually(|| {
            let status = self.get("/cluster/status");
            status.matches("\"connected\":").count() == count - 1
                && !status.contains("\"leader\":null")
                // Newcomers learn first.
                && !status.contains("\"voter\":false")
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends the process `id` a signal.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &id.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < PATIENCE,
            "still not so after {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One request on a connection of its own.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<(u16, String)> {
    let mut stream: Box<dyn Stream> = if address.starts_with('/') {
        Box::new(UnixStream::connect(address)?)
    } else {
        Box::new(TcpStream::connect(address)?)
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: level4\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let cut_off = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut_off)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(cut_off)?, body.to_owned()))
}

/// A cluster of `count` nodes on TCP, in folders below `root`.
pub fn cluster(root: &Path, count: usize) -> Vec<Node> {
    cluster_with(root, count, |_| Vec::new())
}

/// The same, whose nodes have more arguments.
pub fn cluster_with(
    root: &Path,
    count: usize,
    arguments: impl Fn(usize) -> Vec<String>,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for place in 0..count {
        let first = nodes.first();
        let join = first.map(|first| format!("--join={}", first.address));
        let own = arguments(place);
        let more: Vec<&str> = join.iter().chain(&own).map(String::as_str).collect();
        let folder = root.join(place.to_string());
        nodes.push(Node::start_with(&folder, "127.0.0.1:0", &more));
    }
    for node in &nodes {
        node.wait_for_members(count);
    }
    nodes
}
