//! The rules of the chain, each a function over parsed objects, each with errors of its own.
//!
//! Nothing here does I/O or knows a clock: [`judge`](super::judge) fetches the objects and asks
//! in the order below. The first rule that a push breaks is the one that its author is told.

use thiserror::Error;

use super::{
    difficulty::Difficulty,
    ledger::{Entry, HEADER_LINES},
    object::{Commit, ObjectId, TreeEntry},
};

/// The only branch that counts.
pub const BRANCH: &str = "refs/heads/master";

/// The only file that may change.
pub const LEDGER_FILE: &str = "LEDGER.txt";

/// The objects that a coin consists of.
const COIN_OBJECTS: usize = 3;

/// The most characters of what a player wrote that a refusal repeats.
const QUOTED_MAX: usize = 80;

/// The rule that a push breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// A branch or tag other than `master`.
    #[error("only master may be pushed, not {0}")]
    WrongBranch(String),
    /// The branch was to be deleted.
    #[error("master may not be deleted")]
    Deleted,
    /// More or fewer than one ref update.
    #[error("a push updates master once; this one asks for {0} updates")]
    SeveralUpdates(usize),
    /// The pusher saw an older head: somebody was faster.
    #[error("too late: somebody was faster and master is now at {0}; fetch and mine on top of it")]
    Stale(ObjectId),
    /// The new head is a tag, a tree or a blob.
    #[error("the new head is a {0}, not a commit")]
    NotACommit(String),
    /// The commit or its tree cannot be read without doubt.
    #[error("the commit is malformed: {0}")]
    Malformed(String),
    /// The new head is an ancestor of the old one.
    #[error("master moves forward only, and this commit is already in its history")]
    Rewound,
    /// A commit with two or more parents.
    #[error("a coin has exactly one parent; this is a merge of {0}")]
    Merge(usize),
    /// A commit without a parent.
    #[error("a coin has exactly one parent; this commit has none")]
    NoParent,
    /// The old head is reached, but not by one step.
    #[error("a push moves master by exactly one commit; this one brings {0}")]
    SeveralCommits(u64),
    /// The parent is not the old head, nor descends from it.
    #[error("the parent must be the old head {head}, not {parent}")]
    WrongParent {
        /// What the commit names.
        parent: ObjectId,
        /// What it has to name.
        head: ObjectId,
    },
    /// A file beside the ledger was added, removed, changed, or got another mode.
    #[error("nothing but LEDGER.txt may change; this commit touches {0}")]
    OtherFile(String),
    /// The ledger was removed or renamed.
    #[error("LEDGER.txt is gone")]
    LedgerGone,
    /// The ledger became executable, a link or a folder.
    #[error("LEDGER.txt must keep its mode {old}; this commit makes it {new}")]
    LedgerMode {
        /// Before.
        old: String,
        /// After.
        new: String,
    },
    /// Nothing changed.
    #[error("LEDGER.txt is unchanged: the coin is nobody's")]
    Unchanged,
    /// The last byte is not a newline.
    #[error("LEDGER.txt must keep its final newline")]
    FinalNewline,
    /// One of the two first lines changed.
    #[error("the header lines of LEDGER.txt may not change")]
    Header,
    /// An entry was removed.
    #[error("an entry was removed from LEDGER.txt")]
    EntryRemoved,
    /// More than one entry changed.
    #[error("exactly one entry may change; this commit changes {0}")]
    SeveralEntries(usize),
    /// An entry that does not look like one.
    #[error("`{0}` is not an entry of the form `name: balance`")]
    MalformedEntry(String),
    /// An entry was given to another name.
    #[error("the entry of {old} may not become that of {new}")]
    Renamed {
        /// Before.
        old: String,
        /// After.
        new: String,
    },
    /// An entry changed by something else than +1.
    #[error("a coin raises an entry by 1; this commit takes {name} from {old} to {new}")]
    Amount {
        /// Whose entry.
        name: String,
        /// Before.
        old: u64,
        /// After.
        new: u64,
    },
    /// A new entry that begins with more than one coin.
    #[error("a new entry begins with 1 coin; this commit gives {name} {balance}")]
    NewEntryAmount {
        /// Whose entry.
        name: String,
        /// Its first balance.
        balance: u64,
    },
    /// A new entry that is not the last line.
    #[error("a new entry is added at the end of LEDGER.txt")]
    NewEntryPlace,
    /// A new entry for a name that has one.
    #[error("{0} already has an entry")]
    SecondEntry(String),
    /// Somebody else's entry was raised.
    #[error("you are {pusher} and may not raise the entry of {owner}")]
    NotYours {
        /// Who pushes.
        pusher: String,
        /// Whose entry it is.
        owner: String,
    },
    /// Not enough work.
    #[error("the id {id} is not less than the difficulty {difficulty}")]
    TooLarge {
        /// The commit's id.
        id: ObjectId,
        /// The old head's difficulty.
        difficulty: String,
    },
    /// A push after the end of the round.
    #[error("the round is over")]
    RoundOver,
    /// The pack holds more than a coin.
    #[error("a coin is a commit, its tree and the ledger; this push brings {0} objects")]
    SeveralObjects(usize),
    /// The pack is larger than what a coin can need, or claims to be.
    #[error("the push is too large for a coin: {0}")]
    TooMuch(String),
    /// What was sent is no push, or its pack cannot be read.
    #[error("the push cannot be read: {0}")]
    Unreadable(String),
    /// git's own check of the objects (git-fsck(1)) finds fault with them.
    #[error("git's own check refuses {check}: {message}")]
    Fsck {
        /// git's name for the check, such as `badTimezone`.
        check: String,
        /// git's words.
        message: String,
    },
}

impl Violation {
    /// The rule's short name, for counting and for programs.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::WrongBranch(_) => "branch",
            Self::Deleted => "deleted",
            Self::SeveralUpdates(_) => "several_updates",
            Self::Stale(_) => "race",
            Self::NotACommit(_) | Self::Malformed(_) => "malformed",
            Self::Rewound => "forced",
            Self::Merge(_) => "merge",
            Self::NoParent | Self::WrongParent { .. } => "parent",
            Self::SeveralCommits(_) => "several_commits",
            Self::OtherFile(_) => "other_file",
            Self::LedgerGone | Self::LedgerMode { .. } => "ledger_file",
            Self::Unchanged
            | Self::FinalNewline
            | Self::Header
            | Self::EntryRemoved
            | Self::SeveralEntries(_)
            | Self::Renamed { .. }
            | Self::NewEntryPlace
            | Self::SecondEntry(_) => "ledger",
            Self::MalformedEntry(_) => "entry",
            Self::Amount { .. } | Self::NewEntryAmount { .. } => "amount",
            Self::NotYours { .. } => "owner",
            Self::TooLarge { .. } => "difficulty",
            Self::RoundOver => "round_over",
            Self::SeveralObjects(_) | Self::TooMuch(_) => "size",
            Self::Unreadable(_) => "unreadable",
            Self::Fsck { .. } => "fsck",
        }
    }
}

/// What a push asks for one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// What the pusher takes for the old head; zero where the ref is new.
    pub old: ObjectId,
    /// The new head; zero where the ref is deleted.
    pub new: ObjectId,
    /// The full name of the ref.
    pub name: String,
}

/// The push moves `master`, alone, from where it stands.
pub fn check_updates(updates: &[RefUpdate], head: ObjectId) -> Result<&RefUpdate, Violation> {
    if let Some(other) = updates.iter().find(|update| update.name != BRANCH) {
        return Err(Violation::WrongBranch(quoted(&other.name)));
    }
    let [update] = updates else {
        return Err(Violation::SeveralUpdates(updates.len()));
    };
    if update.new == ObjectId::ZERO {
        return Err(Violation::Deleted);
    }
    if update.old != head {
        return Err(Violation::Stale(head));
    }
    Ok(update)
}

/// Where a new head stands relative to the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// It is in the old head's history.
    Behind,
    /// The old head is in its history, with this many commits that are new.
    Ahead(u64),
    /// Neither.
    Beside,
}

/// Rule 1: exactly one parent, the old head. `ancestry` is asked only to name the mistake.
pub fn check_parents<E: From<Violation>>(
    commit: &Commit,
    head: ObjectId,
    ancestry: impl FnOnce() -> Result<Ancestry, E>,
) -> Result<(), E> {
    let violation = match commit.parents.as_slice() {
        [parent] if *parent == head => return Ok(()),
        parents => match (ancestry()?, parents) {
            (Ancestry::Behind, _) => Violation::Rewound,
            (_, []) => Violation::NoParent,
            (Ancestry::Ahead(count), [_]) => Violation::SeveralCommits(count),
            (_, [parent]) => Violation::WrongParent {
                parent: *parent,
                head,
            },
            (_, several) => Violation::Merge(several.len()),
        },
    };
    Err(violation.into())
}

/// Rule 2, first half: nothing but the ledger's content changes. Returns the two ledgers' ids.
pub fn check_tree(old: &[TreeEntry], new: &[TreeEntry]) -> Result<(ObjectId, ObjectId), Violation> {
    let ledger = LEDGER_FILE.as_bytes();
    let find = |tree: &[TreeEntry]| tree.iter().find(|entry| entry.name == ledger).cloned();
    let others = |tree: &[TreeEntry]| -> Vec<TreeEntry> {
        tree.iter()
            .filter(|entry| entry.name != ledger)
            .cloned()
            .collect()
    };
    let (old_others, new_others) = (others(old), others(new));
    let only_in = |these: &[TreeEntry], those: &[TreeEntry]| {
        let found = these.iter().find(|entry| !those.contains(entry));
        found.map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
    };
    let touched = only_in(&new_others, &old_others).or_else(|| only_in(&old_others, &new_others));
    if let Some(name) = touched {
        return Err(Violation::OtherFile(quoted(&name)));
    }
    let (Some(old_ledger), Some(new_ledger)) = (find(old), find(new)) else {
        return Err(Violation::LedgerGone);
    };
    if new.len() != old.len() {
        return Err(Violation::Malformed("its tree names a file twice".into()));
    }
    let mode = |entry: &TreeEntry| String::from_utf8_lossy(&entry.mode).into_owned();
    if old_ledger.mode != new_ledger.mode {
        return Err(Violation::LedgerMode {
            old: mode(&old_ledger),
            new: mode(&new_ledger),
        });
    }
    if old_ledger.id == new_ledger.id {
        return Err(Violation::Unchanged);
    }
    Ok((old_ledger.id, new_ledger.id))
}

/// Rule 2, second half: one entry, the pusher's own, goes up by one or is added with one coin.
///
/// Returns the entry after the change. `pusher` is `None` where it is not known who pushes.
pub fn check_ledger(old: &[u8], new: &[u8], pusher: Option<&str>) -> Result<Entry, Violation> {
    let entry = changed_entry(old, new)?;
    match pusher {
        Some(pusher) if pusher != entry.name => Err(Violation::NotYours {
            pusher: pusher.to_owned(),
            owner: entry.name,
        }),
        _ => Ok(entry),
    }
}

fn changed_entry(old: &[u8], new: &[u8]) -> Result<Entry, Violation> {
    let new = new.strip_suffix(b"\n").ok_or(Violation::FinalNewline)?;
    let old = old.strip_suffix(b"\n").unwrap_or(old);
    let lines = |text| -> Vec<&[u8]> { <[u8]>::split(text, |byte| *byte == b'\n').collect() };
    let (old, new) = (lines(old), lines(new));
    if new.len() < HEADER_LINES || old[..HEADER_LINES] != new[..HEADER_LINES] {
        return Err(Violation::Header);
    }
    let pairs = old.iter().zip(&new);
    let changed: Vec<_> = pairs.filter(|(old, new)| old != new).collect();
    match (changed.as_slice(), new.get(old.len()..)) {
        (_, None) => Err(Violation::EntryRemoved),
        ([], Some([])) => Err(Violation::Unchanged),
        ([(old, new)], Some([])) => raised(old, new),
        ([], Some([line])) => added(&old, line),
        // One line more, with all of the old ones: it was put in before the end.
        (_, Some([_])) if old.iter().all(|line| new.contains(line)) => {
            Err(Violation::NewEntryPlace)
        }
        (changed, Some(more)) => Err(Violation::SeveralEntries(changed.len() + more.len())),
    }
}

fn parse_entry(line: &[u8]) -> Result<Entry, Violation> {
    Entry::parse(line)
        .ok_or_else(|| Violation::MalformedEntry(quoted(&String::from_utf8_lossy(line))))
}

/// What a player wrote, escaped, and so short that the words around it are told as well.
fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(QUOTED_MAX).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start.escape_debug().to_string()
}

fn raised(old: &[u8], new: &[u8]) -> Result<Entry, Violation> {
    let (old, new) = (parse_entry(old)?, parse_entry(new)?);
    if old.name != new.name {
        return Err(Violation::Renamed {
            old: old.name,
            new: new.name,
        });
    }
    if old.balance.checked_add(1) != Some(new.balance) {
        return Err(Violation::Amount {
            name: new.name,
            old: old.balance,
            new: new.balance,
        });
    }
    Ok(new)
}

fn added(old: &[&[u8]], line: &[u8]) -> Result<Entry, Violation> {
    let entry = parse_entry(line)?;
    let same_name = |line: &&[u8]| Entry::parse(line).is_some_and(|other| other.name == entry.name);
    if old.iter().skip(HEADER_LINES).any(same_name) {
        return Err(Violation::SecondEntry(entry.name));
    }
    if entry.balance != 1 {
        return Err(Violation::NewEntryAmount {
            name: entry.name,
            balance: entry.balance,
        });
    }
    Ok(entry)
}

/// Rule 3: the id is below the old head's difficulty.
pub fn check_work(id: ObjectId, difficulty: &Difficulty) -> Result<(), Violation> {
    if difficulty.accepts(&id) {
        return Ok(());
    }
    Err(Violation::TooLarge {
        id,
        difficulty: difficulty.to_string(),
    })
}

/// A push brings nothing but its coin: one commit, one tree, one blob.
pub const fn check_objects(count: usize) -> Result<(), Violation> {
    if count <= COIN_OBJECTS {
        Ok(())
    } else {
        Err(Violation::SeveralObjects(count))
    }
}

/// Rounds only: no coin counts from the round's end on. Both in Unix seconds.
pub const fn check_time(now: u64, end: u64) -> Result<(), Violation> {
    if now < end {
        Ok(())
    } else {
        Err(Violation::RoundOver)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level1::ledger::Ledger;

    const OLD: &str = "Private Gitcoin ledger\n====\ngdb: 25\nsiddarth: 43\n";

    fn change(new: &str) -> Result<Entry, Violation> {
        check_ledger(OLD.as_bytes(), new.as_bytes(), None)
    }

    fn with(old: &str, new: &str) -> Result<Entry, Violation> {
        assert!(OLD.contains(old));
        change(&OLD.replace(old, new))
    }

    #[test]
    fn one_coin_more_is_accepted() {
        assert_eq!(with("gdb: 25", "gdb: 26").unwrap().to_string(), "gdb: 26");
        let added = change(&format!("{OLD}evan x: 1\n")).unwrap();
        assert_eq!(added.to_string(), "evan x: 1");
        let nines = "t\n=\na: 9\n";
        assert!(check_ledger(nines.as_bytes(), b"t\n=\na: 10\n", Some("a")).is_ok());
        assert!(check_ledger(b"t\n=\n", b"t\n=\na: 1\n", Some("a")).is_ok());
    }

    #[test]
    fn every_other_change_is_named() {
        use Violation as V;
        let amount = |old, new| {
            Err(V::Amount {
                name: "gdb".into(),
                old,
                new,
            })
        };
        assert_eq!(with("25", "27"), amount(25, 27));
        assert_eq!(with("25", "24"), amount(25, 24));
        assert_eq!(with("25", "026"), Err(V::MalformedEntry("gdb: 026".into())));
        assert_eq!(
            with("25", "26\r"),
            Err(V::MalformedEntry("gdb: 26\\r".into()))
        );
        assert_eq!(
            with("gdb: 25", "gdb; 26"),
            Err(V::MalformedEntry("gdb; 26".into()))
        );
        assert_eq!(
            with("25\nsiddarth: 43", "26\nsiddarth: 44"),
            Err(V::SeveralEntries(2))
        );
        assert_eq!(with("gdb: 25\n", ""), Err(V::EntryRemoved));
        assert_eq!(with("====", "==="), Err(V::Header));
        assert_eq!(with("43\n", "44"), Err(V::FinalNewline));
        assert_eq!(change(OLD), Err(V::Unchanged));
        assert_eq!(change(""), Err(V::FinalNewline));
        assert_eq!(change("\n"), Err(V::Header));
        let renamed = Err(V::Renamed {
            old: "gdb".into(),
            new: "db".into(),
        });
        assert_eq!(with("gdb: 25", "db: 26"), renamed);
        assert_eq!(with("gdb", "evan: 1\ngdb"), Err(V::NewEntryPlace));
        assert_eq!(
            change(&format!("{OLD}gdb: 1\n")),
            Err(V::SecondEntry("gdb".into()))
        );
        assert_eq!(
            change(&format!("{OLD}a: 1\nb: 1\n")),
            Err(V::SeveralEntries(2))
        );
        assert_eq!(
            change(&format!("{OLD}\n")),
            Err(V::MalformedEntry(String::new()))
        );
        assert_eq!(
            change(&format!("{OLD}a/b: 1\n")),
            Err(V::MalformedEntry("a/b: 1".into()))
        );
        let two = Err(V::NewEntryAmount {
            name: "a".into(),
            balance: 2,
        });
        assert_eq!(change(&format!("{OLD}a: 2\n")), two);
        let both = format!("{}evan: 1\n", OLD.replace("25", "26"));
        assert_eq!(change(&both), Err(V::SeveralEntries(2)));
    }

    #[test]
    fn only_ones_own_entry_may_be_raised() {
        let new = OLD.replace("25", "26");
        let check = |pusher| check_ledger(OLD.as_bytes(), new.as_bytes(), Some(pusher));
        assert!(check("gdb").is_ok());
        assert_eq!(check("siddarth").unwrap_err().rule(), "owner");
    }

    fn entry(mode: &str, name: &str, content: &str) -> TreeEntry {
        TreeEntry {
            mode: mode.into(),
            name: name.into(),
            id: ObjectId::of("blob", content.as_bytes()),
        }
    }

    #[test]
    fn only_the_ledger_may_change_in_the_tree() {
        let old = [
            entry("100644", "LEDGER.txt", "1"),
            entry("100644", "difficulty.txt", "000001"),
        ];
        let raised = entry("100644", "LEDGER.txt", "2");
        let check = |new: &[TreeEntry]| check_tree(&old, new);
        assert_eq!(
            check(&[raised.clone(), old[1].clone()]).unwrap(),
            (old[0].id, raised.id)
        );
        let rule = |new: &[TreeEntry]| check(new).unwrap_err().rule();
        let easier = entry("100644", "difficulty.txt", "f");
        assert_eq!(rule(&[raised.clone(), easier]), "other_file");
        let executable = entry("100755", "difficulty.txt", "000001");
        assert_eq!(rule(&[raised.clone(), executable]), "other_file");
        assert_eq!(rule(std::slice::from_ref(&raised)), "other_file");
        let more = entry("100644", "x", "");
        assert_eq!(rule(&[raised.clone(), old[1].clone(), more]), "other_file");
        assert_eq!(rule(&[old[1].clone()]), "ledger_file");
        let link = entry("120000", "LEDGER.txt", "2");
        assert_eq!(rule(&[link, old[1].clone()]), "ledger_file");
        assert_eq!(rule(&[raised.clone(), raised, old[1].clone()]), "malformed");
        assert_eq!(rule(&old), "ledger");
    }

    #[test]
    fn the_parent_is_the_old_head_alone() {
        let id = |text: &str| ObjectId::of("commit", text.as_bytes());
        let rule = |parents: &[ObjectId], ancestry| {
            let commit = Commit {
                tree: id("tree"),
                parents: parents.to_vec(),
            };
            check_parents(&commit, id("head"), || Ok::<_, Violation>(ancestry))
                .map_err(|violation| violation.rule())
        };
        assert_eq!(rule(&[id("head")], Ancestry::Beside), Ok(()));
        assert_eq!(
            rule(&[id("head"), id("x")], Ancestry::Ahead(2)),
            Err("merge")
        );
        assert_eq!(
            rule(&[id("head"), id("head")], Ancestry::Ahead(1)),
            Err("merge")
        );
        assert_eq!(rule(&[], Ancestry::Beside), Err("parent"));
        assert_eq!(rule(&[id("x")], Ancestry::Beside), Err("parent"));
        assert_eq!(rule(&[id("x")], Ancestry::Ahead(2)), Err("several_commits"));
        assert_eq!(rule(&[id("x")], Ancestry::Behind), Err("forced"));
        assert_eq!(rule(&[], Ancestry::Behind), Err("forced"));
    }

    #[test]
    fn one_update_of_master_from_its_head() {
        let head = ObjectId::of("commit", b"head");
        let update = |old, new, name: &str| RefUpdate {
            old,
            new,
            name: name.into(),
        };
        let new = ObjectId::of("commit", b"new");
        let good = update(head, new, BRANCH);
        assert_eq!(check_updates(std::slice::from_ref(&good), head), Ok(&good));
        let rule = |updates: &[RefUpdate]| check_updates(updates, head).unwrap_err().rule();
        assert_eq!(rule(&[]), "several_updates");
        assert_eq!(rule(&[good.clone(), good.clone()]), "several_updates");
        assert_eq!(
            rule(&[good, update(head, new, "refs/heads/main")]),
            "branch"
        );
        assert_eq!(rule(&[update(head, ObjectId::ZERO, BRANCH)]), "deleted");
        assert_eq!(rule(&[update(ObjectId::ZERO, new, BRANCH)]), "race");
    }

    #[test]
    fn work_and_time_are_bounded_strictly() {
        let difficulty: Difficulty = "8".parse().unwrap();
        let id = |text: &str| format!("{text:0<40}").parse().unwrap();
        assert!(check_work(id("7f"), &difficulty).is_ok());
        assert_eq!(
            check_work(id("8"), &difficulty).unwrap_err().rule(),
            "difficulty"
        );
        assert_eq!(check_time(9, 10), Ok(()));
        assert_eq!(check_time(10, 10), Err(Violation::RoundOver));
    }

    /// Ledgers over few names and small balances, so that edits often meet.
    fn ledgers() -> impl Strategy<Value = Ledger> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "a b", "c"]), 0..12).prop_map(
            |raised| {
                let mut ledger = Ledger::new("t");
                for name in raised {
                    ledger.raise(name).unwrap();
                }
                ledger
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_one_coin_more(
            old in ledgers(),
            raised in prop::sample::select(vec!["a", "b", "a b", "c"]),
            edits in prop::collection::vec(
                (any::<prop::sample::Index>(), 0_usize..2, "[0-9a-c: \n]{0,3}"), 0..3),
        ) {
            let mut new = old.clone();
            new.raise(raised).unwrap();
            let mut text = new.to_string();
            for (at, removed, inserted) in &edits {
                let at = at.index(text.len());
                text.replace_range(at..at + removed, inserted);
            }
            let found = check_ledger(old.to_string().as_bytes(), text.as_bytes(), None);
            if edits.is_empty() {
                prop_assert!(found.is_ok());
            }
            if let Ok(entry) = found {
                let mut expected = old;
                expected.raise(&entry.name).unwrap();
                prop_assert_eq!(text, expected.to_string());
            }
        }
    }
}
