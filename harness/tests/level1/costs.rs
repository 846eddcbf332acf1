//! What a push, a connection or the host's surroundings must not be able to do to the server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::ZlibEncoder};
use harness::level1::{
    git::{Git, Object},
    journal::{Event, Reader},
    object::ObjectId,
    pack, pkt_line,
    repository::Repository,
};
use rustix::process::{Pid, Signal, kill_process};
use sha1::{Digest, Sha1};

use crate::{
    game::example,
    support::{Chain, File, HARNESS},
};

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
        Self::start_by(Command::new("sh"), prepare, environment)
    }

    /// The same with a shell of some kind.
    fn start_by(mut command: Command, prepare: &str, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let serve = "exec \"$HARNESS\" level1 serve --listen 127.0.0.1:0 --bots 0 \
                     --difficulty ffffffff --player ada --dir \"$DIR/game\"";
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

    /// The header that says that a request is ada's.
    fn login(&self) -> String {
        let (_, rest) = self.url.split_once("//").unwrap();
        let (login, _) = rest.split_once('@').unwrap();
        format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(login))
    }

    /// A request of ada's; returns what comes until the connection ends.
    fn post(&self, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let head = format!(
            "POST /level1/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\
             Content-Length: {}\r\n\r\n",
            self.login(),
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

/// A pack of a blob and of a delta that copies it this often. With two copies the delta states that
/// it makes one.
fn delta_bomb(copies: usize) -> Vec<u8> {
    let base = Object::new("blob", b"x".repeat(20_000));
    let stated = if copies == 2 { 1 } else { copies } * base.content.len();
    let mut delta = Vec::new();
    for mut number in [base.content.len(), stated] {
        while number > 0x7f {
            delta.push(0x80 | (number & 0x7f) as u8);
            number >>= 7;
        }
        delta.push(number as u8);
    }
    for _ in 0..copies {
        // From the base's begin, with a length of two bytes.
        delta.push(0xb0);
        delta.extend((base.content.len() as u16).to_le_bytes());
    }
    let mut pack = pack::encode(std::slice::from_ref(&base));
    pack.truncate(pack.len() - 20);
    pack[11] = 2;
    // Kind 7, a delta by its base's id, and its size.
    pack.push(0xf0 | (delta.len() & 15) as u8);
    let rest = delta.len() >> 4;
    pack.extend([0x80 | (rest & 0x7f) as u8, (rest >> 7) as u8]);
    pack.extend(base.id.as_bytes());
    let mut stream = ZlibEncoder::new(&mut pack, Compression::fast());
    stream.write_all(&delta).unwrap();
    stream.finish().unwrap();
    let checksum = Sha1::digest(&pack);
    pack.extend_from_slice(&checksum);
    pack
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

    // Twenty kilobytes, copied over and over by a delta of a few hundred bytes.
    for (copies, words) in [
        (2000, "too large for a coin"),
        (2, "a delta makes more than it states"),
    ] {
        let bomb = delta_bomb(copies);
        assert!(bomb.len() < 1000 + 20 * copies);
        let answer = server.post(&push_of(&server, commit.id, &bomb));
        assert!(answer.contains(words), "{answer}");
    }

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
        [
            "size",
            "size",
            "unreadable",
            "size",
            "size",
            "unreadable",
            "unreadable"
        ]
    );
    let journal = server.dir.path().join("game/level1/gitcoin-journal.jsonl");
    assert!(std::fs::metadata(journal).unwrap().len() < 8192);
    assert!(server.mine("ada: 1"), "an honest coin does not land");
}

#[test]
fn the_hosts_environment_switches_nothing_off() {
    // The home of somebody whose settings would have every push taken.
    let prepare = "mkdir \"$DIR/home\"; export HOME=\"$DIR/home\" XDG_CONFIG_HOME=\"$DIR/home\"; \
                   printf '[core]\\n hooksPath = /dev/null\\n[receive]\\n hideRefs = !refs\\n' \
                   >\"$HOME/.gitconfig\"";
    let settings = [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_0", "/dev/null"),
        ("GIT_CONFIG_KEY_1", "receive.hideRefs"),
        ("GIT_CONFIG_VALUE_1", "refs/none"),
        (
            "GIT_CONFIG_PARAMETERS",
            "'core.hooksPath=/dev/null' 'receive.hideRefs=!refs'",
        ),
        ("GIT_DIR", "/nowhere"),
        ("GIT_OBJECT_DIRECTORY", "/nowhere"),
        ("GIT_NAMESPACE", "elsewhere"),
        ("GIT_REPLACE_REF_BASE", "refs/heads/"),
        ("GIT_TEMPLATE_DIR", "/nowhere"),
        ("GIT_DEFAULT_HASH", "sha256"),
        ("GIT_PROTOCOL_FROM_USER", "0"),
    ];
    let server = Served::start(prepare, &settings);
    assert!(!server.mine("ada: 999999"));
    assert!(server.mine("ada: 1"));
    assert_eq!(server.refusals(), ["amount"]);
}

/// A shell in which file systems can be mounted that nobody else sees; `None`, and said, where that
/// is not possible.
fn mounting_shell() -> Option<Command> {
    let shell = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh"]);
        command
    };
    let probe = shell().args(["-c", &format!("{NOEXEC} /mnt")]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(shell());
    }
    eprintln!("skipped: mounting takes root and unshare(1)");
    None
}

/// Mounts a file system from which nothing can be executed.
const NOEXEC: &str = "mount -t tmpfs -o noexec tmpfs";

/// Writes a program into a folder.
fn program(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_server_has_its_rules_where_nothing_can_be_executed() {
    let Some(shell) = mounting_shell() else {
        return;
    };
    let prepare = format!("mkdir \"$DIR/game\" && {NOEXEC} \"$DIR/game\" || exit 99");
    let server = Served::start_by(shell, &prepare, &[]);
    assert!(!server.mine("ada: 999999"));
    assert!(!server.mine("bob: 1"), "it is not ada's");
    assert!(server.mine("ada: 1"));
}

#[test]
fn games_have_their_rules_where_nothing_can_be_executed() {
    let dir = tempfile::tempdir().unwrap();
    let cheat = program(
        dir.path(),
        "cheat",
        "#!/bin/sh\ngit clone --quiet \"$1\" clone && cd clone && echo \"$2: 5\" >>LEDGER.txt && \
         git commit --quiet --all --message cheat && git push --quiet origin HEAD:master\n",
    );
    let target = dir.path().join("noexec");
    std::fs::create_dir(&target).unwrap();
    let honest = example("level1.sh");
    let script = format!(
        "{NOEXEC} \"$0\" || exit 99; TMPDIR=\"$0\" exec \"$HARNESS\" --no-history level1 --bots 0 \
         --difficulty ffffffff --time-limit 5m --solution \"$SOLUTION\" --json -"
    );
    for (solution, status, words) in [
        (&cheat, 1, "a new entry begins with 1 coin"),
        (&honest, 0, "coins"),
    ] {
        let Some(mut shell) = mounting_shell() else {
            return;
        };
        let output = shell
            .args(["-c", &script])
            .arg(&target)
            .env("HARNESS", HARNESS)
            .env("SOLUTION", solution)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn locks_that_were_left_behind_are_removed() {
    let chain = Chain::new();
    let leave = |name: &str| {
        let lock = chain.server.dir().join(name);
        std::fs::write(&lock, "").unwrap();
        lock
    };
    let locks = ["refs/heads/master", "HEAD", "packed-refs", "config"];
    for (name, player) in locks.into_iter().zip(["ada", "bob", "bob l.@b-c_d", ""]) {
        let lock = leave(&format!("{name}.lock"));
        // While the server runs, nothing of ours changes the settings.
        if !player.is_empty() {
            chain.land(player);
            assert!(!lock.exists(), "{name}");
            leave(&format!("{name}.lock"));
        }
        Repository::open(chain.server.dir()).unwrap();
        assert!(!lock.exists(), "{name}");
    }
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
fn many_large_requests_are_refused_by_their_length() {
    let server = Served::start("", &[]);
    // Sixty at once, of which nothing is sent: the announced length is too much already.
    let streams: Vec<_> = (0..60)
        .map(|number| {
            let (service, login) = match number % 2 {
                0 => ("git-upload-pack", String::new()),
                _ => ("git-receive-pack", server.login()),
            };
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let head = format!(
                "POST /level1/{service} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}\
                 Content-Length: 4990000\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for mut stream in streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
}

#[test]
fn what_is_refused_is_told_in_few_words() {
    let chain = Chain::new();
    let head = chain.head();
    let told = |output: &Output, rule: &str, words: &str| {
        chain.assert_refused(head, output, rule, words);
        assert!(output.stderr.len() < 4096, "{}", output.stderr.len());
        let lines = Reader::new(chain.server.dir()).read().unwrap();
        let Event::Refused { message, .. } = &lines.last().unwrap().event else {
            panic!("{lines:?}");
        };
        assert!(message.contains(words) && message.len() < 1024, "{message}");
    };
    let long = "x".repeat(50_000);
    let files = chain.files_with_ledger(|ledger| format!("{ledger}{long}\n"));
    let output = chain.push_master("ada", chain.commit(&[head], &files));
    told(&output, "entry", "is not an entry");
    let mut files = chain.files_with_coin("ada");
    files.push(File("100644", "x".repeat(3000), "x".into()));
    let output = chain.push_master("ada", chain.commit(&[head], &files));
    told(&output, "other_file", "nothing but LEDGER.txt may change");
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
