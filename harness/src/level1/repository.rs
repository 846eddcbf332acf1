//! The server's side of a chain: a bare repository, its genesis commit, and the one way by which
//! its `master` moves.
//!
//! A push is decoded and judged in memory. What passes is given to git as a pack of exactly the
//! objects that were judged, git checks them once more (git-fsck(1)), and `master` is moved from
//! the head that was judged against. Then the step is judged again from what is on disk. Pushes to
//! the folder itself are refused by git's configuration, and `master` in any other hand stops the
//! game.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    difficulty::Difficulty,
    git::{Git, Object, failed},
    journal::{self, Event},
    judge::{Circumstances, Judge, Refusal},
    ledger::{Entry, Ledger},
    nonce,
    object::{self, ObjectId},
    pack::{self, Limits, PackError},
    receive::{Push, shown},
    rules::{self, BRANCH, LEDGER_FILE, RefUpdate, Violation},
};
use crate::console;

/// No ref can be pushed to by git, a clean-up in the background would outlive the game, and a
/// chain is small.
const SETTINGS: [(&str, &str); 4] = [
    ("receive.hideRefs", "refs"),
    ("receive.autogc", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];

/// The version of the folder's layout; one that another version made is refused.
const VERSION: (&str, &str) = ("gitcoin.version", "1");

/// What git locks when it moves `master`, which `HEAD` names, or changes a setting.
const LOCKS: [&str; 4] = [
    "refs/heads/master.lock",
    "HEAD.lock",
    "packed-refs.lock",
    "config.lock",
];

/// What a chain begins with.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// The ledger's first line.
    pub title: String,
    /// What every successor has to meet.
    pub difficulty: Difficulty,
    /// The text of `README.md`.
    pub readme: String,
    /// Files beside ledger, difficulty and README: names and contents.
    pub more: Vec<(String, String)>,
}

impl Genesis {
    /// The repository of the single-player level. The nonce makes every chain a new one.
    pub fn single_player(difficulty: Difficulty) -> Self {
        let readme = format!("# Gitcoin\n\n{RULES}\nThis chain's nonce is {}.\n", nonce());
        Self {
            title: "Private Gitcoin ledger".into(),
            difficulty,
            readme,
            more: Vec::new(),
        }
    }

    /// The repository of a round that lasts from `start` for `duration`.
    pub fn round(
        number: u64,
        points: u64,
        start: SystemTime,
        duration: Duration,
        difficulty: Difficulty,
    ) -> Self {
        let seconds = start
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let readme = format!(
            "# Gitcoin, round {number}\n\n{RULES}\nThe round ends at `end-time.txt`; the player \
             with most coins wins.\nNobody could mine ahead: this round's nonce is {}.\n",
            nonce()
        );
        let file = |name: &str, value: u64| (name.to_owned(), format!("{value}\n"));
        Self {
            title: format!("Gitcoin ledger of round {number}"),
            difficulty,
            readme,
            more: vec![
                file("round.txt", number),
                file("points.txt", points),
                file("start-time.txt", seconds),
                file("end-time.txt", seconds + duration.as_secs()),
                file("duration.txt", duration.as_secs()),
            ],
        }
    }

    /// The genesis as a stream for git-fast-import(1).
    fn stream(&self) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.unwrap_or_default().as_secs();
        let message = "Open the ledger\n";
        let ledger = Ledger::new(&self.title).to_string();
        let difficulty = format!("{}\n", self.difficulty);
        let fixed = [
            (LEDGER_FILE, &ledger),
            ("README.md", &self.readme),
            ("difficulty.txt", &difficulty),
        ];
        let more = self
            .more
            .iter()
            .map(|(name, content)| (name.as_str(), content));
        let files = fixed.into_iter().chain(more).map(|(name, content)| {
            let size = content.len();
            format!("M 100644 inline {name}\ndata {size}\n{content}\n")
        });
        let files: Vec<_> = files.collect();
        format!(
            "commit {BRANCH}\ncommitter Gitcoin <gitcoin@localhost> {now} +0000\n\
             data {}\n{message}\n{}",
            message.len(),
            files.concat()
        )
    }
}

/// What the README of every chain says.
const RULES: &str = "\
A coin is a commit whose id, as 40 hex digits, is less than the text in `difficulty.txt`. It has
the head of `master` as its only parent and raises one entry of `LEDGER.txt`, yours, by 1; who has
no entry adds `name: 1` at the end. Nothing else changes. Push it before somebody else does.
";

/// A bare repository with a chain on `master`.
#[derive(Debug, Clone)]
pub struct Repository {
    git: Git,
    guard: Arc<Mutex<Guard>>,
}

/// What must be true of the folder between two pushes.
#[derive(Debug)]
struct Guard {
    /// Where we left `master`.
    head: ObjectId,
    /// The device that the folder was on when the rules were proved.
    device: u64,
    /// Why no push is taken any more.
    broken: Option<String>,
    /// Whether the round on this chain was ended, perhaps before its time.
    closed: bool,
}

/// What a push brings, before it is decoded.
#[derive(Debug, Clone, Copy)]
pub enum Brought<'a> {
    /// A pack from outside.
    Pack(&'a [u8]),
    /// Objects that were made here.
    Objects(&'a [Object]),
}

impl Repository {
    /// Creates the repository in `dir`, which must not exist or be empty.
    pub fn create(dir: &Path, genesis: &Genesis) -> Result<Self> {
        let shown = dir.display();
        fs::create_dir_all(dir).with_context(|| format!("cannot create {shown}"))?;
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot resolve {shown}"))?;
        let git = Git::new(&dir);
        git.run(&["init", "--quiet", "--bare", "--initial-branch=master"])?;
        git.run(&["config", VERSION.0, VERSION.1])?;
        Self::guarded(git, |git| import(git, genesis))
    }

    /// Opens a repository that [`create`](Self::create) made, perhaps another version of us.
    ///
    /// # Errors
    /// It is none, or its chain breaks a rule.
    pub fn open(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot find {shown}"))?;
        let git = Git::new(&dir);
        let version = git.run(&["config", VERSION.0]);
        ensure!(
            version.is_ok_and(|version| version.trim() == VERSION.1),
            "{shown} is not a gitcoin repository made by the harness"
        );
        remove_stale_locks(&git)?;
        let repository = Self::guarded(git, head_of)?;
        repository
            .audit(repository.head()?)
            .with_context(|| format!("the chain in {shown} cannot be gone on with"))?;
        Ok(repository)
    }

    /// Closes the folder to everybody else and proves that the rules hold in it.
    fn guarded(git: Git, head: impl FnOnce(&Git) -> Result<ObjectId>) -> Result<Self> {
        for (name, value) in SETTINGS {
            git.run(&["config", "--replace-all", name, value])?;
        }
        let head = head(&git)?;
        let guard = Guard {
            head,
            device: device(&git)?,
            broken: None,
            closed: false,
        };
        let repository = Self {
            git,
            guard: Arc::new(Mutex::new(guard)),
        };
        repository.prove(head)?;
        Ok(repository)
    }

    fn lock(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the chain by a fresh one: `master` then has no history in common with before.
    pub fn replace(&self, genesis: &Genesis) -> Result<ObjectId> {
        let mut guard = self.lock();
        remove_stale_locks(&self.git)?;
        guard.head = import(&self.git, genesis)?;
        guard.closed = false;
        let difficulty = genesis.difficulty.to_string();
        journal::append(self.dir(), Event::Replaced { difficulty })?;
        Ok(guard.head)
    }

    /// Takes no coin any more on this chain. A push that is being judged has landed, and is in the
    /// journal, or is refused when this returns.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Takes a push: judges it and, if it is a coin, moves `master`. Both is noted in the journal.
    ///
    /// `pusher` is who it comes from.
    ///
    /// # Errors
    /// The rule that it breaks, or why the server cannot tell; nothing has changed then.
    pub fn receive(
        &self,
        updates: &[RefUpdate],
        brought: Brought<'_>,
        pusher: &str,
    ) -> Result<Entry, Refusal> {
        let mut guard = self.lock();
        let outcome = self.judge_and_land(&mut guard, updates, brought, pusher);
        let event = match &outcome {
            Ok(entry) => Event::Landed {
                name: entry.name.clone(),
                balance: entry.balance,
                commit: guard.head.to_string(),
            },
            Err(refusal) => Event::Refused {
                pusher: Some(pusher.to_owned()),
                rule: refusal.rule().to_owned(),
                message: shown(&refusal.to_string()),
            },
        };
        journal::append(self.dir(), event)?;
        outcome
    }

    /// Takes the push in a request's body, and returns the answer's body.
    ///
    /// # Errors
    /// The body is no push; that is noted in the journal too.
    pub fn receive_request(&self, body: &[u8], pusher: &str) -> Result<Vec<u8>, Refusal> {
        let push = match Push::parse(body) {
            Ok(push) => push,
            Err(error) => {
                let violation = Violation::Unreadable(error.to_string());
                self.note_refusal(pusher, &violation)?;
                return Err(violation.into());
            }
        };
        // A client with much to send tries first whether it may.
        if push.updates.is_empty() {
            return Ok(Vec::new());
        }
        let outcome = self.receive(&push.updates, Brought::Pack(push.pack), pusher);
        Ok(push.report(&outcome.map_err(|refusal| refusal.to_string())))
    }

    /// Notes a push in the journal that was refused before it got here.
    pub fn note_refusal(&self, pusher: &str, violation: &Violation) -> Result<()> {
        journal::append(
            self.dir(),
            Event::Refused {
                pusher: Some(pusher.to_owned()),
                rule: violation.rule().to_owned(),
                message: shown(&violation.to_string()),
            },
        )
    }

    /// The most bytes of a push's request that are read: what a coin can need, not deflated.
    pub fn request_max(&self) -> Result<usize> {
        let head = self.head()?;
        Ok(Judge::new(self.git.clone())?.limits(head)?.bytes)
    }

    fn judge_and_land(
        &self,
        guard: &mut Guard,
        updates: &[RefUpdate],
        brought: Brought<'_>,
        pusher: &str,
    ) -> Result<Entry, Refusal> {
        self.check_guard(guard)?;
        if guard.closed {
            return Err(Violation::RoundOver.into());
        }
        let head = guard.head;
        let update = rules::check_updates(updates, head)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let circumstances = Circumstances {
            pusher: Some(pusher),
            now: Some(now.as_secs()),
        };
        let (entry, objects) = self.judge(head, update.new, brought, circumstances)?;
        self.keep(&objects)?;
        remove_stale_locks(&self.git)?;
        let (new, old) = (update.new.to_string(), head.to_string());
        self.git.run(&["update-ref", BRANCH, &new, &old])?;
        guard.head = update.new;
        // Once more, from what is on disk now.
        let mut judge = Judge::new(self.git.clone())?;
        match judge.coin(head, update.new, circumstances.replayed()) {
            Ok(again) if again == entry => Ok(entry),
            other => {
                let why = match other {
                    Ok(again) => format!("it was `{entry}` and is `{again}`"),
                    Err(refusal) => refusal.to_string(),
                };
                let why = format!("commit {new} landed and breaks a rule: {why}");
                guard.broken = Some(why.clone());
                Err(Refusal::Trouble(anyhow::anyhow!(why)))
            }
        }
    }

    /// Judges a step in memory; returns the entry that went up and the objects that make the coin.
    fn judge(
        &self,
        head: ObjectId,
        new: ObjectId,
        brought: Brought<'_>,
        circumstances: Circumstances<'_>,
    ) -> Result<(Entry, Vec<Object>), Refusal> {
        let mut judge = Judge::new(self.git.clone())?;
        let objects = match brought {
            Brought::Objects(objects) => objects.to_vec(),
            // git sends none where the other side has everything.
            Brought::Pack([]) => Vec::new(),
            Brought::Pack(pack) => {
                let limits = judge.limits(head)?;
                decode(pack, limits, &mut judge)?
            }
        };
        judge.add(&objects);
        let entry = judge.coin(head, new, circumstances)?;
        rules::check_objects(objects.len())?;
        Ok((entry, objects))
    }

    /// Gives objects to git, which checks them before it keeps them.
    fn keep(&self, objects: &[Object]) -> Result<(), Refusal> {
        let unpack = ["unpack-objects", "-q", "--strict"];
        let output = self.git.output(&unpack, &pack::encode(objects))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(fsck(&said).map_or_else(
            || Refusal::Trouble(anyhow::anyhow!(failed(&unpack, &output))),
            Refusal::from,
        ))
    }

    /// Looks whether the chain is where we left it, and on the device where the rules were proved.
    ///
    /// # Errors
    /// It is not: then no push is taken any more, and the game should end.
    pub fn check(&self) -> Result<()> {
        self.check_guard(&mut self.lock())
    }

    fn check_guard(&self, guard: &mut Guard) -> Result<()> {
        if guard.broken.is_none() {
            let head = self.head()?;
            if head != guard.head {
                guard.broken = Some(format!(
                    "master is at {head}, where the server left it at {}: somebody else moved it",
                    guard.head
                ));
            } else if device(&self.git)? != guard.device {
                match self.prove(head) {
                    Ok(()) => guard.device = device(&self.git)?,
                    Err(error) => guard.broken = Some(format!("{error:#}")),
                }
            }
        }
        match &guard.broken {
            Some(why) => bail!("the game is stopped: {why}"),
            None => Ok(()),
        }
    }

    /// Tries what must not be possible: coins without work and of a wrong amount, from outside and
    /// by git on the folder itself.
    fn prove(&self, head: ObjectId) -> Result<()> {
        let forged = self.forged(head)?;
        let commit = forged.last().context("a forged coin has no commit")?.id;
        let outside = pack::encode(&forged);
        let refused = self.judge(
            head,
            commit,
            Brought::Pack(&outside),
            Circumstances::default(),
        );
        ensure!(
            matches!(refused, Err(Refusal::Violation(_))),
            "a forged coin is not refused: {refused:?}"
        );
        let url = self.dir().to_string_lossy();
        let push = [
            "push",
            "--quiet",
            "--force",
            &url,
            &format!("{head}:refs/heads/forged"),
        ];
        let output = self.git.output(&push, b"")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains("hidden ref"),
            "git takes pushes to the folder itself, past the rules (or cannot be asked: {})",
            said.trim()
        );
        Ok(())
    }

    /// A coin that gives somebody 1,000,000 at once.
    fn forged(&self, head: ObjectId) -> Result<Vec<Object>> {
        let mut judge = Judge::new(self.git.clone())?;
        let (mut tree, _) = judge.tree(head)?;
        let ledger = format!("{}forged: 1000000\n", self.ledger(head)?);
        let ledger = Object::new("blob", ledger.into_bytes());
        for entry in &mut tree {
            if entry.name == LEDGER_FILE.as_bytes() {
                entry.id = ledger.id;
            }
        }
        let tree = Object::new("tree", object::write_tree(&tree));
        let person = "forged <forged@localhost> 1700000000 +0000";
        let text = format!(
            "tree {}\nparent {head}\nauthor {person}\ncommitter {person}\n\nforged\n",
            tree.id
        );
        Ok(vec![ledger, tree, Object::new("commit", text.into_bytes())])
    }

    /// The repository's folder.
    pub fn dir(&self) -> &Path {
        self.git.dir()
    }

    /// git for this repository.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Where `master` stands.
    pub fn head(&self) -> Result<ObjectId> {
        head_of(&self.git)
    }

    /// The ledger at a commit.
    pub fn ledger(&self, commit: ObjectId) -> Result<Ledger> {
        let name = format!("{commit}:{LEDGER_FILE}");
        Ledger::parse(&self.git.objects()?.read(&name, "blob")?.content)
    }

    /// The difficulty at a commit.
    pub fn difficulty(&self, commit: ObjectId) -> Result<Difficulty> {
        let name = format!("{commit}:difficulty.txt");
        Difficulty::from_file(&self.git.objects()?.read(&name, "blob")?.content)
    }

    /// Replays the whole chain that ends at `head` through the rules, and has git check every
    /// object. Returns the number of coins.
    pub fn audit(&self, head: ObjectId) -> Result<u64> {
        let fsck = [
            "fsck",
            "--full",
            "--strict",
            "--no-dangling",
            "--no-progress",
        ];
        let output = self.git.output(&fsck, b"")?;
        ensure!(output.status.success(), failed(&fsck, &output));
        let ids = self
            .git
            .run(&["rev-list", "--reverse", &head.to_string()])?;
        let ids: Vec<ObjectId> = ids.lines().map(str::parse).collect::<Result<_>>()?;
        let mut judge = Judge::new(self.git.clone())?;
        for step in ids.windows(2) {
            judge
                .coin(step[0], step[1], Circumstances::default())
                .with_context(|| format!("commit {} breaks a rule", step[1]))?;
        }
        let coins = ids.len().saturating_sub(1) as u64;
        let total = self.ledger(head)?.total();
        ensure!(
            total == coins,
            "the ledger holds {total} coins, the chain {coins}"
        );
        Ok(coins)
    }
}

fn head_of(git: &Git) -> Result<ObjectId> {
    // Asked many times a second, and a branch that moves is a file of its own.
    if let Ok(text) = fs::read_to_string(git.dir().join(BRANCH))
        && let Ok(id) = text.trim_end().parse()
    {
        return Ok(id);
    }
    git.run(&["rev-parse", BRANCH])?.trim().parse()
}

fn import(git: &Git, genesis: &Genesis) -> Result<ObjectId> {
    let import = ["fast-import", "--quiet", "--force", "--date-format=raw"];
    git.run_with_input(&import, genesis.stream().as_bytes())?;
    head_of(git)
}

fn device(git: &Git) -> Result<u64> {
    let shown = git.dir().display();
    let data = fs::metadata(git.dir()).with_context(|| format!("{shown} is gone"))?;
    Ok(data.dev())
}

/// Removes the locks that a git left behind which did not end by itself.
///
/// Call it only while no git of ours changes the repository; nobody else may.
fn remove_stale_locks(git: &Git) -> Result<()> {
    for name in LOCKS {
        let lock = git.dir().join(name);
        let shown = lock.display();
        match fs::remove_file(&lock) {
            Ok(()) => {
                console::log(&format!("level 1: {shown} was left behind; it is removed"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove the stale {shown}"));
            }
        }
    }
    Ok(())
}

fn decode(pack: &[u8], limits: Limits, judge: &mut Judge) -> Result<Vec<Object>, Refusal> {
    pack::decode(pack, limits, |id, max| judge.base(id, max)).map_err(|error| match error {
        PackError::TooManyObjects { .. } | PackError::TooLarge { .. } => {
            Violation::TooMuch(error.to_string()).into()
        }
        PackError::Malformed(_) => Violation::Unreadable(error.to_string()).into(),
        PackError::Base(error) => Refusal::Trouble(error),
    })
}

/// Finds the check that failed in what git says: `error: object ID: CHECK: MESSAGE`.
fn fsck(said: &str) -> Option<Violation> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("error: object "))?;
    let (_, finding) = line.split_once(": ")?;
    let (check, message) = finding.split_once(": ")?;
    Some(Violation::Fsck {
        check: check.to_owned(),
        message: message.to_owned(),
    })
}
