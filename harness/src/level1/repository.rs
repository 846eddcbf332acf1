//! The server's side of a chain: a bare repository, its genesis commit, and its hooks.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};

use super::{
    difficulty::Difficulty,
    git::{Git, failed},
    hook::Hook,
    judge::{Circumstances, Judge},
    ledger::Ledger,
    nonce,
    object::ObjectId,
    rules::{BRANCH, LEDGER_FILE},
};

/// The most that one push may weigh, in bytes: a coin is two small objects and a ledger.
const MAX_PUSH_BYTES: u32 = 4 << 20;

/// A clean-up in the background would outlive the game, and a chain is small.
const SETTINGS: &str = "\
[gitcoin]
\tversion = 1
[receive]
\tfsckObjects = true
\tdenyDeletes = true
\tdenyNonFastForwards = true
\tautogc = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[http]
\treceivepack = true
";

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

/// A bare repository with a chain on `master`, guarded by our hooks.
#[derive(Debug, Clone)]
pub struct Repository {
    git: Git,
}

impl Repository {
    /// Creates the repository in `dir`, which must not exist or be empty.
    ///
    /// `hook_program` is the harness binary; it has to stay where it is while the server lives.
    pub fn create(dir: &Path, genesis: &Genesis, hook_program: &Path) -> Result<Self> {
        let shown = dir.display();
        fs::create_dir_all(dir).with_context(|| format!("cannot create {shown}"))?;
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot resolve {shown}"))?;
        let git = Git::new(&dir);
        git.run(&["init", "--quiet", "--bare", "--initial-branch=master"])?;
        let config = dir.join("config");
        let settings = fs::read_to_string(&config)? + SETTINGS;
        fs::write(&config, settings)?;
        let repository = Self { git };
        repository.install_hooks(hook_program)?;
        repository.replace(genesis)?;
        Ok(repository)
    }

    /// Opens a repository that [`create`](Self::create) made, perhaps by another harness.
    pub fn open(dir: &Path, hook_program: &Path) -> Result<Self> {
        let shown = dir.display();
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot find {shown}"))?;
        let repository = Self {
            git: Git::new(&dir),
        };
        let version = repository.git.run(&["config", "gitcoin.version"]);
        ensure!(
            version.is_ok_and(|version| version.trim() == "1"),
            "{shown} is not a gitcoin repository made by the harness"
        );
        repository.install_hooks(hook_program)?;
        Ok(repository)
    }

    /// Puts the hooks in place, and names their folder so that no other setting wins.
    fn install_hooks(&self, program: &Path) -> Result<()> {
        let hooks = self.dir().join("hooks");
        fs::create_dir_all(&hooks)?;
        let program = program
            .to_str()
            .context("the harness's own path is not text")?;
        let quoted = program.replace('\'', r"'\''");
        for hook in [Hook::PreReceive, Hook::PostReceive] {
            let name = hook.name();
            let path = hooks.join(name);
            fs::write(
                &path,
                format!("#!/bin/sh\nexec '{quoted}' level1 hook {name}\n"),
            )?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let hooks = hooks
            .to_str()
            .context("the repository's path is not text")?;
        self.git.run(&["config", "core.hooksPath", hooks])?;
        let bytes = MAX_PUSH_BYTES.to_string();
        self.git.run(&["config", "receive.maxInputSize", &bytes])?;
        Ok(())
    }

    /// Replaces the chain by a fresh one: `master` then has no history in common with before.
    pub fn replace(&self, genesis: &Genesis) -> Result<ObjectId> {
        let import = ["fast-import", "--quiet", "--force", "--date-format=raw"];
        self.git
            .run_with_input(&import, genesis.stream().as_bytes())?;
        self.head()
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
        // Asked many times a second, and a branch that moves is a file of its own.
        if let Ok(text) = fs::read_to_string(self.dir().join(BRANCH))
            && let Ok(id) = text.trim_end().parse()
        {
            return Ok(id);
        }
        self.git.run(&["rev-parse", BRANCH])?.trim().parse()
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
