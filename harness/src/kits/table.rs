//! The files of `harness/kits`, built in. A test compares the table with the folder.

use super::Kit;

/// The text of a kit's file.
macro_rules! kit_file {
    ($level:literal, $language:literal, $file:literal) => {
        include_str!(concat!(
            "../../kits/level",
            $level,
            "/",
            $language,
            "/",
            $file
        ))
    };
}

/// A kit of a level in a language, with its manifest and the named files.
macro_rules! kit {
    ($level:literal, $language:literal, $($file:literal),+) => {
        Kit {
            level: $level,
            language: $language,
            files: &[
                ("ctf3.toml", kit_file!($level, $language, "ctf3.toml")),
                $(($file, kit_file!($level, $language, $file))),+
            ],
        }
    };
}

/// By level; the languages that most people know first.
pub(super) const KITS: &[Kit] = &[
    kit!(0, "python", "highlight.py"),
    kit!(0, "node", "highlight.js"),
    kit!(0, "ruby", "highlight.rb"),
    kit!(0, "c", "highlight.c"),
    kit!(0, "rust", "highlight.rs"),
    kit!(0, "go", "highlight.go"),
    kit!(0, "java", "Highlight.java", "highlight"),
    kit!(1, "python", "miner.py"),
    kit!(1, "shell", "miner.sh"),
    kit!(1, "node", "miner.js"),
    kit!(1, "rust", "miner.rs"),
    kit!(1, "go", "miner.go"),
    kit!(2, "python", "shield.py"),
    kit!(2, "node", "shield.js"),
    kit!(2, "rust", "shield.rs"),
    kit!(2, "go", "shield.go"),
    kit!(3, "python", "search.py"),
    kit!(3, "node", "search.js"),
    kit!(3, "rust", "search.rs"),
    kit!(3, "go", "search.go"),
    kit!(4, "python", "node.py"),
    kit!(4, "node", "node.js"),
    kit!(4, "rust", "node.rs"),
    kit!(4, "go", "node.go"),
];
