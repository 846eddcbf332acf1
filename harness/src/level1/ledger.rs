//! The ledger: two header lines, then `name: balance` a line.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// The number of lines before the first entry.
pub const HEADER_LINES: usize = 2;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The player.
    pub name: String,
    /// Coins, at least 1.
    pub balance: u64,
}

impl Entry {
    /// Parses a line of the form `^[\w .@-]+: [1-9]\d*$`, in ASCII.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (name, balance) = line.split_once(": ")?;
        let digits = balance.bytes().all(|byte| byte.is_ascii_digit());
        if !is_name(name) || !digits || balance.starts_with('0') {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            balance: balance.parse().ok()?,
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.balance)
    }
}

/// Whether the ledger can hold the name: `[\w .@-]+` in ASCII.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_ .@-".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// A whole ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    header: [String; HEADER_LINES],
    entries: Vec<Entry>,
}

impl Ledger {
    /// An empty ledger under a title.
    pub fn new(title: &str) -> Self {
        Self {
            header: [title.to_owned(), "=".repeat(title.len())],
            entries: Vec::new(),
        }
    }

    /// Parses `LEDGER.txt`.
    pub fn parse(content: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(content).context("LEDGER.txt is not text")?;
        let text = text
            .strip_suffix('\n')
            .context("LEDGER.txt lacks its final newline")?;
        let mut lines = text.split('\n');
        let mut header = || lines.next().context("LEDGER.txt lacks its header lines");
        let header = [header()?.to_owned(), header()?.to_owned()];
        let entries = lines
            .map(|line| {
                Entry::parse(line.as_bytes())
                    .with_context(|| format!("LEDGER.txt has a malformed line: `{line}`"))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { header, entries })
    }

    /// The entries in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A player's coins; 0 for a name that is not there.
    pub fn balance(&self, name: &str) -> u64 {
        let found = self.entries.iter().find(|entry| entry.name == name);
        found.map_or(0, |entry| entry.balance)
    }

    /// All coins together.
    pub fn total(&self) -> u64 {
        self.entries.iter().map(|entry| entry.balance).sum()
    }

    /// Gives a player one coin more.
    ///
    /// # Errors
    /// The name cannot stand in a ledger.
    pub fn raise(&mut self, name: &str) -> Result<()> {
        ensure!(is_name(name), "`{name}` cannot stand in a ledger");
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            entry.balance += 1;
        } else {
            self.entries.push(Entry {
                name: name.to_owned(),
                balance: 1,
            });
        }
        Ok(())
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.header {
            writeln!(f, "{line}")?;
        }
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: &str = "Private Gitcoin ledger\n==============\ngdb: 25\nnelhage: 45\n";

    #[test]
    fn entries_have_one_form_only() {
        for good in ["a: 1", "a b.c@d-e_F9: 120", " : 3"] {
            assert_eq!(Entry::parse(good.as_bytes()).unwrap().to_string(), good);
        }
        let bad = [
            "a: 0",
            "a: 01",
            "a:1",
            "a:  1",
            "a: 1 ",
            ": 1",
            "a: -1",
            "a: +1",
            "a: 1.0",
            "a: 1\r",
            "a/b: 1",
            "a: b: 1",
            "é: 1",
            "a: ١",
            "a: ",
            "",
            "a: 99999999999999999999999",
        ];
        for bad in bad {
            assert_eq!(Entry::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Entry::parse(b"\xff: 1"), None);
    }

    #[test]
    fn a_ledger_survives_a_round_trip_and_grows_at_the_end() {
        let mut ledger = Ledger::parse(LEDGER.as_bytes()).unwrap();
        assert_eq!(ledger.to_string(), LEDGER);
        ledger.raise("gdb").unwrap();
        ledger.raise("evan").unwrap();
        assert!(
            ledger
                .to_string()
                .ends_with("gdb: 26\nnelhage: 45\nevan: 1\n")
        );
        assert_eq!(ledger.total(), 72);
        assert_eq!(ledger.balance("jim"), 0);
        assert!(ledger.raise("a/b").is_err());
    }

    #[test]
    fn a_damaged_ledger_is_refused() {
        for bad in [
            "",
            "title\n",
            "title\n===\na: 1",
            "title\n===\n\n",
            "title\n===\nx\n",
        ] {
            assert!(Ledger::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
