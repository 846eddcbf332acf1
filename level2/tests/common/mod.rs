//! The real binary, backends of our own that do as they are told, and a raw client.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Longest any test waits for anything: generous, since the machine may be busy.
pub const LONG: Duration = Duration::from_secs(60);

/// Flags with which slow clients are found out quickly.
pub const STRICT: [&str; 4] = ["--grace", "300ms", "--min-rate", "10k"];

/// A proxy that is killed when dropped.
pub struct Proxy {
    pub child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    notes: Mutex<mpsc::Receiver<String>>,
}

impl Proxy {
    /// Starts the binary with these backends and flags, on ports of the system's choice.
    pub fn start(backends: &[&str], flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        for backend in backends {
            command.args(["--backend", backend]);
        }
        Self::run(command.args(flags))
    }

    /// Starts a command that runs the binary with `--admin`.
    pub fn run(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut address, mut admin) = (None, None);
        while address.is_none() || admin.is_none() {
            let line = lines.next().expect("the proxy ended at its start").unwrap();
            if let Some(text) = line.strip_prefix("level2: listening on ") {
                let text = text.strip_prefix("tls:").unwrap_or(text);
                address = Some(text.parse().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into()));
            }
            if let Some(text) = line.strip_prefix("level2: metrics on ") {
                admin = Some(text.parse().unwrap());
            }
        }
        // The rest is kept, and passed on, so that a failing test shows it.
        let (sender, notes) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            address: address.unwrap(),
            admin: admin.unwrap(),
            notes: Mutex::new(notes),
        }
    }

    /// Waits for a line on standard error that contains this; returns it.
    pub fn note(&self, wanted: &str) -> String {
        loop {
            let line = self.notes.lock().unwrap().recv_timeout(LONG);
            let line = line.unwrap_or_else(|_| panic!("no note of {wanted:?}"));
            if line.contains(wanted) {
                return line;
            }
        }
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends this and then nothing.
    pub fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        // It may have been refused before all of it was sent.
        let _ = stream.write_all(request);
        stream
    }

    /// Sends these bytes on a connection of their own and returns all that comes until its end.
    pub fn talk(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The proxy may answer and close before it has read everything.
        let _ = stream.write_all(request);
        read_all(&mut stream)
    }

    /// A value out of `/status`, by its JSON pointer.
    pub fn status(&self, pointer: &str) -> serde_json::Value {
        let mut stream = connect(self.admin);
        stream
            .write_all(b"GET /status HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .unwrap();
        let (_, body) = split(&read_all(&mut stream));
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        json.pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer} in {json}"))
            .clone()
    }

    /// Looks at `/status` until a value is as it should be.
    pub fn wait_for(&self, pointer: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        let start = std::time::Instant::now();
        while !wanted(&self.status(pointer)) {
            assert!(
                start.elapsed() < LONG,
                "{pointer} is {}",
                self.status(pointer)
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Peak resident memory so far, in KiB.
    pub fn peak_memory(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Everything until the end, be it a close or a reset.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = vec![0; 65_536];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("after {} bytes: {error}", all.len()),
        }
    }
}

/// Head and rest of a message.
pub fn split(message: &[u8]) -> (String, Vec<u8>) {
    let end = message
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(message.len(), |at| at + 4);
    (
        String::from_utf8_lossy(&message[..end]).into_owned(),
        message[end..].to_vec(),
    )
}

/// The status of an answer.
pub fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(16)]).into_owned();
    text.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {text:?}"))
}

/// A value of a header field.
pub fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_string())
    })
}

/// Reads one message: its head, and its body by length, chunks or close.
pub fn read_message(reader: &mut impl BufRead, bodiless: bool) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head.len() - before == 2 {
            break;
        }
    }
    let mut body = Vec::new();
    if bodiless {
    } else if field(&head, "transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let start = body.len();
            body.resize(start + size, 0);
            reader.read_exact(&mut body[start..]).ok()?;
            reader.read_line(&mut line).ok()?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = field(&head, "content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if head.starts_with("HTTP/") {
        reader.read_to_end(&mut body).ok()?;
    }
    Some((head, body))
}

/// A server on a port of its own that hands each connection to `serve`; counts connections.
pub struct Backend {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Backend {
    pub fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    pub fn on(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counter, serve) = (connections.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serve = serve.clone();
                let counter = counter.clone();
                thread::spawn(move || {
                    counter.fetch_add(1, Ordering::SeqCst);
                    serve(stream);
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers every request by calling `answer` with its head and body.
    pub fn answering(answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::new(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some((head, body)) = read_message(&mut reader, false) {
                if stream.write_all(&answer(&head, &body)).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers with the request's body, or `hello` if it had none.
    pub fn echo() -> Self {
        Self::answering(|head, body| {
            let body = if body.is_empty() { b"hello" } else { body };
            let mut out =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            if !head.starts_with("HEAD ") {
                out.extend_from_slice(body);
            }
            out
        })
    }

    pub fn name(&self) -> String {
        self.address.to_string()
    }
}

/// A port of our own at which nobody listens yet.
pub struct Reserved(socket2::Socket);

impl Reserved {
    pub fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    pub fn name(&self) -> String {
        let address = self.0.local_addr().unwrap();
        address.as_socket().unwrap().to_string()
    }

    /// From now on somebody does.
    pub fn serve(self, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Backend {
        self.0.listen(128).unwrap();
        Backend::on(self.0.into(), serve)
    }
}

/// A backend that says when a request has come, and answers it when it is told to.
pub struct Gated {
    pub backend: Backend,
    starts: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Gated {
    pub fn new() -> Self {
        let (started, starts) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let backend = Backend::answering(move |_, _| {
            let _ = started.send(());
            let _ = released.lock().unwrap().recv_timeout(LONG);
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone".to_vec()
        });
        Self {
            backend,
            starts,
            release,
        }
    }

    /// Waits until a request has come.
    pub fn started(&self) {
        self.starts.recv_timeout(LONG).unwrap();
    }

    /// Lets one be answered.
    pub fn release(&self) {
        self.release.send(()).unwrap();
    }
}

pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
