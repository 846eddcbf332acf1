//! Applies the rules to a push, fetching the objects that they ask for.
//!
//! Used in two places: on every push, before anything of it is kept, and by the audit that replays
//! a chain from what is kept.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use thiserror::Error;

use super::{
    difficulty::Difficulty,
    git::{Git, Object, Objects},
    ledger::Entry,
    object::{self, Commit, ObjectId, TreeEntry},
    pack::Limits,
    rules::{self, Ancestry, Violation},
};

/// The most objects of a push that are looked at. A coin has three; more are decoded only to
/// name the mistake.
const OBJECTS_MAX: usize = 64;

/// The most bytes of a push's objects beside the ledger, inflated.
const PUSH_BYTES: usize = 64 << 10;

/// The file that ends a round; only round repositories have it.
const END_TIME_FILE: &str = "end-time.txt";

/// Why a push is not accepted.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The pusher broke a rule.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The server could not tell.
    #[error("the server cannot judge this push: {0:#}")]
    Trouble(#[from] anyhow::Error),
}

/// Who pushes, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The player's name, where it is known.
    pub pusher: Option<&'a str>,
    /// Unix seconds; `None` where a chain is replayed and its rounds are over.
    pub now: Option<u64>,
}

impl Circumstances<'_> {
    /// The same step, looked at again when it has landed: whatever the time is by then.
    #[must_use]
    pub const fn replayed(self) -> Self {
        Self { now: None, ..self }
    }
}

impl Refusal {
    /// The rule's short name, for counting and for programs.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Violation(violation) => violation.rule(),
            Self::Trouble(_) => "trouble",
        }
    }
}

/// A judge over one repository.
pub struct Judge {
    git: Git,
    objects: Objects,
}

impl Judge {
    /// A judge that reads through `git`.
    pub fn new(git: Git) -> Result<Self> {
        let objects = git.objects()?;
        Ok(Self { git, objects })
    }

    /// Takes in the objects of a push, which the repository does not have yet.
    pub fn add(&mut self, objects: &[Object]) {
        self.objects.add(objects);
    }

    /// The base of a delta in a push, if it is not larger than this many bytes.
    pub fn base(&mut self, id: ObjectId, max: usize) -> Result<Option<Object>> {
        self.objects.find_up_to(&id.to_string(), max)
    }

    /// What the objects of a push on top of `head` may cost together.
    pub fn limits(&mut self, head: ObjectId) -> Result<Limits> {
        let name = format!("{head}:{}", rules::LEDGER_FILE);
        let ledger = self.objects.read(&name, "blob")?.content.len();
        Ok(Limits {
            objects: OBJECTS_MAX,
            bytes: ledger + PUSH_BYTES,
        })
    }

    /// Judges the step from `old` to `new`.
    pub fn coin(
        &mut self,
        old: ObjectId,
        new: ObjectId,
        circumstances: Circumstances<'_>,
    ) -> Result<Entry, Refusal> {
        let object = self.objects.find(&new.to_string())?;
        let object = object.with_context(|| format!("there is no object {new}"))?;
        if object.kind != "commit" {
            return Err(Violation::NotACommit(object.kind).into());
        }
        let commit = Commit::parse(&object.content).map_err(|error| malformed(&error))?;
        rules::check_work(new, &self.difficulty(old)?)?;
        rules::check_parents(&commit, old, || {
            self.ancestry(old, new).map_err(Refusal::from)
        })?;
        let (old_tree, _) = self.tree(old)?;
        let new_tree = self.objects.read(&commit.tree.to_string(), "tree")?;
        let new_tree = object::parse_tree(&new_tree.content).map_err(|error| malformed(&error))?;
        let (old_ledger, new_ledger) = rules::check_tree(&old_tree, &new_tree)?;
        let old_ledger = self.objects.read(&old_ledger.to_string(), "blob")?;
        let new_ledger = self.objects.read(&new_ledger.to_string(), "blob")?;
        let entry = rules::check_ledger(
            &old_ledger.content,
            &new_ledger.content,
            circumstances.pusher,
        )?;
        if let (Some(now), Some(end)) = (circumstances.now, self.end_time(old)?) {
            rules::check_time(now, end)?;
        }
        Ok(entry)
    }

    /// The commit and its tree's entries.
    pub fn tree(&mut self, commit: ObjectId) -> Result<(Vec<TreeEntry>, Commit)> {
        let object = self.objects.read(&commit.to_string(), "commit")?;
        let commit = Commit::parse(&object.content)?;
        let tree = self.objects.read(&commit.tree.to_string(), "tree")?;
        Ok((object::parse_tree(&tree.content)?, commit))
    }

    /// A file at a commit, `None` if it is not there.
    pub fn file(&mut self, commit: ObjectId, name: &str) -> Result<Option<Object>> {
        self.objects.find(&format!("{commit}:{name}"))
    }

    /// The difficulty that a successor of `commit` has to meet.
    pub fn difficulty(&mut self, commit: ObjectId) -> Result<Difficulty> {
        let name = format!("{commit}:difficulty.txt");
        Difficulty::from_file(&self.objects.read(&name, "blob")?.content)
    }

    fn end_time(&mut self, commit: ObjectId) -> Result<Option<u64>> {
        let Some(object) = self.file(commit, END_TIME_FILE)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&object.content);
        let seconds = text.trim().parse();
        Ok(Some(seconds.with_context(|| {
            format!("{END_TIME_FILE} holds no Unix time")
        })?))
    }

    fn ancestry(&self, old: ObjectId, new: ObjectId) -> Result<Ancestry> {
        if self.objects.pushed(new).is_some() {
            return Ok(self.pushed_ancestry(old, new));
        }
        let count = |from: ObjectId, to: ObjectId| -> Result<u64> {
            let range = format!("{from}..{to}");
            let text = self.git.run(&["rev-list", "--count", &range])?;
            Ok(text.trim().parse()?)
        };
        Ok(match (count(old, new)?, count(new, old)?) {
            (0, _) => Ancestry::Behind,
            (ahead, 0) => Ancestry::Ahead(ahead),
            _ => Ancestry::Beside,
        })
    }

    /// The same among the commits of a push, which git does not know yet.
    fn pushed_ancestry(&self, old: ObjectId, new: ObjectId) -> Ancestry {
        let mut seen = BTreeSet::from([new]);
        let mut open = vec![new];
        let mut reached = false;
        let mut brought = 0;
        while let Some(id) = open.pop() {
            reached |= id == old;
            let commit = self.objects.pushed(id).map(|object| &object.content);
            let Some(Ok(commit)) = commit.map(|content| Commit::parse(content)) else {
                continue;
            };
            brought += 1;
            let fresh = commit
                .parents
                .into_iter()
                .filter(|parent| seen.insert(*parent));
            open.extend(fresh);
        }
        if reached {
            Ancestry::Ahead(brought)
        } else {
            Ancestry::Beside
        }
    }
}

fn malformed(error: &anyhow::Error) -> Refusal {
    Violation::Malformed(format!("{error:#}")).into()
}
