//! `level4 shell`, with lines from a pipe.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::single;

/// What the shell says to these lines, and whether all was done.
fn shell(folder: &Path, url: &str, lines: &str) -> (String, bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_level4"))
        .args(["shell", url])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    )
}

#[test]
fn lines_are_sql_and_commands() {
    let (folder, node) = single();
    let folder = folder.path();
    let (said, done) = shell(
        folder,
        &node.address,
        "CREATE TABLE t (a INTEGER,\n b TEXT); INSERT INTO t VALUES (1, 'x;y'), (2, NULL);\n\
         CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT 1; SELECT 2; END;\n\
         SELECT * FROM t;\n.mode csv\nSELECT b FROM t ORDER BY a\n",
    );
    assert_eq!(
        said,
        "2 rows changed\na  b\n-  ----\n1  x;y\n2  NULL\nb\r\nx;y\r\n\r\n"
    );
    assert!(done);
    let (said, done) = shell(
        folder,
        &format!("http://{}", node.address),
        ".tables\n.schema t\n.backup copy.sqlite\n.dump copy.sql\n.ready\n.leader\n.nodes\n.snapshot 0\n.reap\n.extensions\n.sysdump all\n.timer on\nSELECT 1;\n.show\n",
    );
    assert!(done, "{said}");
    for part in [
        "t\nCREATE TABLE t (a INTEGER,\n b TEXT);\nCREATE TRIGGER",
        "bytes in copy.sqlite\n",
        "[+]leader ok",
        "\"leader\": true",
        "done\n",
        "\n[]\n",
        "Run Time: 0.",
        "mode: column",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let all = std::fs::read_to_string(folder.join("all")).unwrap();
    assert!(
        all.contains("GET /debug/vars?pretty\n{") && all.ends_with("[+]db ok\n\n"),
        "{all}"
    );
    std::fs::write(folder.join("lines"), "SELECT count(*) FROM t;\n.quit\n").unwrap();
    let (said, done) = shell(
        folder,
        &node.address,
        "DROP TABLE t;\n.restore copy.sqlite\n.output rows\n.mode line\nSELECT a FROM t WHERE b IS NULL;\n.output\n.read lines\nSELECT 1;\n",
    );
    assert_eq!(said, "done\ncount(*) = 2\n");
    assert!(done);
    assert_eq!(
        std::fs::read_to_string(folder.join("rows")).unwrap(),
        "a = 2\n"
    );
    let copy = std::fs::read_to_string(folder.join("copy.sql")).unwrap();
    assert!(copy.contains("VALUES(1,'x;y');"), "{copy}");
    let mut wal = std::fs::read(folder.join("copy.sqlite")).unwrap();
    wal[18..20].copy_from_slice(&[2, 2]);
    std::fs::write(folder.join("wal.sqlite"), wal).unwrap();
    for command in [".restore wal.sqlite", ".boot wal.sqlite"] {
        let lines = format!("{command}\n{command} wal\n");
        let (said, done) = shell(folder, &node.address, &lines);
        let (refused, taken) = said.split_once('\n').unwrap();
        assert!(refused.contains("WAL mode") && taken == "done\n", "{said}");
        assert!(!done);
    }
    let (said, done) = shell(
        folder,
        &node.address,
        "SELECT * FROM nowhere;\n.mode html\n.nonsense\n.restore missing\n.read lines.none\n.exit\n",
    );
    assert!(!done);
    assert_eq!(
        said,
        "Error: no such table: nowhere\nError: usage: .mode MODE\n\
         Error: there is no command .nonsense: .help lists them\n\
         Error: missing: No such file or directory (os error 2)\n\
         Error: lines.none: No such file or directory (os error 2)\n"
    );
}
