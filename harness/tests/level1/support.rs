//! A chain that is served, and a pusher that can write any commit.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::Output,
};

use harness::level1::{
    difficulty::Difficulty,
    git::Git,
    journal::{Event, Reader},
    object::ObjectId,
    repository::{Genesis, Repository},
    server::{Server, Site},
};

/// The binary under test.
pub const HARNESS: &str = env!("CARGO_BIN_EXE_harness");

/// What all players of the tests push with.
pub const TOKEN: &str = "0123456789abcdef";

/// A served repository and a pusher's, in a folder that goes with the value.
pub struct Chain {
    pub dir: tempfile::TempDir,
    pub web: Server,
    pub server: Repository,
    pub clone: Git,
    pub difficulty: Difficulty,
}

/// One file of a commit: mode, name, content.
#[derive(Clone)]
pub struct File(pub &'static str, pub String, pub String);

impl Chain {
    /// A chain on which almost every id is a coin.
    pub fn new() -> Self {
        Self::with_difficulty("f")
    }

    pub fn with_difficulty(difficulty: &str) -> Self {
        Self::with_genesis(&Genesis::single_player(difficulty.parse().unwrap()))
    }

    pub fn with_genesis(genesis: &Genesis) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Repository::create(&dir.path().join("level1"), genesis).unwrap();
        let clone = Git::new(&dir.path().join("clone.git"));
        let url = server.dir().to_str().unwrap();
        let path = clone.dir().to_str().unwrap();
        server
            .git()
            .run(&["clone", "--quiet", "--bare", url, path])
            .unwrap();
        let players = ["ada", "bob", "bob l.@b-c_d"];
        let players = players.map(|name| (name.to_owned(), TOKEN.to_owned()));
        let site = Site::new(server.clone(), "Test", players);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self {
            dir,
            web: Server::start(listener, site).unwrap(),
            server,
            clone,
            difficulty: genesis.difficulty.clone(),
        }
    }

    pub fn head(&self) -> ObjectId {
        self.server.head().unwrap()
    }

    /// The files at the server's head.
    pub fn files(&self) -> Vec<File> {
        Self::files_at(&self.server)
    }

    /// The files at the head of some repository.
    pub fn files_at(server: &Repository) -> Vec<File> {
        let head = server.head().unwrap();
        let names = ["ls-tree", "--name-only", &head.to_string()];
        let names = server.git().run(&names).unwrap();
        let mut objects = server.git().objects().unwrap();
        let mut read = |name: &str| {
            let object = objects.read(&format!("{head}:{name}"), "blob").unwrap();
            String::from_utf8(object.content).unwrap()
        };
        names
            .lines()
            .map(|name| File("100644", name.into(), read(name)))
            .collect()
    }

    /// The head's files after a change of the ledger's text.
    pub fn files_with_ledger(&self, change: impl Fn(&str) -> String) -> Vec<File> {
        let mut files = self.files();
        let ledger = files
            .iter_mut()
            .find(|file| file.1 == "LEDGER.txt")
            .unwrap();
        ledger.2 = change(&ledger.2);
        files
    }

    /// The head's files with one coin for a new name.
    pub fn files_with_coin(&self, name: &str) -> Vec<File> {
        self.files_with_ledger(|ledger| format!("{ledger}{name}: 1\n"))
    }

    /// Writes a commit of these files whose id is below the difficulty.
    pub fn commit(&self, parents: &[ObjectId], files: &[File]) -> ObjectId {
        self.commit_where(parents, files, |id| self.difficulty.accepts(id))
    }

    pub fn commit_where(
        &self,
        parents: &[ObjectId],
        files: &[File],
        wanted: impl Fn(&ObjectId) -> bool,
    ) -> ObjectId {
        let mut listing = Vec::new();
        for File(mode, name, content) in files {
            let write = ["hash-object", "-w", "--stdin"];
            let blob = self
                .clone
                .run_with_input(&write, content.as_bytes())
                .unwrap();
            listing.push(format!("{mode} blob {}\t{name}\n", blob.trim()));
        }
        let tree = self
            .clone
            .run_with_input(&["mktree"], listing.concat().as_bytes())
            .unwrap();
        let parents: Vec<_> = parents
            .iter()
            .map(|parent| format!("parent {parent}\n"))
            .collect();
        let person = "A <a@b> 1700000000 +0000";
        let text = (0..).map(|nonce| {
            format!(
                "tree {}\n{}author {person}\ncommitter {person}\n\nnonce {nonce}\n",
                tree.trim(),
                parents.concat()
            )
        });
        let mut text = text.filter(|text| wanted(&ObjectId::of("commit", text.as_bytes())));
        let text = text.next().unwrap();
        let write = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let id = self.clone.run_with_input(&write, text.as_bytes()).unwrap();
        id.trim().parse().unwrap()
    }

    /// Pushes as a player.
    pub fn push(&self, player: &str, refspecs: &[&str]) -> Output {
        let url = self.web.site().url(self.web.address(), Some(player));
        let mut command = self.clone.command();
        command.args(["push", "--quiet", &url]).args(refspecs);
        command.output().unwrap()
    }

    /// Pushes a commit to `master`, even where git itself would not.
    pub fn push_master(&self, player: &str, commit: ObjectId) -> Output {
        self.push(player, &[&format!("+{commit}:refs/heads/master")])
    }

    /// Lands a coin for a player without an entry and returns the new head.
    pub fn land(&self, player: &str) -> ObjectId {
        let commit = self.commit(&[self.head()], &self.files_with_coin(player));
        let output = self.push_master(player, commit);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(self.head(), commit);
        commit
    }

    /// Expects that a push is refused by this rule, in these words, and that nothing moved.
    pub fn assert_refused(&self, before: ObjectId, output: &Output, rule: &str, words: &str) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "the push was accepted");
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
        assert_eq!(self.head(), before);
        let lines = Reader::new(self.server.dir()).read().unwrap();
        match &lines.last().expect("nothing was noted").event {
            Event::Refused { rule: noted, .. } => assert_eq!(noted, rule),
            other => panic!("{other:?}"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
