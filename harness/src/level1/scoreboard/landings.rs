//! Who landed a coin on the current chain, and when: the journal, read as it grows.

use std::collections::BTreeMap;

use anyhow::Result;

use super::super::{
    journal::{Event, Reader},
    repository::Repository,
};

/// The coins of the current chain.
#[derive(Debug)]
pub struct Landings {
    journal: Reader,
    difficulty: String,
    players: BTreeMap<String, Landed>,
}

/// The coins of one player on the current chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landed {
    /// As the ledger has it.
    pub coins: u64,
    /// When they landed, in Unix milliseconds; fewer than `coins` where the journal was lost.
    pub times_ms: Vec<u64>,
}

impl Landings {
    /// The coins of a repository's chain until now.
    pub fn new(repository: &Repository) -> Result<Self> {
        let head = repository.head()?;
        let mut landings = Self {
            journal: Reader::new(repository.dir()),
            difficulty: repository.difficulty(head)?.to_string(),
            players: BTreeMap::new(),
        };
        landings.refresh()?;
        for entry in repository.ledger(head)?.entries() {
            let landed = landings.players.entry(entry.name.clone()).or_default();
            landed.coins = landed.coins.max(entry.balance);
        }
        Ok(landings)
    }

    /// Takes in what happened since.
    pub fn refresh(&mut self) -> Result<()> {
        for line in self.journal.read()? {
            match line.event {
                Event::Landed { name, balance, .. } => {
                    let landed = self.players.entry(name).or_default();
                    landed.coins = balance;
                    landed.times_ms.push(line.time_ms);
                }
                Event::Replaced { difficulty } => {
                    self.difficulty = difficulty;
                    self.players.clear();
                }
                Event::Refused { .. } => {}
            }
        }
        Ok(())
    }

    /// What a coin's id must be less than.
    pub fn difficulty(&self) -> &str {
        &self.difficulty
    }

    /// The coins of everybody who has some, by name.
    pub const fn players(&self) -> &BTreeMap<String, Landed> {
        &self.players
    }
}

impl Landed {
    /// The coins as they were at a time in Unix milliseconds.
    #[must_use]
    pub fn until(&self, time_ms: u64) -> Self {
        let kept = self.times_ms.partition_point(|&landed| landed < time_ms);
        Self {
            coins: self.coins - (self.times_ms.len() - kept) as u64,
            times_ms: self.times_ms[..kept].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level1::{journal, repository::Genesis};

    fn land(repository: &Repository, name: &str, balance: u64) {
        let landed = Event::Landed {
            name: name.into(),
            balance,
            commit: String::new(),
        };
        journal::append(repository.dir(), landed).unwrap();
    }

    #[test]
    fn a_fresh_chain_has_no_coins() {
        let dir = tempfile::tempdir().unwrap();
        let genesis = Genesis::single_player("f".parse().unwrap());
        let repository = Repository::create(&dir.path().join("level1"), &genesis).unwrap();
        land(&repository, "ada", 1);
        land(&repository, "ada", 2);
        let mut landings = Landings::new(&repository).unwrap();
        assert_eq!(landings.players()["ada"].coins, 2);
        assert_eq!(landings.players()["ada"].times_ms.len(), 2);
        let harder = Genesis::single_player("e".parse().unwrap());
        repository.replace(&harder).unwrap();
        land(&repository, "bob", 1);
        landings.refresh().unwrap();
        assert_eq!(landings.difficulty(), "e");
        assert_eq!(landings.players().keys().collect::<Vec<_>>(), ["bob"]);
    }

    #[test]
    fn coins_can_be_seen_as_they_were() {
        // The journal knows two of the three.
        let landed = Landed {
            coins: 3,
            times_ms: vec![10, 20],
        };
        assert_eq!(landed.until(30), landed);
        assert_eq!(landed.until(20).coins, 2);
        assert_eq!(landed.until(0).coins, 1);
    }
}
