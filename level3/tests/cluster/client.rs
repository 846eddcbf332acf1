//! `level3 search` on the real binary: output, colours and statuses.

use std::process::Command;

use crate::common::{Cluster, write_tree};

/// Status, output and errors.
fn search(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String, String) {
    let server = format!("--server=http://{}", cluster.master.address);
    let output = Command::new(env!("CARGO_BIN_EXE_level3"))
        .args(["search", &server])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn output_and_statuses_are_as_ripgreps() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(
        tree.path(),
        [
            ("b/one.c", "alpha\nbeta\nint Alpha;\n"),
            ("a.h", "x\nalpha beta\n"),
            ("many", &"many\n".repeat(110_001)),
        ],
    );
    let cluster = Cluster::start(2, |_| {});
    cluster.master.index(tree.path());
    let found = |arguments: &[&str]| {
        let (status, output, errors) = search(&cluster, arguments);
        assert_eq!((status, errors.as_str()), (Some(0), ""), "{arguments:?}");
        output
    };
    assert_eq!(
        found(&["alpha"]),
        "a.h:2:alpha beta\nb/one.c:1:alpha\nb/one.c:3:int Alpha;\n"
    );
    assert_eq!(found(&["alpha", "beta"]), "a.h:2:alpha beta\n");
    assert_eq!(found(&["-e", "^b.t", "--column"]), "b/one.c:2:1:beta\n");
    assert_eq!(found(&["-l", "alpha"]), "a.h\nb/one.c\n");
    assert_eq!(found(&["file:one"]), "b/one.c\n");
    assert_eq!(found(&["-m1", "alpha"]), "a.h:2:alpha beta\n");
    assert_eq!(
        found(&["-C1", "beta", "file:*.c"]),
        "b/one.c-1-alpha\nb/one.c:2:beta\nb/one.c-3-int Alpha;\n"
    );
    let colored = found(&["--color=always", "Alpha"]);
    assert!(
        colored.contains("\x1b[1m\x1b[31mAlpha\x1b[0m;"),
        "{colored}"
    );

    assert_eq!(
        search(&cluster, &["nowhere"]),
        (Some(1), String::new(), String::new())
    );
    let (status, _, errors) = search(&cluster, &["x", "case:maybe"]);
    assert_eq!(status, Some(2));
    assert!(
        errors.ends_with("\n  x case:maybe\n    ^^^^^^^^^^\n"),
        "{errors}"
    );
    // Lines that are left out are not left out silently, unless that was asked for.
    assert_eq!(found(&["many", "-m2000"]).lines().count(), 2000);
    for arguments in [&["many"][..], &["many", "--best"]] {
        let (status, output, errors) = search(&cluster, arguments);
        let lines = output.lines().count();
        assert!((2_001..=110_000).contains(&lines), "{lines}");
        let said = format!("level3: there are more lines than the first {lines}\n");
        assert_eq!((status, errors), (Some(2), said));
    }
    let (status, output, errors) = search(&cluster, &["--server=nonsense", "x"]);
    assert_eq!((status, output.as_str()), (Some(2), ""));
    assert!(errors.contains("--server"), "{errors}");
}
