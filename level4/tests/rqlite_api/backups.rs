//! Backups that a cluster makes by itself, and the first start from one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::common::{Node, eventually};
use super::status::last_upload;

/// What a store holds.
#[derive(Default)]
struct Holds {
    /// Object and digest by path.
    objects: HashMap<String, (Vec<u8>, String)>,
    /// Uploads that are under way, by name.
    uploads: HashMap<String, Upload>,
    begun: u32,
    /// Parts that came.
    parts: u32,
    /// So many of the next parts are not taken.
    ill: u32,
    /// Uploads do not come to their end.
    ends_nothing: bool,
}

struct Upload {
    path: String,
    mark: String,
    parts: BTreeMap<u32, (Vec<u8>, String)>,
}

impl Holds {
    /// What an upload asks for with these parameters; gives status, ETag and answer.
    fn upload(
        &mut self,
        (method, path, query): (&str, &str, &str),
        body: Vec<u8>,
        mark: Option<&String>,
    ) -> (u16, String, String) {
        if query == "uploads=" {
            self.begun += 1;
            let id = format!("an upload/{}", self.begun);
            let answer = format!("<R><Bucket>b</Bucket><UploadId>{id}</UploadId></R>");
            let upload = Upload {
                path: path.to_owned(),
                mark: mark.unwrap().clone(),
                parts: BTreeMap::new(),
            };
            self.uploads.insert(id, upload);
            return (200, String::new(), answer);
        }
        let (number, id) = match query.strip_prefix("partNumber=") {
            Some(rest) => rest.split_once('&').unwrap(),
            None => ("0", query),
        };
        let id = id.strip_prefix("uploadId=").unwrap();
        let id = id.replace("%20", " ").replace("%2F", "/");
        let Some(upload) = self.uploads.get_mut(&id) else {
            return (404, String::new(), "<Code>NoSuchUpload</Code>".to_owned());
        };
        assert_eq!(upload.path, path);
        match method {
            "PUT" if self.ill > 0 => {
                self.ill -= 1;
                (503, String::new(), "<Code>SlowDown</Code>".to_owned())
            }
            "PUT" => {
                let tag = format!("\"part&{number}\"");
                self.parts += 1;
                upload
                    .parts
                    .insert(number.parse().unwrap(), (body, tag.clone()));
                (200, tag, String::new())
            }
            "DELETE" => {
                self.uploads.remove(&id);
                (204, String::new(), String::new())
            }
            "POST" if self.ends_nothing => {
                let answer = "<Error><Code>InternalError</Code></Error>";
                (200, String::new(), answer.to_owned())
            }
            "POST" => {
                let parts = upload.parts.iter().map(|(number, (_, tag))| {
                    let tag = tag.replace('&', "&amp;");
                    format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
                });
                let list: String = parts.collect();
                let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
                assert_eq!(String::from_utf8(body).unwrap(), list);
                let upload = self.uploads.remove(&id).unwrap();
                let parts = upload.parts.into_values().map(|(part, _)| part);
                let whole: Vec<u8> = parts.flatten().collect();
                self.objects.insert(upload.path, (whole, upload.mark));
                (200, String::new(), "<R><ETag>x</ETag></R>".to_owned())
            }
            _ => (400, String::new(), String::new()),
        }
    }
}

/// A store that speaks as much of S3 as is needed.
struct Store {
    address: String,
    holds: Arc<Mutex<Holds>>,
}

impl Store {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let holds = Arc::default();
        let kept = Arc::clone(&holds);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // One that breaks off is tried again.
                let _ = serve(stream, &kept);
            }
        });
        Self { address, holds }
    }

    fn names(&self) -> Vec<String> {
        self.look(|holds| holds.objects.keys().cloned().collect())
    }

    fn look<T>(&self, look: impl FnOnce(&mut Holds) -> T) -> T {
        look(&mut self.holds.lock().unwrap())
    }

    /// A configuration for it; `more` are further members, and `sub` are those of its place.
    fn config_with(&self, path: &Path, more: &Json, sub: &Json) -> String {
        let mut config = json!({"version": 1, "type": "s3", "sub": {
            "region": "us-east-1", "bucket": "bucket", "path": "folder/db.gz", "access_key_id": "KEY",
            "secret_access_key": "$BACKUP_SECRET", "endpoint": format!("http://{}", self.address),
        }});
        let more = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        let sub = sub.as_object().unwrap().clone();
        config["sub"].as_object_mut().unwrap().extend(sub);
        fs::write(path, config.to_string()).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn config(&self, path: &Path, more: &Json) -> String {
        self.config_with(path, more, &json!({}))
    }
}

fn serve(stream: TcpStream, holds: &Mutex<Holds>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut head = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(": ") {
            Some((name, value)) => head.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = head
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let digest: Vec<String> = Sha256::digest(&body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let digest = digest.concat();
    let signed = head.get("authorization").is_some_and(|value| {
        value.starts_with("AWS4-HMAC-SHA256 Credential=KEY/") && value.contains("/us-east-1/s3/")
    });
    let mut holds = holds.lock().unwrap();
    let mark = head.get("x-amz-meta-level4-sha256");
    let nothing = String::new;
    let (status, tag, answer, mark) = match method.as_str() {
        _ if !signed || head["x-amz-content-sha256"] != digest => {
            (403, nothing(), Vec::new(), nothing())
        }
        _ if path.contains('?') => {
            let (path, query) = path.split_once('?').unwrap();
            let (status, tag, text) = holds.upload((&method, path, query), body, mark);
            (status, tag, text.into_bytes(), nothing())
        }
        "PUT" => {
            let mark = mark.unwrap().clone();
            holds.objects.insert(path, (body, mark));
            (200, nothing(), Vec::new(), nothing())
        }
        _ => match holds.objects.get(&path) {
            Some((object, mark)) => (200, nothing(), object.clone(), mark.clone()),
            None => (404, nothing(), Vec::new(), nothing()),
        },
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\nETag: {tag}\r\nx-amz-meta-level4-sha256: {mark}\r\n\r\n",
        answer.len()
    )?;
    if method != "HEAD" {
        stream.write_all(&answer)?;
    }
    Ok(())
}

fn uploads(node: &Node) -> (u64, u64) {
    let counters: Json = serde_json::from_str(&node.get("/debug/vars?key=uploader")).unwrap();
    let of = |name: &str| counters["uploader"][name].as_u64().unwrap();
    (of("num_uploads_ok"), of("num_uploads_skipped"))
}

#[test]
fn a_cluster_is_backed_up_into_a_store_and_another_begins_with_it() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::start();
    let config = store.config(
        &root.path().join("b"),
        &json!({"interval": "20ms", "vacuum": true}),
    );
    let flag = format!("--auto-backup={config}");
    let node = Node::start_logged(&root.path().join("0"), "127.0.0.1:0", &[&flag]);
    node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (7)");
    eventually(|| uploads(&node).0 >= 1 && store.names() == ["/bucket/folder/db.gz"]);
    // What has not changed is not sent, what has is.
    eventually(|| uploads(&node).1 >= 3);
    let before = uploads(&node).0;
    node.sql("INSERT INTO t VALUES (8)");
    eventually(|| uploads(&node).0 > before);
    let status = node.get("/status?key=auto_backups");
    assert!(status.contains("s3://bucket/folder/db.gz"), "{status}");
    assert!(status.contains("\"upload_interval\":\"20ms\""), "{status}");
    assert!(last_upload(&node) > Some(0));
    let timestamped = store.config(
        &root.path().join("t"),
        &json!({"interval": "20ms", "timestamp": true}),
    );
    let flag = format!("--auto-backup={timestamped}");
    drop(node);
    let restore = store.config(&root.path().join("r"), &json!({"timeout": "60s"}));
    let restoring = format!("--auto-restore={restore}");
    let mut other = Node::start_logged(&root.path().join("1"), "127.0.0.1:0", &[&restoring, &flag]);
    let rows = || -> Option<Json> {
        let text = other
            .request("GET", "/db/query?q=SELECT+a+FROM+t", "", b"")?
            .1;
        serde_json::from_str(&text).ok()
    };
    assert_eq!(rows().unwrap()["results"][0]["values"], json!([[7], [8]]));
    eventually(|| store.names().iter().any(|name| name.ends_with("_db.gz")));
    // Who joins gets it, too.
    let join = format!("--join={}", other.address);
    let flags = [join.as_str(), "--nonvoter", "--on-disk"];
    let third = Node::start_with(&root.path().join("2"), "127.0.0.1:0", &flags);
    assert!(third.sql("SELECT sum(a) FROM t").ends_with("\n15\n"));
    other.sql("INSERT INTO t VALUES (9)");
    assert!(third.sql("SELECT sum(a) FROM t").ends_with("\n24\n"));
    // What one began with, the other was sent.
    for (node, at_start) in [(&other, 1), (&third, 0)] {
        let counters: Json = serde_json::from_str(&node.get("/debug/vars?key=store")).unwrap();
        let store = &counters["store"];
        assert_eq!(store["num_restores_start"], at_start, "{store}");
        assert!(store["num_restores"].as_u64() >= Some(1), "{store}");
    }
    drop(third);
    other.sql("DELETE FROM t WHERE a = 7");
    other.kill();
    other.restart();
    assert!(other.sql("SELECT a FROM t").ends_with("\n8\n9\n"));
}

#[test]
fn a_large_backup_goes_in_parts_and_one_that_fails_leaves_none() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::start();
    // The first part is sent once more.
    store.look(|holds| holds.ill = 1);
    let more = json!({"interval": "20ms", "no_compress": true});
    let small = json!({"part_size": 40_000});
    let config = store.config_with(&root.path().join("b"), &more, &small);
    let flag = format!("--auto-backup={config}");
    let node = Node::start_logged(&root.path().join("0"), "127.0.0.1:0", &[&flag]);
    node.sql("CREATE TABLE t (a, b); INSERT INTO t VALUES (7, randomblob(200000))");
    eventually(|| store.look(|holds| holds.parts >= 5 && !holds.objects.is_empty()));
    // One that cannot be ended is called off.
    store.look(|holds| holds.ends_nothing = true);
    let begun = store.look(|holds| holds.begun);
    node.sql("INSERT INTO t VALUES (8, randomblob(100000))");
    eventually(|| store.look(|holds| holds.begun > begun && holds.uploads.is_empty()));
    store.look(|holds| holds.ends_nothing = false);
    let restore = store.config(&root.path().join("r"), &json!({"timeout": "60s"}));
    let restoring = format!("--auto-restore={restore}");
    eventually(|| store.look(|holds| holds.objects["/bucket/folder/db.gz"].0.len() > 300_000));
    drop(node);
    let other = Node::start_logged(&root.path().join("1"), "127.0.0.1:0", &[&restoring]);
    let sums = other.sql("SELECT sum(a), sum(length(b)) FROM t");
    assert!(sums.ends_with("\n15|300000\n"), "{sums}");
}

#[test]
fn folders_do_as_well_and_what_is_missing_is_told() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config");
    let write = |more: &str| {
        let text = format!(
            r#"{{"version": 1, "type": "file", {more}
                "sub": {{"dir": "{}", "name": "db.sqlite"}}}}"#,
            root.path().join("backups").display()
        );
        fs::write(&config, text).unwrap();
    };
    write("");
    let restoring = format!("--auto-restore={}", config.display());
    let refused = Command::new(env!("CARGO_BIN_EXE_level4"))
        .args(["-l", "127.0.0.1:0", &restoring, "-d"])
        .arg(root.path().join("none"))
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("cannot restore: there is no backup at"),
        "{said}"
    );
    write(r#""interval": "20ms", "no_compress": true,"#);
    let flag = format!("--auto-backup={}", config.display());
    let node = Node::start_logged(&root.path().join("0"), "127.0.0.1:0", &[&flag]);
    node.sql("CREATE TABLE t (a); INSERT INTO t VALUES (7)");
    let file = root.path().join("backups/db.sqlite");
    let has_row = || {
        let opened = rusqlite::Connection::open(&file).ok()?;
        opened
            .query_row("SELECT a FROM t", (), |row| row.get::<_, i64>(0))
            .ok()
    };
    eventually(|| has_row() == Some(7));
    write("");
    // The first attempt that failed founded nothing.
    let other = Node::start_logged(&root.path().join("none"), "127.0.0.1:0", &[&restoring]);
    assert!(other.sql("SELECT a FROM t").ends_with("\n7\n"));
}
