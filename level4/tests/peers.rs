//! Who may talk to a node as its peer: secrets, certificates, this machine, and copies of a folder.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;

use common::{Node, eventually, signal};

const FIRST: &str = "the first secret of this cluster";
const SECOND: &str = "the second secret of this cluster";

/// A file in `root` with these lines.
fn secret(root: &Path, name: &str, lines: &[&str]) -> String {
    let path = root.join(name);
    fs::write(&path, lines.join("\n")).unwrap();
    path.to_string_lossy().into_owned()
}

/// What a node says that does not start with these arguments.
fn refusal(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_level4"))
        .arg("-d")
        .arg(root.join("refused"))
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// An address of this machine that others would use, if it has one.
fn outer_address() -> Option<String> {
    // Nothing is sent: this asks the system which address it would send from.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then(|| ip.to_string())
}

#[test]
fn only_who_knows_the_secret_gets_in_and_it_can_be_changed_without_a_stop() {
    let root = tempfile::tempdir().unwrap();
    let files: Vec<String> = (0..2)
        .map(|place| secret(root.path(), &place.to_string(), &[FIRST]))
        .collect();
    let start = |place: usize, file: Option<&str>, join: Option<&str>| {
        let file = file.map(|file| format!("--secret-file={file}"));
        let join = join.map(|through| format!("--join={through}"));
        let more: Vec<&str> = [&file, &join].into_iter().flatten().map(|s| &**s).collect();
        let folder = root.path().join(format!("node{place}"));
        Node::start_logged(&folder, "127.0.0.1:0", &more)
    };
    let founder = start(0, Some(&files[0]), None);
    let member = start(1, Some(&files[1]), Some(&founder.address));
    founder.wait_for_members(2);
    assert!(
        founder
            .log()
            .contains("prove themselves by the cluster's secret")
    );
    // Neither without a secret nor with another one.
    let other = secret(root.path(), "other", &["the secret of another cluster"]);
    let without = start(2, None, Some(&founder.address));
    let with_other = start(3, Some(&other), Some(&founder.address));
    eventually(|| without.log().contains("has a cluster secret"));
    eventually(|| {
        with_other
            .log()
            .contains("do not know the same cluster secret")
    });
    eventually(|| founder.log().matches("was refused").count() >= 1);
    // They go on asking, and that is told once.
    let refusals = |node: &Node| {
        let metrics = node.get("/metrics");
        let line = metrics
            .lines()
            .find(|line| line.starts_with("level4_peer_refusals_total"));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    eventually(|| refusals(&founder) > 20);
    assert!(
        founder.log().matches("was refused").count() < 6,
        "{}",
        founder.log()
    );
    let status = founder.get("/cluster/status");
    assert_eq!(status.matches("\"connected\":").count(), 1, "{status}");
    // The second secret comes in everywhere, and then the first one goes.
    let nodes = [&founder, &member];
    for lines in [&[FIRST, SECOND][..], &[SECOND][..]] {
        for (node, file) in nodes.iter().zip(&files) {
            fs::write(file, lines.join("\n")).unwrap();
            let before = node.log().matches("were read again").count();
            signal(node.id(), "HUP");
            eventually(|| node.log().matches("were read again").count() > before);
        }
        founder.wait_for_members(2);
        assert!(founder.sql("SELECT 1").ends_with("\n1\n"));
    }
    // One that has come to know the secret gets in.
    fs::write(&other, SECOND).unwrap();
    signal(with_other.id(), "HUP");
    founder.wait_for_members(3);
    // A file that cannot be used changes nothing.
    fs::write(&files[0], "short").unwrap();
    signal(founder.id(), "HUP");
    eventually(|| founder.log().contains("the earlier ones stay in force"));
    assert!(founder.sql("SELECT 2").ends_with("\n2\n"));
}

#[test]
fn secrets_and_certificates_that_are_none_are_refused_with_one_line() {
    let root = tempfile::tempdir().unwrap();
    let short = secret(root.path(), "short", &["hunter2"]);
    let listen = ["-l", "127.0.0.1:0"];
    for (arguments, reason) in [
        (["--secret-file", &short].as_slice(), "could be guessed"),
        (
            &["--secret-file", "/nowhere/secret"],
            "cannot read /nowhere/secret",
        ),
        (
            &[
                "--tls-cert",
                &short,
                "--tls-key",
                &short,
                "--tls-ca",
                &short,
            ],
            "there is no certificate in this file",
        ),
    ] {
        let said = refusal(root.path(), &[&listen, arguments].concat());
        assert!(said.contains(reason), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let said = refusal(
        root.path(),
        &[&listen[..], &["--tls-cert", &short]].concat(),
    );
    assert!(said.contains("--tls-key"), "{said}");
}

#[test]
fn addresses_that_lead_nowhere_have_to_be_advertised_otherwise() {
    let root = tempfile::tempdir().unwrap();
    for arguments in [
        &["-l", "0.0.0.0:0"][..],
        &["-l", "[::]:0"],
        &["-l", "127.0.0.1:0", "--advertise", "0.0.0.0:4000"],
    ] {
        let said = refusal(root.path(), arguments);
        if said.contains("cannot listen") {
            // A machine without IPv6.
            continue;
        }
        assert!(said.contains("--advertise HOST:PORT"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let folder = root.path().join("node");
    let node = Node::start_logged(&folder, "0.0.0.0:0", &["--advertise", "db1.example:4000"]);
    let port = node.address.rsplit(':').next().unwrap();
    let address = format!("127.0.0.1:{port}");
    let (_, status) = common::request(&address, "GET", "/cluster/status", "", b"").unwrap();
    assert!(
        status.contains("\"address\":\"db1.example:4000\""),
        "{status}"
    );
}

#[test]
fn strangers_from_elsewhere_need_proof_unless_told_otherwise() {
    let Some(ip) = outer_address() else {
        eprintln!("skipped: this machine has the loopback interface only");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let listen = format!("{ip}:0");
    let start =
        |name: &str, more: &[&str]| Node::start_logged(&root.path().join(name), &listen, more);
    let founder = start("0", &[]);
    assert!(
        founder.log().contains("from this machine only"),
        "{}",
        founder.log()
    );
    let join = format!("--join={}", founder.address);
    let newcomer = start("1", &[&join]);
    // Its own end refuses already; one that does not care is refused by the other.
    eventually(|| newcomer.log().contains("is not on this machine"));
    let careless = start("2", &[&join, "--insecure-peers"]);
    eventually(|| {
        careless
            .log()
            .contains("refuses this node: peers are accepted from this machine only")
    });
    eventually(|| {
        founder
            .log()
            .contains("was refused: peers are accepted from this machine only")
    });
    assert!(!founder.get("/readyz").contains("insecure"));
    drop((founder, newcomer, careless));
    let founder = start("3", &["--insecure-peers"]);
    let join = format!("--join={}", founder.address);
    let member = start("4", &[&join, "--insecure-peers"]);
    founder.wait_for_members(2);
    assert!(member.log().contains("WARNING: --insecure-peers"));
    assert!(founder.get("/readyz").contains("[!]peers insecure"));
    assert!(founder.get("/metrics").contains("level4_peers_insecure 1"));
}

#[test]
fn with_certificates_peers_speak_tls_and_others_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_string_lossy().into_owned();
    let authority = |name: &str| {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = parameters.self_signed(&key).unwrap();
        fs::write(path(&format!("{name}-ca")), cert.pem()).unwrap();
        let issuer = rcgen::Issuer::new(parameters, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let parameters = rcgen::CertificateParams::new(hosts).unwrap();
        let cert = parameters.signed_by(&key, &issuer).unwrap();
        fs::write(path(&format!("{name}-cert")), cert.pem()).unwrap();
        fs::write(path(&format!("{name}-key")), key.serialize_pem()).unwrap();
    };
    authority("ours");
    authority("theirs");
    let start = |name: &str, whose: Option<&str>, join: Option<&str>| {
        let mut more: Vec<String> = join
            .iter()
            .map(|through| format!("--join={through}"))
            .collect();
        if let Some(whose) = whose {
            for part in ["cert", "key", "ca"] {
                more.push(format!("--tls-{part}={}", path(&format!("{whose}-{part}"))));
            }
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        Node::start_logged(&root.path().join(name), "127.0.0.1:0", &more)
    };
    let founder = start("0", Some("ours"), None);
    let member = start("1", Some("ours"), Some(&founder.address));
    founder.wait_for_members(2);
    founder.sql("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(3000000))");
    assert!(
        member
            .sql("SELECT length(a) FROM t")
            .ends_with("\n3000000\n")
    );
    let foreign = start("2", Some("theirs"), Some(&founder.address));
    let plain = start("3", None, Some(&founder.address));
    eventually(|| foreign.log().contains("by TLS"));
    eventually(|| founder.log().matches("was refused, by TLS").count() >= 2);
    let status = plain.get("/cluster/status");
    assert!(status.contains("\"role\":\"joining\""), "{status}");
    let status = founder.get("/cluster/status");
    assert_eq!(status.matches("\"connected\":").count(), 1, "{status}");
}

#[test]
fn another_version_of_the_protocol_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start_logged(root.path(), "127.0.0.1:0", &[]);
    let mut stream = TcpStream::connect(&node.address).unwrap();
    // A greeting of the version before, of which only magic, version and length are looked at.
    stream.write_all(b"\0L4P\x01\x04\0\0\0abcd").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.contains("speaks version 1") && answer.contains("run the same release"),
        "{answer}"
    );
    eventually(|| node.log().contains("was refused: it speaks version 1"));
    assert_eq!(node.sql("SELECT 1"), "SequenceNumber: 0\n1\n");
}

#[test]
fn files_of_another_format_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("refused");
    let mut node = Node::start(&folder, "127.0.0.1:0", None);
    node.sql("SELECT 1");
    node.kill();
    let listen = ["-l", "127.0.0.1:0"];
    let file = folder.join("log/log-00000000000000000001");
    let whole = fs::read(&file).unwrap();
    let mut other = whole.clone();
    other[7] = 9;
    fs::write(&file, &other).unwrap();
    let said = refusal(root.path(), &listen);
    assert!(
        said.contains("log-00000000000000000001 is in format 9, and this release"),
        "{said}"
    );
    fs::write(&file, &whole).unwrap();
    let file = folder.join("node");
    let text = fs::read_to_string(&file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&file, format!("level4 node 9\n{rest}")).unwrap();
    let said = refusal(root.path(), &listen);
    assert!(
        said.contains("\"level4 node 9\"") && said.contains("start the release that wrote it"),
        "{said}"
    );
    fs::write(&file, &text).unwrap();
    let file = folder.join("log/snapshot-00000000000000000001");
    fs::write(&file, b"L4SNAP\0\x09and what that release puts there").unwrap();
    let said = refusal(root.path(), &listen);
    assert!(
        said.contains("snapshot-00000000000000000001 is in format 9"),
        "{said}"
    );
    fs::remove_file(&file).unwrap();
    node.restart();
    assert_eq!(node.sql("SELECT 2"), "SequenceNumber: 1\n2\n");
}

#[test]
fn a_copy_of_a_folder_does_not_take_its_nodes_place() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    let founder = Node::start_logged(&folder("0"), "127.0.0.1:0", &[]);
    let join = format!("--join={}", founder.address);
    let member = Node::start_logged(&folder("1"), "127.0.0.1:0", &[&join]);
    founder.wait_for_members(2);
    copy(&folder("1"), &folder("copy"));
    let copy = Node::start_logged(&folder("copy"), "127.0.0.1:0", &[&join]);
    eventually(|| {
        let told = |node: &Node| node.log().contains("does a copy of its folder run?");
        told(&founder) || told(&member) || told(&copy)
    });
    drop(copy);
    founder.wait_for_members(2);
    assert!(member.sql("SELECT 1").ends_with("\n1\n"));
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
