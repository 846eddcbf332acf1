//! The test trees of 2014, bit for bit: folders, files of dictionary words, and the words to look
//! for, all drawn from one seed with Python's generator.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::python_random::PythonRandom;

/// What names of files and folders are made of.
const NAME_LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// Length of such a name.
const NAME_LENGTH: usize = 8;
/// Most files in a folder.
const MAX_FILES: u32 = 5;
/// A draw above this makes a word a key.
const KEY_ABOVE: f64 = 0.70;
/// A draw above this puts a newline after a word.
const NEWLINE_ABOVE: f64 = 0.95;
/// A further draw above this puts a full stop after it.
const STOP_ABOVE: f64 = 0.90;

/// The generator's flags, as in 2014; 0 means the default.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Generated tree")]
pub struct Flags {
    /// Seed of the tree [default of a generated tree: 49]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<i64>,
    /// Top folders [default: 3]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub num_trees: u32,
    /// Queries [default: 50]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub num_keys: u32,
    /// Fewest words of a file [default: 500]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub min_words: u32,
    /// Most words of a file [default: 2000]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub max_words: u32,
    /// Fewest layers of a top folder [default: 2]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub min_depth: u32,
    /// Most layers of a top folder [default: 5]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub max_depth: u32,
    /// Fewest folders in a folder [default: 0]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub min_branches: u32,
    /// Most folders in a folder [default: 5]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub max_branches: u32,
    /// Accepted because original cases have it; means nothing
    #[arg(long)]
    pub print: bool,
}

/// The seed of the original cases, taken when none is named.
const DEFAULT_SEED: i64 = 49;

/// A command line that consists of the generator's flags, as in an original case.
#[derive(clap::Parser)]
#[command(no_binary_name = true)]
struct CaseLine {
    #[command(flatten)]
    flags: Flags,
}

impl Flags {
    /// Reads the flags of an original case.
    pub fn parse(flags: &[&str]) -> Result<Self> {
        match <CaseLine as clap::Parser>::try_parse_from(flags) {
            Ok(line) => Ok(line.flags),
            Err(error) => {
                // The parser's first line says what is wrong; the others are about our own usage.
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                let what = line.strip_prefix("error: ").unwrap_or(line);
                bail!("these are not the generator's flags: {what}")
            }
        }
    }

    /// The seed, or the default one.
    pub fn seed(&self) -> i64 {
        self.seed.unwrap_or(DEFAULT_SEED)
    }

    /// The flags with every default filled in.
    fn resolved(&self) -> Result<Self> {
        let or = |value, default| if value == 0 { default } else { value };
        let flags = Self {
            seed: Some(self.seed()),
            num_trees: or(self.num_trees, 3),
            num_keys: or(self.num_keys, 50),
            min_words: or(self.min_words, 500),
            max_words: or(self.max_words, 2000),
            min_depth: or(self.min_depth, 2),
            max_depth: or(self.max_depth, 5),
            min_branches: self.min_branches,
            max_branches: or(self.max_branches, 5),
            print: self.print,
        };
        for (name, low, high) in [
            ("words", flags.min_words, flags.max_words),
            ("depth", flags.min_depth, flags.max_depth),
            ("branches", flags.min_branches, flags.max_branches),
        ] {
            ensure!(
                low <= high,
                "--min-{name} {low} is more than --max-{name} {high}"
            );
        }
        Ok(flags)
    }
}

/// A generated tree and the words to look for.
#[derive(Debug, PartialEq, Eq)]
pub struct Tree {
    /// Paths relative to the root, and contents, in the order they were drawn.
    pub files: Vec<(String, Vec<u8>)>,
    /// The queries; one of them may be empty.
    pub keys: Vec<String>,
}

/// A folder whose files have no contents yet.
struct Folder {
    path: String,
    files: u32,
}

impl Tree {
    /// Draws a tree. `words` is the dictionary as it is on disk; the empty piece after its last
    /// newline is a word too, as in 2014.
    ///
    /// Errors: a minimum above its maximum, or more queries than the drawn words have keys.
    pub fn generate(flags: &Flags, words: &[u8]) -> Result<Self> {
        let flags = flags.resolved()?;
        let words: Vec<&[u8]> = words.split(|&byte| byte == b'\n').collect();
        let mut random = PythonRandom::new(flags.seed());
        let folders: Vec<Folder> = (0..flags.num_trees)
            .flat_map(|_| draw_folders(&flags, &mut random))
            .collect();
        let mut files = Vec::new();
        let mut keys: Vec<&[u8]> = Vec::new();
        for folder in &folders {
            for _ in 0..folder.files {
                let length = random.randint(flags.min_words, flags.max_words);
                let contents = draw_contents(length, &words, &mut keys, &mut random);
                // The name comes after the contents, as it did.
                files.push((
                    format!("{}/{}", folder.path, draw_name(&mut random)),
                    contents,
                ));
            }
        }
        let count = flags.num_keys as usize;
        let most = keys.len();
        ensure!(
            count <= most,
            "--num-keys {count} is more than the tree's {most} keys"
        );
        let keys = random.sample(&keys, count);
        let keys = keys
            .iter()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect();
        Ok(Self { files, keys })
    }

    /// Writes the tree below an empty folder.
    pub fn write(&self, root: &Path) -> Result<()> {
        for (path, contents) in &self.files {
            let path = root.join(path);
            let write = || {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(&path, contents)
            };
            write().with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// The folders of one top folder, layer by layer.
fn draw_folders(flags: &Flags, random: &mut PythonRandom) -> Vec<Folder> {
    let depth = random.randint(flags.min_depth, flags.max_depth);
    let path = draw_name(random);
    let mut folders = vec![Folder {
        path,
        files: random.randint(1, MAX_FILES),
    }];
    let mut layer = 0..1;
    for _ in 1..depth {
        let next = folders.len();
        for parent in layer {
            for _ in 0..random.randint(flags.min_branches, flags.max_branches) {
                let path = format!("{}/{}", folders[parent].path, draw_name(random));
                folders.push(Folder {
                    path,
                    files: random.randint(0, MAX_FILES),
                });
            }
        }
        layer = next..folders.len();
    }
    folders
}

fn draw_name(random: &mut PythonRandom) -> String {
    (0..NAME_LENGTH)
        .map(|_| char::from(*random.choice(NAME_LETTERS)))
        .collect()
}

fn draw_contents<'a>(
    length: u32,
    words: &[&'a [u8]],
    keys: &mut Vec<&'a [u8]>,
    random: &mut PythonRandom,
) -> Vec<u8> {
    let mut contents = Vec::new();
    for position in 0..length {
        if position > 0 {
            contents.push(b' ');
        }
        let word = *random.choice(words);
        contents.extend_from_slice(word);
        if random.random() > KEY_ABOVE {
            keys.push(word);
        }
        if random.random() > NEWLINE_ABOVE {
            contents.push(b'\n');
        } else if random.random() > STOP_ABOVE {
            contents.push(b'.');
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original() -> Flags {
        let (_, flags, _) = crate::level3::DEFAULT_CASE;
        Flags::parse(flags).unwrap()
    }

    #[test]
    fn the_tree_of_the_original_cases() {
        let tree = Tree::generate(&original(), level0::WORDS).unwrap();
        assert_eq!(tree.files.len(), 82);
        let bytes: usize = tree.files.iter().map(|(_, contents)| contents.len()).sum();
        assert_eq!(bytes, 1_490_938);
        assert_eq!(tree.keys.len(), 50);
    }

    #[test]
    fn zero_means_the_default() {
        let flags = Flags::parse(&["--seed", "3", "--max-words", "0", "--print"]).unwrap();
        let plain = Flags::parse(&["--seed", "3"]).unwrap();
        let words = b"ab\ncd\n";
        assert_eq!(
            Tree::generate(&flags, words).unwrap(),
            Tree::generate(&plain, words).unwrap()
        );
    }

    #[test]
    fn the_empty_piece_after_the_last_newline_is_a_word() {
        let flags = Flags::parse(&["--seed", "1", "--num-keys", "40"]).unwrap();
        let tree = Tree::generate(&flags, b"word\n").unwrap();
        assert!(tree.keys.iter().any(String::is_empty));
    }

    #[test]
    fn impossible_flags_are_refused() {
        let refused = |flags: &[&str]| {
            let flags = Flags::parse(flags).unwrap();
            Tree::generate(&flags, b"a\n").unwrap_err().to_string()
        };
        assert!(refused(&["--min-words", "9", "--max-words", "3"]).contains("--min-words 9"));
        assert!(refused(&["--num-keys", "4000000"]).contains("--num-keys"));
        assert!(Flags::parse(&["--seeed", "1"]).is_err());
    }
}
