//! What a push, a connection or the host's surroundings must not be able to do to the server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use harness::level1::{
    git::{Git, Object},
    journal::{Event, Reader},
    object::ObjectId,
    pack, pkt_line,
    repository::Repository,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Chain, File, HARNESS};

/// `harness level1 serve` for a player `ada`, in a shell in which something was done before.
struct Served {
    child: Child,
    /// Of the clone, with ada's token.
    url: String,
    stderr: BufReader<ChildStderr>,
    dir: tempfile::TempDir,
}

impl Served {
    /// `prepare` is run by the shell before; `$DIR` is the folder above the game's.
    fn start(prepare: &str, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let serve = "exec \"$HARNESS\" level1 serve --listen 127.0.0.1:0 --bots 0 \
                     --difficulty ffffffff --player ada --dir \"$DIR/game\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{prepare}\n{serve}")])
            .env("HARNESS", HARNESS)
            .env("DIR", dir.path())
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let url = stdout
            .lines()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("ada: ").map(str::to_owned));
        let Some(url) = url else {
            let said: Vec<_> = stderr.lines().map(Result::unwrap).collect();
            panic!("the server does not start: {said:?}");
        };
        Self {
            child,
            url,
            stderr,
            dir,
        }
    }

    fn address(&self) -> &str {
        let (_, rest) = self.url.split_once('@').unwrap();
        rest.split_once('/').unwrap().0
    }

    /// A request of ada's; returns what comes until the connection ends.
    fn post(&self, body: &[u8]) -> String {
        let login = self
            .url
            .split_once("//")
            .unwrap()
            .1
            .split_once('@')
            .unwrap();
        let login = BASE64_STANDARD.encode(login.0);
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let head = format!(
            "POST /level1/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Basic {login}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // A body that is refused need not be taken whole.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Clones, mines one coin for ada and pushes it, as git does; whether it landed.
    fn mine(&self, ledger_line: &str) -> bool {
        let script = "git clone --quiet \"$1\" \"$2\" && cd \"$2\" && echo \"$3\" >>LEDGER.txt && \
                      n=0 && while :; do n=$((n+1)); \
                      git -c user.name=a -c user.email=a@b commit --quiet --all --message $n && \
                      case $(git rev-parse HEAD) in f*) git reset --quiet --soft HEAD~1 ;; \
                      *) break ;; esac; done; git push --quiet origin HEAD:master";
        let clone = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &self.url]);
        command.arg(clone.path().join("clone")).arg(ledger_line);
        command
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        command.output().unwrap().status.success()
    }

    /// The rules of the pushes that were refused, in order.
    fn refusals(&self) -> Vec<String> {
        let lines = Reader::new(&self.dir.path().join("game/level1")).read();
        let rule = |event| match event {
            Event::Refused { rule, .. } => Some(rule),
            Event::Landed { .. } | Event::Replaced { .. } => None,
        };
        let lines = lines.unwrap().into_iter();
        lines.filter_map(|line| rule(line.event)).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The body of a push of this pack to `master`, from where it stands.
fn push_of(server: &Served, new: ObjectId, pack: &[u8]) -> Vec<u8> {
    let git = Git::new(&server.dir.path().join("game/level1"));
    let head = git.run(&["rev-parse", "master"]).unwrap();
    let line = format!("{} {new} refs/heads/master\0report-status", head.trim());
    let mut body = Vec::new();
    pkt_line::put(line.as_bytes(), &mut body);
    body.extend(pkt_line::FLUSH);
    body.extend(pack);
    body
}

#[test]
fn bombs_are_refused_in_little_memory() {
    // Every git that the server runs has less than 300 MB.
    let prepare = "mkdir \"$DIR/bin\"; real=$(command -v git); \
                   printf '#!/bin/sh\\nulimit -v 300000\\nexec %s \"$@\"\\n' \"$real\" >\"$DIR/bin/git\"; \
                   chmod +x \"$DIR/bin/git\"; PATH=\"$DIR/bin:$PATH\"";
    let server = Served::start(prepare, &[]);
    let zeros = Object::new("blob", vec![0; 12_000_000]);
    let commit = Object::new("commit", b"tree x\n".to_vec());
    let body = push_of(&server, commit.id, &pack::encode(&[zeros, commit.clone()]));
    assert!(body.len() < 60_000);
    let answer = server.post(&body);
    assert!(answer.contains("too large for a coin"), "{answer}");

    let many = vec![Object::new("blob", b"x".to_vec()); 500];
    let answer = server.post(&push_of(&server, commit.id, &pack::encode(&many)));
    assert!(answer.contains("500 objects"), "{answer}");

    let answer = server.post(&vec![b'x'; 5 << 20]);
    assert!(answer.is_empty() || answer.contains(" 413 "), "{answer}");
    let answer = server.post(b"no push at all");
    assert!(answer.contains(" 400 "), "{answer}");
    let answer = server.post(&push_of(&server, commit.id, b"PACK"));
    assert!(answer.contains("cannot be read"), "{answer}");

    assert_eq!(
        server.refusals(),
        ["size", "size", "size", "unreadable", "unreadable"]
    );
    assert!(server.mine("ada: 1"), "an honest coin does not land");
}

#[test]
fn the_hosts_environment_switches_nothing_off() {
    let hooks = [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_0", "/dev/null"),
        ("GIT_CONFIG_KEY_1", "receive.hideRefs"),
        ("GIT_CONFIG_VALUE_1", "refs/none"),
        ("GIT_DIR", "/nowhere"),
    ];
    let server = Served::start("", &hooks);
    assert!(!server.mine("ada: 999999"));
    assert!(server.mine("ada: 1"));
    assert_eq!(server.refusals(), ["amount"]);
}

#[test]
fn rules_hold_where_nothing_can_be_executed() {
    let probe = Command::new("unshare")
        .args([
            "--mount", "mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", "/mnt",
        ])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting takes root and unshare(1)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o noexec tmpfs \"$0\" || exit 99; \
                  TMPDIR=\"$0\" exec \"$HARNESS\" --no-history level1 --bots 0 --difficulty ffffffff --time-limit 60s \
                  --solution \"$SOLUTION\" --json -";
    let cheat = dir.path().join("cheat");
    std::fs::write(
        &cheat,
        "#!/bin/sh\ngit clone --quiet \"$1\" clone && cd clone && echo \"$2: 5\" >>LEDGER.txt && \
         git commit --quiet --all --message cheat && git push --quiet origin HEAD:master\n",
    )
    .unwrap();
    std::fs::set_permissions(&cheat, std::fs::Permissions::from_mode(0o755)).unwrap();
    let target = dir.path().join("noexec");
    std::fs::create_dir(&target).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(&target)
        .env("HARNESS", HARNESS)
        .env("SOLUTION", &cheat)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("a new entry begins with 1 coin"), "{said}");
}

#[test]
fn a_lock_that_was_left_behind_is_removed() {
    let chain = Chain::new();
    let lock = chain.server.dir().join("refs/heads/master.lock");
    std::fs::write(&lock, "").unwrap();
    chain.land("ada");
    assert!(!lock.exists());
    std::fs::write(&lock, "").unwrap();
    Repository::open(chain.server.dir()).unwrap();
    assert!(!lock.exists());
}

#[test]
fn a_head_that_somebody_else_moved_stops_the_game() {
    let mut server = Served::start("", &[]);
    assert!(server.mine("ada: 1"));
    let git = Git::new(&server.dir.path().join("game/level1"));
    git.run(&["update-ref", "refs/heads/master", "master~1"])
        .unwrap();
    let said: Vec<_> = (&mut server.stderr).lines().map(Result::unwrap).collect();
    assert_eq!(server.child.wait().unwrap().code(), Some(2));
    let last = said.last().unwrap();
    assert!(last.contains("somebody else moved it"), "{said:?}");
}

#[test]
fn half_requests_do_not_lock_others_out() {
    let server = Served::start("ulimit -n 256", &[]);
    let half: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost");
            stream
        })
        .collect();
    assert!(server.mine("ada: 1"));
    drop(half);
}

#[test]
fn a_body_that_is_cut_off_is_no_large_one() {
    let server = Served::start("", &[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head =
        "POST /level1/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort";
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains(" 413 "), "{answer}");
}

#[test]
fn what_a_fetch_may_ask_is_short() {
    let server = Served::start("", &[]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    // Nothing of the body is sent: its announced length is too much already.
    let head = "POST /level1/git-upload-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Length: 4990000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn gits_own_checks_are_named_like_rules() {
    let chain = Chain::new();
    let head = chain.head();
    let good = chain.commit(&[head], &chain.files_with_coin("ada"));
    let text = chain
        .clone
        .run(&["cat-file", "commit", &good.to_string()])
        .unwrap();
    // The time zone that one of 2014's miners wrote.
    let text = text.replace("+0000", "-7:00");
    let mut nonce = 0;
    let text = loop {
        let text = format!("{text}{nonce}\n");
        let id = ObjectId::of("commit", text.as_bytes());
        if chain.difficulty.accepts(&id) {
            break text;
        }
        nonce += 1;
    };
    let write = [
        "hash-object",
        "-t",
        "commit",
        "-w",
        "--stdin",
        "--literally",
    ];
    let id = chain.clone.run_with_input(&write, text.as_bytes()).unwrap();
    let output = chain.push_master("ada", id.trim().parse().unwrap());
    chain.assert_refused(head, &output, "fsck", "badTimezone");
}

#[test]
fn a_coin_comes_alone() {
    let chain = Chain::new();
    let head = chain.head();
    let mut files = chain.files_with_coin("ada");
    let coin = chain.commit(&[head], &files);
    files.push(File("100644", "stowaway".into(), "x".into()));
    chain.commit(&[head], &files);
    let mut objects = chain.clone.objects().unwrap();
    let ledger = objects.read(&format!("{coin}:LEDGER.txt"), "blob").unwrap();
    let tree = objects.read(&format!("{coin}^{{tree}}"), "tree").unwrap();
    let commit = objects.read(&coin.to_string(), "commit").unwrap();
    let more = Object::new("blob", b"stowaway".to_vec());
    let line = format!("{head} {coin} refs/heads/master");
    let mut body = Vec::new();
    pkt_line::put(line.as_bytes(), &mut body);
    body.extend(pkt_line::FLUSH);
    let alone = [ledger, tree, commit];
    let four = [&alone[..], &[more]].concat();
    let with = [&body[..], &pack::encode(&four)].concat();
    let answer = chain.server.receive_request(&with, "ada").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("brings 4 objects"), "{answer}");
    assert_eq!(chain.head(), head);
    let without = [&body[..], &pack::encode(&alone)].concat();
    chain.server.receive_request(&without, "ada").unwrap();
    assert_eq!(chain.head(), coin);
}

#[test]
fn nobody_pushes_to_the_folder_itself() {
    let chain = Chain::new();
    let head = chain.head();
    let coin = chain.commit(&[head], &chain.files_with_coin("ada"));
    let target: &Path = chain.server.dir();
    let mut command = chain.clone.command();
    command
        .arg("push")
        .arg(target)
        .arg(format!("{coin}:refs/heads/master"));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert_eq!(chain.head(), head);
}
