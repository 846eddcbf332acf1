//! A small tree in which everything is that the contract names: what is indexed, what is a line,
//! what is equal. The generated trees of 2014 have none of it.

use std::{fs, io, os::unix::fs::symlink, path::Path};

/// Files by path. Each holds `needle` where it must be found, and where it must not.
const FILES: &[(&str, &[u8])] = &[
    ("plain.txt", b"a needle\nnothing\nneedle needle\n"),
    ("case.txt", b"Needle\nNEEDLE\nneedlE\n"),
    ("no-newline.txt", b"first\nthe last needle"),
    ("crlf.txt", b"needle\r\nend\r\n"),
    ("empty.txt", b""),
    ("blank.txt", b"\n\n\nneedle\n\n"),
    ("deep/er/and/deeper.txt", b"needle"),
    ("a name with spaces.txt", b"a needle\there\n"),
    (
        "utf8.txt",
        "n\u{e9}edle \u{17f}traße\nneedle \u{732b}\n".as_bytes(),
    ),
    ("percent.txt", b"100%25 + 1 = \"needle\\n\"\n"),
    (".hidden.txt", b"needle\n"),
    (".hidden/inside.txt", b"needle\n"),
    ("deep/.git/config", b"needle\n"),
    ("nul.bin", b"needle\0needle\n"),
    ("latin1.txt", b"needle \xe9\n"),
    ("cut.txt", b"needle \xe7\x8c"),
];

/// The longest file that is indexed, in bytes.
const LONGEST: usize = 1 << 20;

/// What is looked for.
pub(super) const QUERIES: [&str; 14] = [
    "needle",
    "Needle",
    "NEEDLE",
    "needle needle",
    "the last needle",
    "needle\r",
    "\tneedle",
    "e\th",
    "n\u{e9}edle",
    "\u{732b}",
    "%25 + 1",
    "\"needle\\n\"",
    "n",
    "nowhere",
];

/// Writes the tree.
pub(super) fn write(root: &Path) -> io::Result<()> {
    for (path, contents) in FILES {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, contents)?;
    }
    // One as long as may be, and one that is a byte too long.
    let mut text = vec![b'.'; LONGEST];
    text[..7].copy_from_slice(b"needle\n");
    fs::write(root.join("longest.txt"), &text)?;
    text.push(b'\n');
    fs::write(root.join("too-long.txt"), &text)?;
    symlink("plain.txt", root.join("link.txt"))?;
    symlink("deep", root.join("linked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level3::oracle::Expected;

    #[test]
    fn every_slip_gives_another_answer() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let expected = Expected::search(folder.path(), &QUERIES).unwrap();
        let found = |query: &str| {
            let place = QUERIES.iter().position(|known| *known == query).unwrap();
            let hits = expected.hits[place].iter();
            let mut hits: Vec<String> = hits
                .map(|&(file, line)| format!("{}:{line}", expected.files[file as usize]))
                .collect();
            hits.sort();
            hits
        };
        assert_eq!(
            found("needle"),
            [
                "a name with spaces.txt:1",
                "blank.txt:4",
                "crlf.txt:1",
                "deep/er/and/deeper.txt:1",
                "longest.txt:1",
                "no-newline.txt:2",
                "percent.txt:1",
                "plain.txt:1",
                "plain.txt:3",
                "utf8.txt:2",
            ]
        );
        assert_eq!(found("Needle"), ["case.txt:1"]);
        assert_eq!(found("needle\r"), ["crlf.txt:1"]);
        assert_eq!(found("nowhere"), [""; 0]);
    }
}
