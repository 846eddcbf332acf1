//! Ports: TLS towards clients, a port for peers alone, members that never vote.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value as Json, json};

use super::common::{Node, eventually, request, signal};
use super::get;

/// An authority, and where the certificates that it has signed are.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    folder: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = parameters.self_signed(&key).unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("ca"), cert.pem()).unwrap();
        Self {
            issuer: rcgen::Issuer::new(parameters, key),
            folder: folder.to_owned(),
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    pub fn sign(&self, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let parameters = rcgen::CertificateParams::new(hosts).unwrap();
        let cert = parameters.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}-cert")), cert.pem()).unwrap();
        fs::write(self.path(&format!("{name}-key")), key.serialize_pem()).unwrap();
    }

    /// `GET`s by HTTPS, with a certificate of the client's if one is named.
    fn get(&self, address: &str, path: &str, own: Option<&str>) -> std::io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("ca")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let cert = CertificateDer::from_pem_file(self.path(&format!("{name}-cert")));
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}-key")));
                builder
                    .with_client_auth_cert(vec![cert.unwrap()], key.unwrap())
                    .unwrap()
            }
        };
        let host = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::new(config), host).unwrap();
        let mut stream = StreamOwned::new(tls, TcpStream::connect(address)?);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: level4\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn json_of(answer: &str) -> Json {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn clients_speak_tls_and_so_do_peers_at_the_same_port() {
    let root = tempfile::tempdir().unwrap();
    let nodes_own = Authority::new(&root.path().join("nodes"));
    let public = Authority::new(&root.path().join("public"));
    nodes_own.sign("node");
    public.sign("site");
    let mut arguments = vec![
        format!("--http-cert={}", public.path("site-cert")),
        format!("--http-key={}", public.path("site-key")),
        format!("--tls-cert={}", nodes_own.path("node-cert")),
        format!("--tls-key={}", nodes_own.path("node-key")),
        format!("--tls-ca={}", nodes_own.path("ca")),
    ];
    let start = |name: &str, arguments: &[String]| {
        let more: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Node::start_logged(&root.path().join(name), "127.0.0.1:0", &more)
    };
    let founder = start("0", &arguments);
    arguments.push(format!("--join={}", founder.address));
    let member = start("1", &arguments);
    let read = "/db/query?q=SELECT+1";
    eventually(|| {
        let nodes = public.get(&member.address, "/nodes", None).unwrap();
        nodes.matches("\"voter\":true").count() == 2
    });
    let answer = public.get(&member.address, read, None).unwrap();
    assert_eq!(json_of(&answer)["results"][0]["values"], json!([[1]]));
    let nodes = json_of(&public.get(&member.address, "/nodes?ver=2", None).unwrap());
    let urls: Vec<&str> = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["api_addr"].as_str().unwrap())
        .collect();
    assert!(
        urls.contains(&format!("https://{}", founder.address).as_str()),
        "{urls:?}"
    );
    let status = json_of(
        &public
            .get(&member.address, "/status?key=http.tls", None)
            .unwrap(),
    );
    assert_eq!(status["enabled"], "true");
    // Not in the clear, not by who checks for another authority.
    let (status, told) = request(&member.address, "GET", read, "", b"").unwrap();
    assert_eq!(
        (status, told.as_str()),
        (400, "this node speaks HTTPS, no HTTP")
    );
    assert!(nodes_own.get(&member.address, read, None).is_err());
    // Another certificate, by another authority, is taken without a stop.
    let renewed = Authority::new(&root.path().join("renewed"));
    renewed.sign("site");
    for part in ["cert", "key"] {
        let name = format!("site-{part}");
        fs::copy(renewed.path(&name), public.path(&name)).unwrap();
    }
    signal(member.id(), "HUP");
    eventually(|| renewed.get(&member.address, read, None).is_ok());
    assert!(public.get(&member.address, read, None).is_err());
}

#[test]
fn clients_show_certificates_where_they_have_to() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::new(root.path());
    authority.sign("site");
    authority.sign("client");
    let [cert, key, ca] = [
        ("cert", "site-cert"),
        ("key", "site-key"),
        ("ca-cert", "ca"),
    ]
    .map(|(flag, name)| format!("--http-{flag}={}", authority.path(name)));
    let more = [cert.as_str(), &key, &ca, "--http-verify-client"];
    let node = Node::start_logged(&root.path().join("0"), "127.0.0.1:0", &more);
    let path = "/db/query?q=SELECT+1";
    let shown = authority.get(&node.address, path, Some("client")).unwrap();
    assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
    let not_shown = authority.get(&node.address, path, None);
    assert!(not_shown.is_err(), "{not_shown:?}");
}

#[test]
fn peers_have_a_port_of_their_own_and_some_members_never_vote() {
    let root = tempfile::tempdir().unwrap();
    let start = |name: &str, more: &[&str]| {
        let more = [&["--peers=127.0.0.1:0"], more].concat();
        Node::start_logged(&root.path().join(name), "127.0.0.1:0", &more)
    };
    let founder = start("0", &["--node-id=first"]);
    eventually(|| founder.get("/readyz").contains("leader ok"));
    let peers_of = |node: &Node| {
        let status = get(node, "/cluster/status");
        status["address"].as_str().unwrap().to_owned()
    };
    let first = peers_of(&founder);
    assert_ne!(first, founder.address);
    // Not by the port for clients.
    let lost = start("lost", &[&format!("--join={}", founder.address)]);
    let join = format!("--join=127.0.0.1:1,{first}");
    let reader = start("1", &[&join, "--nonvoter", "--node-id=reader"]);
    let voter = start("2", &[&join, "--node-id=voter"]);
    let nodes = |path: &str| get(&founder, path);
    eventually(|| {
        let all = nodes("/nodes?nonvoters");
        all["reader"]["reachable"] == true && all["voter"]["voter"] == true
    });
    founder.sql("CREATE TABLE t (a); INSERT INTO t VALUES (7)");
    assert!(reader.sql("SELECT a FROM t").ends_with("\n7\n"));
    let all = nodes("/nodes?nonvoters");
    assert_eq!(all.as_object().unwrap().len(), 3, "{all}");
    assert_eq!(all["reader"]["voter"], false, "{all}");
    assert_eq!(
        all["first"]["api_addr"],
        format!("http://{}", founder.address)
    );
    assert_eq!(all["first"]["addr"], first);
    assert_eq!(nodes("/nodes").as_object().unwrap().len(), 2);
    assert_eq!(
        lost.get("/cluster/status")
            .matches("\"role\":\"joining\"")
            .count(),
        1
    );
    // Clients are not served where peers are.
    assert!(request(&first, "GET", "/readyz", "", b"").is_err());
    // Redirected to where clients reach the leader.
    let (status, head) = raw(&reader, "GET /db/query?redirect&q=SELECT+1 HTTP/1.1");
    assert_eq!(status, 301);
    let url = format!("location: http://{}/db/query?redirect", leader_of(&all));
    assert!(head.contains(&url), "{head} {url}");
    // It goes by the name that its operator gave it.
    let body = br#"{"id": "reader"}"#;
    let (status, told) = founder.request("DELETE", "/remove", "", body).unwrap();
    assert_eq!(status, 200, "{told}");
    eventually(|| nodes("/nodes?nonvoters").as_object().unwrap().len() == 2);
    drop(voter);
}

#[test]
fn one_that_lost_all_but_its_name_takes_its_own_place_again() {
    let root = tempfile::tempdir().unwrap();
    let start =
        |name: &str, more: &[&str]| Node::start_with(&root.path().join(name), "127.0.0.1:0", more);
    let founder = start("0", &[]);
    let join = format!("--join={}", founder.address);
    let known = || {
        get(&founder, "/nodes?nonvoters")
            .as_object()
            .unwrap()
            .clone()
    };
    let peers = || get(&founder, "/cluster/status")["peers"].clone();
    let arguments = [join.as_str(), "--node-id=r", "--nonvoter"];
    let lost = start("1", &arguments);
    eventually(|| known().contains_key("r"));
    let (before, address) = (peers(), lost.address.clone());
    drop(lost);
    let again = start("2", &arguments);
    assert_ne!(again.address, address);
    eventually(|| {
        let now = peers();
        now.as_array().unwrap().len() == 1 && now[0]["id"] != before[0]["id"]
    });
    // So there is one of its name.
    let removed = founder.request("DELETE", "/remove", "", br#"{"id": "r"}"#);
    assert_eq!(removed.unwrap().0, 200);
}

#[test]
fn who_says_nothing_keeps_nobody_out_and_clients_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    // Room for 64 clients, and for 32 that have not said what they are.
    let mut child = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_level4"))
        .args(["-l", "127.0.0.1:0", "-d"])
        .arg(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    let connect = || TcpStream::connect(&address).unwrap();
    let silent: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    eventually(|| request(&address, "GET", "/healthcheck", "", b"").is_ok());
    drop(silent);
    // Whoever has begun a request is a client.
    let mut slow = Vec::new();
    eventually(|| {
        let mut stream = connect();
        // Hung up on, where too many come at once.
        let _ = stream.write_all(b"GET /healthcheck HTTP");
        slow.push(stream);
        let asked = request(&address, "GET", "/healthcheck", "", b"");
        asked.is_ok_and(|(status, text)| status == 503 && text.starts_with("too many clients"))
    });
    assert!(slow.len() >= 64);
    drop(slow);
    eventually(|| request(&address, "GET", "/healthcheck", "", b"").is_ok_and(|one| one.0 == 200));
    let _ = child.kill();
    let _ = child.wait();
}

fn leader_of(nodes: &Json) -> String {
    let leader = nodes
        .as_object()
        .unwrap()
        .values()
        .find(|node| node["leader"] == true);
    let url = leader.unwrap()["api_addr"].as_str().unwrap();
    url.strip_prefix("http://").unwrap().to_owned()
}

/// Status and head of an answer.
pub fn raw(node: &Node, line: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&node.address).unwrap();
    write!(
        stream,
        "{line}\r\nHost: level4\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}
