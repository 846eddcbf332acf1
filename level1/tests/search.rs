//! `level1 search` as a vanity-commit tool: what goes in, what comes out, what git says to it.
// These tests compare all of stderr. With a graphics kernel built in, `auto` may tell about the
// device first, and some drivers have a word to say as well.
#![cfg(not(feature = "gpu"))]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Game, git, output_text};
use std::io::Write;
use std::process::{Output, Stdio};

/// Runs `level1 search` in the game's folder with `input` on standard input.
fn search(game: &Game, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = game
        .level1(&[&["search"], arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// What `git cat-file commit master` prints, byte for byte.
fn head_commit(game: &Game) -> Vec<u8> {
    let server = game.path("server.git");
    let mut command = std::process::Command::new("git");
    command
        .arg("-C")
        .arg(server)
        .args(["cat-file", "commit", "master"]);
    command.output().unwrap().stdout
}

/// Writes `object` to a file and has git name it.
fn git_names(game: &Game, object: &[u8]) -> String {
    std::fs::write(game.path("object"), object).unwrap();
    game.server_git(&["hash-object", "-t", "commit", "../object"])
}

#[test]
fn git_gives_the_find_the_same_id() {
    let game = Game::new("1");
    let commit = head_commit(&game);
    for (arguments, begins) in [
        (["--prefix", "c0f"], "c0f"),
        (["--prefix", "C0F"], "c0f"),
        (["--below", "0004"], "000"),
    ] {
        let output = search(&game, &arguments, &commit);
        assert!(output.status.success(), "{}", output_text(&output));
        let id = String::from_utf8(output.stderr).unwrap();
        assert!(id.starts_with(begins), "{id}");
        assert_eq!(git_names(&game, &output.stdout), id.trim_end());
        // Everything that was there still is, and one line more.
        let rest = output.stdout.strip_prefix(&commit[..]).unwrap();
        assert!(rest.starts_with(b"\nNonce: "));
        assert_eq!(rest.split(|&byte| byte == b'\n').count(), 2);
    }
}

#[test]
fn searching_a_find_again_replaces_its_nonce() {
    let game = Game::new("1");
    let first = search(&game, &["--prefix", "ab"], &head_commit(&game));
    let second = search(&game, &["--prefix", "cd"], &first.stdout);
    assert!(second.status.success(), "{}", output_text(&second));
    let lines = |object: &[u8]| object.split(|&byte| byte == b'\n').count();
    assert_eq!(lines(&first.stdout), lines(&second.stdout));
}

#[test]
fn messages_of_every_kind_are_taken() {
    let game = Game::new("1");
    let headers = head_commit(&game);
    let end = headers.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let headers = &headers[..end];
    let long = "word ".repeat(20_000);
    for message in [
        "",
        "\n",
        "\n\n",
        "\n\nno newline",
        "\n\n\u{1f980}\n",
        &format!("\n\n{long}"),
    ] {
        let commit = [headers, message.as_bytes()].concat();
        let output = search(&game, &["--prefix", "00"], &commit);
        assert!(
            output.status.success(),
            "{message:?}: {}",
            output_text(&output)
        );
        let id = String::from_utf8(output.stderr).unwrap();
        assert_eq!(git_names(&game, &output.stdout), id.trim_end());
    }
}

#[test]
fn amending_moves_head_and_nothing_else() {
    let game = Game::new("1");
    let seed = game.path("seed");
    let before = git(&seed, &["rev-parse", "HEAD^{tree}"]);
    let output = search(
        &game,
        &["--repo", "seed", "--amend", "--prefix", "abc"],
        b"",
    );
    assert!(output.status.success(), "{}", output_text(&output));
    assert!(output.stdout.is_empty());
    let id = git(&seed, &["rev-parse", "master"]);
    assert!(id.starts_with("abc"), "{id}");
    assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), id);
    assert_eq!(git(&seed, &["rev-parse", "HEAD^{tree}"]), before);
    assert_eq!(git(&seed, &["status", "--porcelain"]), "");
    assert!(git(&seed, &["reflog"]).contains("level1 search: amend"));
    git(&seed, &["fsck", "--strict"]);
}

#[test]
fn without_amend_a_repository_is_only_read() {
    let game = Game::new("1");
    let output = search(&game, &["--repo", "seed", "--prefix", "ab"], b"");
    assert!(output.status.success(), "{}", output_text(&output));
    assert_eq!(git_names(&game, &output.stdout)[..2], *"ab");
    assert_eq!(
        git(&game.path("seed"), &["rev-parse", "master"]),
        game.history()[0]
    );
}

/// Expects exit code 2, an empty standard output and an error that says `words`.
fn refused(output: &Output, words: &str) {
    let text = output_text(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{text}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(words), "{text}");
}

#[test]
fn commits_that_cannot_be_searched_are_refused() {
    let game = Game::new("1");
    let text = String::from_utf8(head_commit(&game)).unwrap();
    let signature =
        "\ngpgsig -----BEGIN SIGNED MESSAGE-----\n abc\n -----END SIGNED MESSAGE-----\n\n";
    let any = ["--prefix", "a"];
    let signed = text.replacen("\n\n", signature, 1);
    refused(
        &search(&game, &any, signed.as_bytes()),
        "signed by an X.509",
    );
    let signed = signed.replace("SIGNED MESSAGE", "PGP SIGNATURE");
    for style in ["line", "header"] {
        let arguments = ["--prefix", "a", "--style", style];
        refused(&search(&game, &arguments, signed.as_bytes()), "white space");
    }
    let end = text.find("\n\n").unwrap();
    let empty = &text[..=end];
    let line = ["--prefix", "a", "--style", "line"];
    refused(&search(&game, &line, empty.as_bytes()), "empty");
    for broken in ["", "blob", "tree x\n\n", &text[..60]] {
        refused(
            &search(&game, &any, broken.as_bytes()),
            "not a commit object",
        );
    }
}

#[test]
fn what_git_would_refuse_is_found_out_before_the_work() {
    let game = Game::new("1");
    let text = String::from_utf8(head_commit(&game)).unwrap();
    // Nobody finds this: the answer comes before the search, or never.
    let hopeless = "0".repeat(40);
    let prefix = ["--prefix", &hopeless];
    let end = text.find("\n\n").unwrap();
    let committer = text.find("\ncommitter ").unwrap();
    for (broken, words) in [
        (text.replace("+0000", "-7:00"), "badTimezone"),
        (text.replace(" <", "< "), "Email"),
        (text.replacen("author ", "parent 12\nauthor ", 1), "parent"),
        (
            format!("{}{}", &text[..committer], &text[end..]),
            "committer",
        ),
        (text.replacen("Begin", "Be\0gin", 1), "nul"),
    ] {
        let output = search(&game, &prefix, broken.as_bytes());
        refused(&output, words);
        // The same commit in a repository, where git has to be told not to look at it.
        std::fs::write(game.path("object"), &broken).unwrap();
        let write = [
            "hash-object",
            "--literally",
            "-w",
            "-t",
            "commit",
            "../object",
        ];
        let id = git(&game.path("seed"), &write);
        let head = game.path("seed/.git/refs/heads/master");
        std::fs::write(&head, format!("{id}\n")).unwrap();
        for amend in [&[][..], &["--amend"]] {
            let arguments = [&prefix[..], &["--repo", "seed"], amend].concat();
            refused(&search(&game, &arguments, b""), words);
        }
        assert_eq!(std::fs::read_to_string(&head).unwrap().trim_end(), id);
    }
}

#[test]
fn targets_and_places_that_make_no_sense_are_refused() {
    let game = Game::new("1");
    let commit = head_commit(&game);
    let too_long = "a".repeat(41);
    for (arguments, words) in [
        (vec!["--prefix", "xyz"], "hexadecimal"),
        (vec!["--prefix", "0x12"], "without 0x"),
        (vec!["--prefix", "0X12"], "without 0x"),
        (vec!["--prefix", ""], "1 to 40"),
        (vec!["--prefix", &too_long], "1 to 40"),
        (vec!["--below", "0000"], "no hash can be less"),
        (vec!["--below", "1G"], "hexadecimal"),
        (vec!["--below", "1", "--prefix", "1"], "cannot be used with"),
        (vec![], "required"),
        (vec!["--prefix", "a", "--amend"], "--repo"),
        (vec!["--prefix", "a", "--threads", "0"], "--threads"),
        (
            vec!["--prefix", "a", "--backend", "abacus"],
            "possible values",
        ),
        (vec!["--prefix", "a", "--repo", "nowhere"], "nowhere"),
    ] {
        let output = search(&game, &arguments, &commit);
        refused(&output, words);
    }
}
