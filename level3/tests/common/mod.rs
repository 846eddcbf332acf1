//! A cluster in this process, on ports of the system's choice, and a plain client for it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use level3::{Config, Endpoint, Listener, Node, NodeServer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How long to wait for what must happen: long, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// A master at work on a thread of its own.
pub struct Master {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Master {
    pub fn start(config: Config) -> Self {
        let listener = Listener::bind(&Endpoint::Tcp("127.0.0.1:0".into())).unwrap();
        let Ok(Endpoint::Tcp(address)) = listener.endpoint() else {
            unreachable!()
        };
        let address = address.parse().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let shutdown = async { drop(stopped.await) };
                level3::serve_master(listener, config, shutdown)
                    .await
                    .unwrap();
            });
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Sends a request line as it stands and returns status and body.
    pub fn get(&self, target: &str) -> (u16, Vec<u8>) {
        get(self.address, target, "*/*")
    }

    /// A request that must be answered with JSON.
    pub fn json(&self, target: &str) -> (u16, Value) {
        let (status, body) = self.get(target);
        let json = serde_json::from_slice(&body).unwrap_or_else(|error| {
            panic!("{target}: {error}: {}", String::from_utf8_lossy(&body))
        });
        (status, json)
    }

    /// Asks until `done` likes the answer.
    pub fn until(&self, target: &str, done: impl Fn(u16, &Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, json) = self.json(target);
            if done(status, &json) {
                return json;
            }
            assert!(
                Instant::now() < deadline,
                "{target} is still {status} {json}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Indexes a folder and waits until it is ready.
    pub fn index(&self, root: &Path) {
        let (status, json) = self.json(&format!(
            "/index?path={}",
            encode(root.to_str().unwrap().as_bytes())
        ));
        assert_eq!(
            (status, &json["success"]),
            (200, &Value::Bool(true)),
            "{json}"
        );
        self.until("/isIndexed", |status, _| status == 200);
    }

    /// Sorted results for a needle.
    pub fn find(&self, needle: &[u8]) -> Vec<String> {
        let (status, json) = self.json(&format!("/?q={}", encode(needle)));
        assert_eq!(status, 200, "{json}");
        assert!(json.get("partial").is_none(), "{json}");
        results(&json)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The results of an answer, sorted.
pub fn results(json: &Value) -> Vec<String> {
    let results = json["results"]
        .as_array()
        .unwrap_or_else(|| panic!("no results: {json}"));
    let mut results: Vec<String> = results
        .iter()
        .map(|item| item.as_str().unwrap().to_owned())
        .collect();
    results.sort();
    results
}

/// An answer with its headers.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.to_owned())
    }
}

/// A GET over a connection of its own.
pub fn get(address: SocketAddr, target: &str, accept: &str) -> (u16, Vec<u8>) {
    let answer = request(address, "GET", target, &[("Accept", accept)]);
    (answer.status, answer.body)
}

/// A request over a connection of its own. Without a `Host` it is for `localhost`.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // HTTP/1.0, so that the body ends with the connection and is not chunked.
    let mut head = format!("{method} {target} HTTP/1.0\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head += "Host: localhost\r\n";
    }
    stream.write_all((head + "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("no end of the head");
    let status = std::str::from_utf8(&answer[9..12])
        .unwrap()
        .parse()
        .unwrap();
    let body = answer.split_off(end + 4);
    Answer {
        status,
        head: String::from_utf8(answer).unwrap(),
        body,
    }
}

/// Percent-encodes everything but letters and digits.
pub fn encode(bytes: &[u8]) -> String {
    let byte = |&byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02x}")
        }
    };
    bytes.iter().map(byte).collect()
}

/// Nodes and a master.
pub struct Cluster {
    pub master: Master,
    pub nodes: Vec<Option<NodeServer>>,
    pub config: Config,
    dir: PathBuf,
    /// Removed at the end, if it is ours.
    temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts `nodes` nodes and a master whose settings `adjust` may change.
    pub fn start(nodes: u32, adjust: impl FnOnce(&mut Config)) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut cluster = Self::start_in(temporary.path(), nodes, adjust);
        cluster.temporary = Some(temporary);
        cluster
    }

    /// Likewise, with the nodes' data below `dir`.
    pub fn start_in(dir: &Path, nodes: u32, adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = dir.to_owned();
        let nodes: Vec<_> = (1..=nodes)
            .map(|id| {
                Some(start_node(
                    id,
                    &node_dir(&dir, id),
                    &Endpoint::Tcp("127.0.0.1:0".into()),
                ))
            })
            .collect();
        let endpoints = nodes
            .iter()
            .flatten()
            .map(|node| node.endpoint().clone())
            .collect();
        let mut config = Config::new(endpoints);
        adjust(&mut config);
        Self {
            master: Master::start(config.clone()),
            nodes,
            config,
            dir,
            temporary: None,
        }
    }

    /// Ends a node.
    pub fn stop_node(&mut self, id: u32) {
        self.nodes[id as usize - 1].take().unwrap().stop();
    }

    /// Starts a node that was ended, on its old port and folder.
    pub fn start_node(&mut self, id: u32) {
        let at = id as usize - 1;
        let node = start_node(id, &self.node_dir(id), &self.config.nodes[at]);
        self.nodes[at] = Some(node);
    }

    pub fn node_dir(&self, id: u32) -> PathBuf {
        node_dir(&self.dir, id)
    }
}

fn node_dir(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("node-{id}"))
}

fn start_node(id: u32, dir: &Path, endpoint: &Endpoint) -> NodeServer {
    let listener = Listener::bind(endpoint).unwrap();
    level3::serve_node(Arc::new(Node::open(id, dir).unwrap()), listener).unwrap()
}

/// Writes a tree of files.
pub fn write_tree<P: AsRef<Path>, B: AsRef<[u8]>>(
    root: &Path,
    files: impl IntoIterator<Item = (P, B)>,
) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// What the contract says the answer is: reads every file and looks at every line.
pub fn oracle(root: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let item = item.unwrap();
            if item
                .file_name()
                .to_str()
                .is_none_or(|name| name.starts_with('.'))
            {
                continue;
            }
            let kind = item.file_type().unwrap();
            if kind.is_dir() {
                folders.push(item.path());
            }
            if !kind.is_file() {
                continue;
            }
            let text = fs::read(item.path()).unwrap();
            if text.len() > 1 << 20 || text.contains(&0) || std::str::from_utf8(&text).is_err() {
                continue;
            }
            let path = item.path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
                if line.windows(needle.len()).any(|window| window == needle) {
                    found.push(format!("{name}:{}", at + 1));
                }
            }
        }
    }
    found.sort();
    found
}
