//! `level1 search` on repositories of every kind: shallow, partial, SHA-256, signed, in a hook; and
//! messages whose trailers must stay what git says they are.
// These tests compare all of stderr: see `search.rs`.
#![cfg(all(unix, not(feature = "gpu")))]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Game, git, output_text};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs `level1 search --amend` in a folder.
fn amend(game: &Game, dir: &Path, arguments: &[&str]) -> Output {
    let all = [&["search", "--repo", ".", "--amend"], arguments].concat();
    game.level1(&all).current_dir(dir).output().unwrap()
}

/// Expects that HEAD is now what the program printed, and begins so.
fn amended(output: &Output, dir: &Path, prefix: &str) -> String {
    assert!(output.status.success(), "{}", output_text(output));
    let id = git(dir, &["rev-parse", "HEAD"]);
    assert!(id.starts_with(prefix), "{id}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), id);
    git(dir, &["fsck", "--strict"]);
    id
}

fn refused(output: &Output, dir: &Path, head: &str, words: &str) {
    let text = output_text(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(words), "{text}");
    assert_eq!(git(dir, &["rev-parse", "HEAD"]), head);
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn a_subfolder_is_in_its_repository() {
    let game = Game::new("1");
    let seed = game.path("seed");
    amended(
        &amend(&game, &seed.join("notes"), &["--prefix", "ab"]),
        &seed,
        "ab",
    );
}

#[test]
fn shallow_clones_are_not_cut_off_further() {
    let game = Game::new("1");
    game.commit_as_server("README.md", "Changed.\n");
    game.commit_as_server("README.md", "Changed again.\n");
    let server = url(&game.path("server.git"));
    let folder = game.path(".");
    for depth in ["1", "2"] {
        git(
            &folder,
            &["clone", "--quiet", "--depth", depth, &server, depth],
        );
    }
    let (one, two) = (game.path("1"), game.path("2"));
    let head = git(&one, &["rev-parse", "HEAD"]);
    refused(
        &amend(&game, &one, &["--prefix", "ab"]),
        &one,
        &head,
        "shallow",
    );
    // With the parent here, all is well, and the result can be pushed.
    let id = amended(&amend(&game, &two, &["--prefix", "ab"]), &two, "ab");
    git(
        &two,
        &[
            "push",
            "--quiet",
            "--force",
            "origin",
            "HEAD:refs/heads/vanity",
        ],
    );
    assert_eq!(game.server_git(&["rev-parse", "vanity"]), id);
}

#[test]
fn partial_clones_are_amended() {
    let game = Game::new("1");
    game.commit_as_server("README.md", "Changed.\n");
    game.server_git(&["config", "uploadpack.allowFilter", "true"]);
    let server = url(&game.path("server.git"));
    git(
        &game.path("."),
        &["clone", "--quiet", "--filter=blob:none", &server, "partial"],
    );
    let partial = game.path("partial");
    amended(&amend(&game, &partial, &["--prefix", "ab"]), &partial, "ab");
}

#[test]
fn every_style_makes_the_id_and_keeps_the_rest() {
    let game = Game::new("1");
    let seed = game.path("seed");
    let message = "feat: something\n\nSigned-off-by: A <a@b>";
    git(
        &seed,
        &["commit", "--quiet", "--amend", "--message", message],
    );
    for (style, prefix) in [
        ("line", "0a"),
        ("space", "0b"),
        ("header", "0c"),
        ("line", "0d"),
    ] {
        let output = amend(&game, &seed, &["--style", style, "--prefix", prefix]);
        amended(&output, &seed, prefix);
        let show = |format: &str| git(&seed, &["log", "-1", &format!("--format={format}")]);
        assert_eq!(show("%s"), "feat: something");
        let trailers = show("%(trailers:only)");
        assert!(trailers.starts_with("Signed-off-by: A <a@b>"), "{trailers}");
        assert_eq!(trailers.contains("Nonce: "), style == "line");
    }
}

#[test]
fn a_sha256_repository_is_amended_in_every_style() {
    let game = Game::new("1");
    let new = game.path("new");
    fs::create_dir(&new).unwrap();
    git(&new, &["init", "--quiet", "--object-format=sha256"]);
    git(
        &new,
        &["commit", "--quiet", "--allow-empty", "--message", "One"],
    );
    git(
        &new,
        &["commit", "--quiet", "--allow-empty", "--message", "Two"],
    );
    for style in ["line", "space", "header"] {
        let output = amend(&game, &new, &["--style", style, "--prefix", "0ff"]);
        assert_eq!(amended(&output, &new, "0ff").len(), 64);
    }
    let output = amend(&game, &new, &["--below", "00f"]);
    amended(&output, &new, "00");
}

#[test]
fn an_id_is_printed_whatever_happens_to_it() {
    let game = Game::new("1");
    let seed = game.path("seed");
    let head = git(&seed, &["rev-parse", "HEAD"]);
    // The reference cannot be moved: a hook forbids it.
    let hook = seed.join(".git/hooks/reference-transaction");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let output = amend(&game, &seed, &["--prefix", "ab"]);
    refused(&output, &seed, &head, "HEAD stays");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let id = stderr.lines().next().unwrap();
    assert!(id.starts_with("ab"), "{stderr}");
    assert_eq!(git(&seed, &["cat-file", "-t", id]), "commit");
}

#[test]
fn an_id_is_printed_though_head_has_moved_meanwhile() {
    let game = Game::new("1");
    let seed = game.path("seed");
    // Somebody commits at the last moment: when git is told to move HEAD.
    let find = Command::new("sh")
        .args(["-c", "command -v git"])
        .output()
        .unwrap();
    let real = String::from_utf8(find.stdout).unwrap();
    let bin = game.path("bin");
    fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nreal='{}'\ncase \" $* \" in *' update-ref '*)\n\
         \"$real\" -C '{}' commit --quiet --allow-empty --message Faster || exit 9 ;;\nesac\n\
         exec \"$real\" \"$@\"\n",
        real.trim_end(),
        seed.display()
    );
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let arguments = ["search", "--repo", "seed", "--amend", "--prefix", "ab"];
    let output = game
        .level1(&arguments)
        .env("PATH", format!("{}:{path}", bin.display()))
        .output()
        .unwrap();
    let head = git(&seed, &["rev-parse", "HEAD"]);
    refused(&output, &seed, &head, "HEAD stays");
    assert_eq!(git(&seed, &["log", "-1", "--format=%s"]), "Faster");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let id = stderr.lines().next().unwrap();
    assert!(id.starts_with("ab"), "{stderr}");
    assert_eq!(git(&seed, &["cat-file", "-t", id]), "commit");
}

#[test]
fn a_lock_is_noticed_before_the_work() {
    let game = Game::new("1");
    let seed = game.path("seed");
    let head = git(&seed, &["rev-parse", "HEAD"]);
    // A prefix that nobody finds: the answer comes before the search, or never.
    let prefix = "0".repeat(40);
    for lock in ["index.lock", "HEAD.lock", "refs/heads/master.lock"] {
        let path = seed.join(".git").join(lock);
        fs::write(&path, "").unwrap();
        let output = amend(&game, &seed, &["--prefix", &prefix]);
        fs::remove_file(&path).unwrap();
        refused(&output, &seed, &head, lock);
    }
}

/// Pieces of messages, among them everything that git's rules tell apart.
const PIECES: [&str; 27] = [
    "feat: a conventional subject\n",
    "Plain words here.\n",
    "\n",
    "\n\n",
    "Signed-off-by: A <a@b>\n",
    "Signed-off-by : A\n",
    "(cherry picked from commit 1234567)\n",
    "[maintainer: changed a name]\n",
    "Fixes: 1\n",
    "Long-Token: folded\n  and on\n",
    " indented\n",
    "\tindented by a tab\n",
    "https://example.com/a\n",
    "No trailer at all\n",
    "Two words: value\n",
    ": empty token\n",
    "# a comment\n",
    "Conflicts:\n\tfile\n",
    "-dash: x\n",
    "x:\n",
    "  \n",
    "Reviewed-by: B\nAcked-by: C\n",
    "Signed-off-by: C <c@d>\r\n",
    "Acked-by: with spaces behind   \n",
    "---\n",
    "Gr\u{fc}\u{df}e-von: \u{1f980}\n",
    "Signed-off-by:\tA\n",
];

/// The SplitMix64 sequence.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Messages from a seed, each with a subject.
fn messages(count: usize) -> Vec<String> {
    let mut state = 2014;
    let mut piece = || PIECES[(next(&mut state) % PIECES.len() as u64) as usize];
    let mut made = Vec::new();
    while made.len() < count {
        let pieces = 1 + made.len() % 8;
        let message: String = (0..pieces).map(|_| piece()).collect();
        if !message.trim().is_empty() && !message.starts_with(['\n', ' ', '\t', '#']) {
            made.push(message);
        }
    }
    made
}

/// What `git log` says are the trailers of each message, all from two processes.
fn trailers(repository: &Path, messages: &[Vec<u8>]) -> Vec<String> {
    let mut stream = Vec::new();
    for message in messages {
        stream.extend_from_slice(b"commit refs/heads/messages\ncommitter A <a@b> 1 +0000\n");
        stream.extend_from_slice(format!("data {}\n", message.len()).as_bytes());
        stream.extend_from_slice(message);
        stream.push(b'\n');
    }
    stream.extend_from_slice(b"done\n");
    let mut import = Command::new("git");
    import.arg("-C").arg(repository);
    import.args(["fast-import", "--quiet", "--force", "--done"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut import.stdin.take().unwrap(), &stream).unwrap();
    assert!(import.wait().unwrap().success());
    let format = "--format=%x01%s%x02%(trailers:only)";
    let log = git(repository, &["log", "--reverse", format, "messages"]);
    git(repository, &["update-ref", "-d", "refs/heads/messages"]);
    log.split('\u{1}').skip(1).map(str::to_owned).collect()
}

#[test]
fn the_trailers_of_a_thousand_messages_stay() {
    let game = Game::new("1");
    let server = game.path("server.git");
    let headers = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                   author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n";
    let messages = messages(1000);
    let plain: Vec<Vec<u8>> = messages
        .iter()
        .map(|text| text.clone().into_bytes())
        .collect();
    let before = trailers(&server, &plain);
    for style in [level1::Style::Line, level1::Style::Space] {
        let placed: Vec<Vec<u8>> = messages
            .iter()
            .map(|message| {
                let commit = level1::Commit::parse(format!("{headers}{message}").as_bytes());
                let placement = commit.unwrap().place(Some(style)).unwrap();
                let template = level1::CommitTemplate::new(&placement, 1);
                template.commit(level1::Nonce(7))[headers.len()..].to_vec()
            })
            .collect();
        let after = trailers(&server, &placed);
        assert_eq!((before.len(), after.len()), (1000, 1000));
        for ((message, before), after) in messages.iter().zip(&before).zip(&after) {
            // Not `lines`, which takes a carriage return away.
            let kept: Vec<&str> = after
                .split('\n')
                .filter(|line| !line.starts_with("Nonce: "))
                .collect();
            // A subject may be followed by a line that was the nonce's.
            let kept = kept.join("\n").replace("\u{2}Nonce", "\u{2}\nNonce");
            let kept = kept.split("\nNonce: ").next().unwrap().trim_end();
            assert_eq!(kept, before.trim_end(), "{style:?} {message:?}");
        }
    }
}

#[test]
fn git_interpret_trailers_agrees() {
    let game = Game::new("1");
    let headers = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                   author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n";
    let parse = |name: &str, text: &[u8]| {
        fs::write(game.path(name), text).unwrap();
        let arguments = ["interpret-trailers", "--parse", "--no-divider", name];
        git(&game.path("."), &arguments)
    };
    for message in messages(60) {
        let commit = level1::Commit::parse(format!("{headers}{message}").as_bytes()).unwrap();
        let placement = commit.place(Some(level1::Style::Line)).unwrap();
        let content = level1::CommitTemplate::new(&placement, 1).commit(level1::Nonce(7));
        let before = parse("before", message.as_bytes());
        let after = parse("after", &content[headers.len()..]);
        let kept: Vec<&str> = after
            .lines()
            .filter(|line| !line.starts_with("Nonce: "))
            .collect();
        assert_eq!(kept.join("\n"), before, "{message:?}");
        assert_eq!(kept.len() + 1, after.lines().count(), "{message:?}");
    }
}

/// What keeps a throw-away keyring's agent from outliving its test.
struct Gpg {
    home: PathBuf,
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", &self.home)
            .status();
    }
}

/// Whether a program is here; where it is not, that is said.
fn have(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        println!("SKIPPED: there is no {program} here");
    }
    found
}

/// Searches a signed commit in a repository with these settings, and has git verify the result.
fn signed_commits_stay_valid(game: &Game, dir: &Path, environment: &[(&str, &Path)]) {
    let run = |program: &mut Command| {
        program.envs(environment.iter().copied());
        program.env("GIT_CONFIG_SYSTEM", "/dev/null");
        program.env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            program.env(format!("GIT_{who}_NAME"), "Tester");
            program.env(format!("GIT_{who}_EMAIL"), "tester@example.com");
        }
        let output = program.current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", output_text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let id = |name: &str| {
        run(Command::new("git").args(["rev-parse", name]))
            .trim_end()
            .to_owned()
    };
    let git = |arguments: &[&str]| run(Command::new("git").args(arguments));
    git(&[
        "commit",
        "--quiet",
        "--allow-empty",
        "-S",
        "--message",
        "Signed",
    ]);
    // Twice: the second nonce takes the first one's place.
    let mut lengths = Vec::new();
    for prefix in ["0f", "ee"] {
        run(&mut game.level1(&["search", "--repo", ".", "--amend", "--prefix", prefix]));
        assert!(id("HEAD").starts_with(prefix));
        git(&["verify-commit", "HEAD"]);
        git(&["fsck", "--strict"]);
        lengths.push(git(&["cat-file", "commit", "HEAD"]).len());
    }
    assert_eq!(lengths[0], lengths[1]);
}

#[test]
fn a_pgp_signature_stays_valid() {
    if !have("gpg") {
        return;
    }
    let game = Game::new("1");
    let dir = game.path("seed");
    // The agent's socket must not have a long path.
    let home = tempfile::Builder::new()
        .prefix("g")
        .tempdir_in("/tmp")
        .unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let _gpg = Gpg {
        home: home.path().to_owned(),
    };
    let made = Command::new("gpg")
        .args([
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
        ])
        .args([
            "--quick-generate-key",
            "Tester <tester@example.com>",
            "ed25519",
            "sign",
            "never",
        ])
        .env("GNUPGHOME", home.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", output_text(&made));
    git(&dir, &["config", "user.signingKey", "tester@example.com"]);
    signed_commits_stay_valid(&game, &dir, &[("GNUPGHOME", home.path())]);
}

#[test]
fn an_ssh_signature_stays_valid() {
    if !have("ssh-keygen") {
        return;
    }
    let game = Game::new("1");
    let (dir, key) = (game.path("seed"), game.path("key"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", output_text(&made));
    let public = fs::read_to_string(game.path("key.pub")).unwrap();
    let signers = game.path("signers");
    fs::write(&signers, format!("tester@example.com {public}")).unwrap();
    git(&dir, &["config", "gpg.format", "ssh"]);
    git(&dir, &["config", "user.signingKey", key.to_str().unwrap()]);
    git(
        &dir,
        &[
            "config",
            "gpg.ssh.allowedSignersFile",
            signers.to_str().unwrap(),
        ],
    );
    signed_commits_stay_valid(&game, &dir, &[]);
    // Without anybody to say whose key it is, the search does not begin.
    git(&dir, &["config", "--unset", "gpg.ssh.allowedSignersFile"]);
    let head = git(&dir, &["rev-parse", "HEAD"]);
    let output = amend(&game, &dir, &["--prefix", &"0".repeat(40)]);
    refused(&output, &dir, &head, "cannot be verified");
}

/// A repository in which the three hooks give every new commit an id that begins with `00`.
fn with_hooks(game: &Game) -> PathBuf {
    let dir = game.path("seed");
    let hooks = dir.join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in ["post-commit", "post-merge", "post-applypatch"] {
        let program = env!("CARGO_BIN_EXE_level1");
        let script = format!("#!/bin/sh\nexec '{program}' search --repo . --amend --prefix 00\n");
        let path = hooks.join(hook);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

/// The table of the README: what makes commits, and whether each of them gets its id.
#[test]
fn hooks_give_ids_to_what_makes_commits() {
    let game = Game::new("1");
    let dir = with_hooks(&game);
    let change = |name: &str| {
        fs::write(dir.join(name), name).unwrap();
        git(&dir, &["add", "."]);
    };
    let vanity = |range: &str, count: usize, what: &str| {
        let ids = git(&dir, &["rev-list", "--first-parent", range]);
        assert_eq!(ids.lines().count(), count, "{what}");
        assert!(ids.lines().all(|id| id.starts_with("00")), "{what}: {ids}");
        git(&dir, &["fsck", "--strict"]);
        assert_eq!(git(&dir, &["status", "--porcelain"]), "", "{what}");
    };
    change("a");
    git(&dir, &["commit", "--quiet", "--message", "a"]);
    vanity("HEAD~1..HEAD", 1, "commit");
    git(
        &dir,
        &["commit", "--quiet", "--amend", "--message", "a again"],
    );
    vanity("HEAD~1..HEAD", 1, "commit --amend");

    git(&dir, &["checkout", "--quiet", "-b", "side", "HEAD~1"]);
    change("b");
    git(&dir, &["commit", "--quiet", "--message", "b"]);
    change("c");
    git(&dir, &["commit", "--quiet", "--message", "c"]);
    git(&dir, &["checkout", "--quiet", "master"]);
    git(&dir, &["merge", "--quiet", "--no-edit", "side"]);
    vanity("HEAD~1..HEAD", 1, "merge");

    git(&dir, &["checkout", "--quiet", "-b", "picked", "HEAD~1"]);
    git(&dir, &["cherry-pick", "side~1", "side"]);
    vanity("HEAD~2..HEAD", 2, "cherry-pick");
    git(&dir, &["revert", "--no-edit", "HEAD"]);
    vanity("HEAD~1..HEAD", 1, "revert");

    git(&dir, &["checkout", "--quiet", "side"]);
    git(&dir, &["rebase", "--quiet", "master~1"]);
    vanity("HEAD~2..HEAD", 2, "rebase");

    git(
        &dir,
        &[
            "format-patch",
            "--quiet",
            "-o",
            "../patches",
            "-2",
            "picked~1",
        ],
    );
    git(&dir, &["checkout", "--quiet", "-b", "mailed", "master~1"]);
    let mut patches: Vec<PathBuf> = fs::read_dir(game.path("patches"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    patches.sort();
    for patch in patches {
        git(&dir, &["am", "--quiet", patch.to_str().unwrap()]);
    }
    vanity("HEAD~2..HEAD", 2, "am");
}

#[test]
fn a_hook_that_holds_a_lock_is_no_place_for_it() {
    let game = Game::new("1");
    let dir = with_hooks(&game);
    let hooks = dir.join(".git/hooks");
    // It runs while git holds the locks of what it is about to move.
    let script = fs::read_to_string(hooks.join("post-commit")).unwrap();
    let script = script.replace("exec ", "test \"$1\" = prepared || exit 0\nexec ");
    fs::write(hooks.join("reference-transaction"), script).unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(hooks.join("reference-transaction"), executable).unwrap();
    fs::write(dir.join("a"), "a").unwrap();
    git(&dir, &["add", "."]);
    let mut commit = Command::new("git");
    commit.arg("-C").arg(&dir);
    let output = commit
        .args(["-c", "user.name=A", "-c", "user.email=a@b"])
        .args(["commit", "--message", "a"])
        .output()
        .unwrap();
    let text = output_text(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("another git is at work"), "{text}");
    // Nothing is left that would be in the way of the next commit.
    assert!(!dir.join(".git/index.lock").exists());
}
