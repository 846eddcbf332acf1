//! The real program: `start-servers`, its flags, and what SIGKILL does to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

use crate::common::{PATIENCE, get, oracle, results, write_tree};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running `level3 start-servers` with nodes on unix sockets below `dir`.
struct Servers {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Servers {
    fn start(dir: &Path, flags: &[&str]) -> Self {
        Self::start_at(dir, "127.0.0.1:0", flags)
    }

    /// Likewise, with the master at this address.
    fn start_at(dir: &Path, listen: &str, flags: &[&str]) -> Self {
        let nodes: Vec<String> = (1..=3)
            .map(|id| format!("unix:{}", dir.join(format!("n{id}")).display()))
            .collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_level3"))
            .args([
                "start-servers",
                "--listen",
                listen,
                "--nodes",
                &nodes.join(","),
            ])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(
                log.read_line(&mut line).unwrap(),
                0,
                "the servers have ended"
            );
            if let Some(address) = line
                .trim()
                .strip_prefix("[master] master listens at http://")
            {
                break address.parse().unwrap();
            }
        };
        Self {
            child,
            log,
            address,
        }
    }

    /// An answer, or nothing while the master is being started again.
    fn ask(&self, target: &str) -> Option<(u16, Value)> {
        std::net::TcpStream::connect(self.address).ok()?;
        let (status, body) = std::panic::catch_unwind(|| get(self.address, target, "*/*")).ok()?;
        Some((status, serde_json::from_slice(&body).ok()?))
    }

    fn until(&self, target: &str, done: impl Fn(u16, &Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(target);
            if let Some((status, json)) = &answer
                && done(*status, json)
            {
                return json.clone();
            }
            assert!(Instant::now() < deadline, "{target} is still {answer:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The server whose arguments contain `flag`.
    fn server(&self, flag: &str) -> Option<Pid> {
        children(self.child.id()).into_iter().find_map(|pid| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let arguments = String::from_utf8(arguments).ok()?.replace('\0', " ");
            arguments
                .contains(flag)
                .then(|| Pid::from_raw(pid as i32))?
        })
    }

    /// Ends all servers in good order; returns what they had to say in the end.
    fn stop(mut self) -> String {
        let children = children(self.child.id());
        self.signal(Signal::TERM);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.log, &mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        for pid in children {
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "{pid} is still there"
            );
        }
        rest
    }
}

impl Drop for Servers {
    /// After a failure: what is left must not outlive the test. The children follow their parent.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Process ids of the children of a process.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|item| {
        let pid: u32 = item.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which may contain anything: state, parent.
        let of: u32 = stat
            .rsplit(')')
            .next()?
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()?;
        (of == parent).then_some(pid)
    });
    processes.collect()
}

#[test]
fn an_index_in_a_data_folder_outlives_its_servers() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tree(
        tree.path(),
        (0..9).map(|at| (format!("file-{at}"), "needle\n")),
    );
    let data = format!("--data={}", dir.path().join("data").display());
    let servers = Servers::start(dir.path(), &[&data, "--replicas=2"]);
    servers.until("/healthcheck", |status, _| status == 200);
    let (status, _) = servers
        .ask(&format!("/index?path={}", tree.path().display()))
        .unwrap();
    assert_eq!(status, 200);
    servers.until("/isIndexed", |status, _| status == 200);
    let expected = oracle(tree.path(), b"needle");
    let log = servers.stop();
    for name in ["[node-1]", "[node-2]", "[node-3]", "[master]"] {
        assert!(log.contains(name), "{log}");
    }
    // The text is gone, and the answers are not.
    fs::remove_dir_all(tree.path()).unwrap();
    let servers = Servers::start(dir.path(), &[&data, "--replicas=2"]);
    let found = servers.until("/?q=needle", |status, json| {
        status == 200 && json.get("partial").is_none()
    });
    assert_eq!(results(&found), expected);
    servers.stop();
}

#[test]
fn without_a_data_folder_no_text_is_left_behind() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tree(tree.path(), [("file", "needle\n")]);
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_level3"));
    let mut node = command
        .args([
            "--id",
            "1",
            "--listen",
            &format!("unix:{}", dir.path().join("n").display()),
        ])
        .env("TMPDIR", &temporary)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(node.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("listens"), "{line}");
    // Nothing lies where other users can write but the folder of this one.
    let own: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert_eq!(own.len(), 1);
    let own = own[0].as_ref().unwrap().path();
    // The node's folder, and the lock for making one.
    assert_eq!(fs::read_dir(&own).unwrap().count(), 2);
    kill_process(Pid::from_child(&node), Signal::TERM).unwrap();
    assert!(node.wait().unwrap().success());
    assert_eq!(fs::read_dir(&own).unwrap().count(), 1);
}

/// Kills a server at some moment after `/index`, again and again; the others and its successor
/// must bring the index to its end by themselves.
#[test]
fn sigkill_while_indexing_is_recovered_from() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = format!("--data={}", dir.path().join("data").display());
    // The master must come back where the test looks for it.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = "a line with some text\n".repeat(20_000);
    let nodes = Servers::start_at(dir.path(), &port.to_string(), &[&data]);
    nodes.until("/healthcheck", |status, _| status == 200);
    for (round, victim) in ["--id 2", "--master", "--id 1", "--master", "--id 3"]
        .iter()
        .enumerate()
    {
        for file in 0..24 {
            let line = format!("needle {round} {file}\n");
            fs::write(
                tree.path().join(format!("file-{file}")),
                text.clone() + &line,
            )
            .unwrap();
        }
        nodes.until(
            &format!("/index?path={}", tree.path().display()),
            |status, _| status == 200,
        );
        // Not all rounds at the same moment.
        for _ in 0..round {
            nodes.ask("/status");
        }
        kill_process(nodes.server(victim).unwrap(), Signal::KILL).unwrap();
        let found = nodes.until(&format!("/?q=needle+{round}"), |status, json| {
            status == 200 && json.get("partial").is_none() && results(json).len() == 24
        });
        assert_eq!(
            results(&found),
            oracle(tree.path(), format!("needle {round}").as_bytes())
        );
        nodes.until("/isIndexed", |status, _| status == 200);
    }
    nodes.stop();
}

/// Peak resident memory of a process, in bytes.
fn peak_memory(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().strip_suffix("kB").unwrap().trim();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// One of these used to take more than a gigabyte of each node.
#[test]
fn twenty_heavy_requests_at_once_stay_within_the_memory_of_a_server() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let line = "some line of text with an e and others, as long as lines of text may well be\n";
    for at in 0..90 {
        fs::write(tree.path().join(format!("file-{at}")), line.repeat(5_000)).unwrap();
    }
    // This is about memory: on a busy machine the time of a search would be over.
    let patient = ["--search-time-limit=600", "--node-timeout=600"];
    let servers = Servers::start(dir.path(), &patient);
    servers.until("/healthcheck", |status, _| status == 200);
    servers
        .ask(&format!("/index?path={}", tree.path().display()))
        .unwrap();
    servers.until("/isIndexed", |status, _| status == 200);
    let requests = [
        "/search?q=e&limit=10000&offset=100000&context=20",
        "/search?q=e&limit=10000&context=20",
        "/search?q=e.*s&regex=true&limit=10000&offset=90000",
        "/search?q=%5cw{1,40}%5cs&regex=true&limit=10000&context=20",
        "/search?q=e&sort=best&limit=10000&context=20",
    ];
    std::thread::scope(|scope| {
        for at in 0..20 {
            let (servers, target) = (&servers, requests[at % requests.len()]);
            scope.spawn(move || {
                let (status, json) = servers.ask(target).unwrap();
                assert_eq!(status, 200, "{target}: {}", json["error"]);
                assert!(!json["results"].as_array().unwrap().is_empty(), "{target}");
                assert_eq!(json["more"], true, "{target}");
                assert!(
                    json["missing"].as_array().is_none_or(Vec::is_empty),
                    "{target}: {}",
                    json["missing"]
                );
            });
        }
    });
    for flag in ["--master", "--id 1", "--id 2", "--id 3"] {
        let peak = peak_memory(servers.server(flag).unwrap());
        assert!(peak < 500_000_000, "{flag}: {peak} bytes");
    }
    servers.stop();
}

/// A file-size limit stands for a full disk: writing fails in the middle, on the real program.
#[test]
fn a_full_disk_leaves_the_old_state_and_no_rubbish() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tree(tree.path(), [("file", "needle\n")]);
    let data = dir.path().join("data");
    let address = format!("unix:{}", dir.path().join("n").display());
    let node = |limit: &str| {
        let program = env!("CARGO_BIN_EXE_level3");
        let data = data.display();
        let command =
            format!("ulimit -f {limit}; exec {program} --id 1 --listen={address} --data={data}");
        Command::new("sh").args(["-c", &command]).spawn().unwrap()
    };
    // Blocks of 512 or 1,024 bytes: 200 to 400 kB a file.
    let mut child = node("400");
    let mut config = level3::Config::new(vec![address.parse().unwrap()]);
    config.data = None;
    let master = crate::common::Master::start(config);
    master.until("/healthcheck", |status, _| status == 200);
    master.index(tree.path());
    let files = || fs::read_dir(data.join("node-1/shard-1")).unwrap().count();
    let before = files();
    // Different numbers, so that the index takes room as well.
    let numbers = (0..200_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_string() + " ");
    let text: String = numbers.collect();
    for at in 0..3 {
        fs::write(tree.path().join(format!("large-{at}")), &text[at..900_000]).unwrap();
    }
    master.json(&format!("/index?path={}", tree.path().display()));
    let failed = master.until("/isIndexed", |_, json| {
        json["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("indexing failed"))
    });
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains(data.to_str().unwrap()), "{error}");
    assert_eq!(master.find(b"needle"), ["file:1"]);
    assert_eq!(files(), before);
    let (_, json) = master.json("/search?q=needle");
    assert!(
        json["stale"].as_str().unwrap().contains("indexing failed"),
        "{json}"
    );
    // With room again, all is well without anybody's help but the question.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    let mut child = node("unlimited");
    master.until("/healthcheck", |status, _| status == 200);
    master.index(tree.path());
    assert_eq!(master.find(b"needle"), ["file:1"]);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
}

/// A connection that is kept, and asks one thing after the other.
struct Kept(std::net::TcpStream);

impl Kept {
    fn open(address: SocketAddr) -> Self {
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn ask(&mut self, target: &str) {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(head.as_bytes()).unwrap();
    }

    /// What there is of an answer, when there is some.
    fn answer(&mut self) -> String {
        let mut bytes = vec![0; 64 << 10];
        let read = self.0.read(&mut bytes).unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    }

    fn has_answer(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let there = self.0.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
        self.0.set_nonblocking(false).unwrap();
        there
    }
}

/// Every query that waits for a node holds two of the master's descriptors.
#[test]
fn a_master_that_may_open_no_more_files_says_so_and_loses_nothing() {
    const CLIENTS: usize = 30;
    let tree = tempfile::tempdir().unwrap();
    write_tree(tree.path(), [("file", "needle\n")]);
    let mut cluster = crate::common::Cluster::start(1, |_| {});
    let level3::Endpoint::Tcp(node) = cluster.config.nodes[0].clone() else {
        unreachable!()
    };
    // Room for all clients, but not for as many connections to the node.
    let command = format!(
        "ulimit -n 64; exec {} --master --nodes={node} --listen=127.0.0.1:0 --node-timeout=3600",
        env!("CARGO_BIN_EXE_level3")
    );
    let mut child = Command::new("sh")
        .args(["-c", &command])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let address = line
        .trim()
        .strip_prefix("master listens at http://")
        .unwrap();
    let address: SocketAddr = address.parse().unwrap();
    // Whatever else it says is read, so that it never waits for that.
    let log = std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()).unwrap());
    let path = tree.path().display();
    assert_eq!(get(address, &format!("/index?path={path}"), "*/*").0, 200);
    let deadline = Instant::now() + PATIENCE;
    while get(address, "/isIndexed", "*/*").0 != 200 {
        assert!(Instant::now() < deadline, "not indexed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut clients: Vec<Kept> = (0..CLIENTS).map(|_| Kept::open(address)).collect();
    for client in &mut clients {
        client.ask("/roots");
        assert!(client.answer().starts_with("HTTP/1.1 200"));
    }
    // A node that takes connections and says nothing.
    cluster.stop_node(1);
    let mute = std::net::TcpListener::bind(&node).unwrap();
    for client in &mut clients {
        client.ask("/?q=needle");
    }
    let deadline = Instant::now() + PATIENCE;
    let told = loop {
        if let Some(client) = clients.iter_mut().find(|client| client.has_answer()) {
            break client.answer();
        }
        assert!(Instant::now() < deadline, "nobody is told");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert!(told.contains(r#""success":false"#), "{told}");
    assert!(told.contains("may open no more files"), "{told}");
    // One more client waits, and is answered when others have gone.
    let mut late = Kept::open(address);
    late.ask("/roots");
    drop(clients);
    assert!(late.answer().starts_with("HTTP/1.1 200"));
    drop(mute);
    cluster.start_node(1);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(address, "/?q=needle", "*/*");
        if status == 200 {
            let json = serde_json::from_slice(&body).unwrap();
            assert_eq!(results(&json), ["file:1"]);
            break;
        }
        assert!(Instant::now() < deadline, "still {status}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    log.join().unwrap();
}

/// An answer over a unix socket: all of it, from the status on.
fn over_unix(socket: &Path, head: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_master_listens_at_a_unix_socket_for_programs_on_this_host() {
    let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_tree(tree.path(), [("file", "needle\n")]);
    let cluster = crate::common::Cluster::start(1, |_| {});
    let socket = dir.path().join("master");
    let start = || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_level3"))
            .arg("--master")
            .arg(format!("--nodes={}", cluster.config.nodes[0]))
            .arg(format!("--listen=unix:{}", socket.display()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        log.read_line(&mut line).unwrap();
        let expected = format!("master listens at unix:{}\n", socket.display());
        assert_eq!(line, expected);
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()).unwrap());
        child
    };
    let mut child = start();
    let path = tree.path().display();
    let get = |target: &str, headers: &str| {
        let head = format!("GET {target} HTTP/1.0\r\nHost: localhost{headers}");
        over_unix(&socket, &head)
    };
    // A peer here is one of this host, but a web page's request is one of a web page.
    let index = format!("/index?path={path}");
    let browser = get(&index, "\r\nReferer: http://localhost/");
    assert!(browser.starts_with("HTTP/1.0 403"), "{browser}");
    let rebound = over_unix(&socket, "GET /status HTTP/1.0\r\nHost: evil.example");
    assert!(rebound.starts_with("HTTP/1.0 403"), "{rebound}");
    assert!(get(&index, "").starts_with("HTTP/1.0 200"));
    let deadline = Instant::now() + PATIENCE;
    while !get("/isIndexed", "").starts_with("HTTP/1.0 200") {
        assert!(Instant::now() < deadline, "not indexed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let found = get("/?q=needle", "");
    assert!(found.ends_with(r#""results": ["file:1"]}"#), "{found}");
    let search = || {
        let server = format!("--server=unix:{}", socket.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_level3"));
        command
            .args(["search", &server, "needle"])
            .output()
            .unwrap()
    };
    assert_eq!(String::from_utf8_lossy(&search().stdout), "file:1:needle\n");
    // What the library refuses by itself has its reason here too.
    let long = over_unix(&socket, &format!("GET /?q={} HTTP/1.1", "a".repeat(70_000)));
    assert!(long.starts_with("HTTP/1.1 414"), "{long}");
    assert!(long.contains("the request line is too long"), "{long}");
    // One that was killed leaves a file, which the next one takes the place of.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(socket.exists());
    assert_eq!(search().status.code(), Some(2));
    let mut child = start();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn wrong_flags_are_refused_in_one_line() {
    for (flags, expected) in [
        (&[][..], "nothing to run"),
        (
            &["--master", "--replicas=4"][..],
            "--replicas 4 needs that many nodes",
        ),
        (
            &["start-servers", "--replicas=4"],
            "level3: --replicas 4 needs that many nodes, not 3\n",
        ),
        (
            &["--master", "--listen=unix:/no/such/folder/socket"],
            "cannot listen at unix:/no/such/folder/socket: ",
        ),
        (&["--master", "--listen=unix:/dev/null"], "left alone"),
        (&["--id=1", "--listen=127.0.0.1:99999"], "no address"),
        (
            &["--id=1", "--listen=unix:/no/such/folder/socket"],
            "cannot listen",
        ),
        (
            &["--id=1", "--listen=127.0.0.1:0", "--data=/dev/null/x"],
            "/dev/null/x",
        ),
        (&["--id=1", "--listen=unix:/dev/null"], "left alone"),
        (&["--master", "--watch-limit=1"], "--watch"),
        (&["--id=0"], "--id"),
        (&["--master", "--id=1"], "cannot be used with"),
        (&["--nodes=a", "--master"], "`a` is no address"),
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_level3"))
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(
            !run.status.success() && said.contains(expected),
            "{flags:?}: {said}"
        );
        assert!(said.matches("Not a directory").count() < 2, "{said}");
    }
}
