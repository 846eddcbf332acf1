//! Every way to cheat that the contract forbids, tried on a real repository.

use harness::level1::{
    judge::{Circumstances, Judge},
    object::ObjectId,
    repository::{Genesis, Repository},
};
use std::time::{Duration, SystemTime};

use crate::support::{Chain, File};

/// Tries a commit on top of the head with these files, pushed by `ada`.
fn refuse_files(chain: &Chain, files: &[File], rule: &str, words: &str) {
    let head = chain.head();
    let commit = chain.commit(&[head], files);
    let output = chain.push_master("ada", commit);
    chain.assert_refused(head, &output, rule, words);
}

fn refuse_ledger(chain: &Chain, change: impl Fn(&str) -> String, rule: &str, words: &str) {
    refuse_files(chain, &chain.files_with_ledger(change), rule, words);
}

#[test]
fn honest_coins_land_and_the_chain_is_sound() {
    let chain = Chain::new();
    chain.land("ada");
    chain.land("bob l.@b-c_d");
    let head = chain.head();
    let files = chain.files_with_ledger(|ledger| ledger.replace("ada: 1", "ada: 2"));
    let commit = chain.commit(&[head], &files);
    assert!(chain.push_master("ada", commit).status.success());
    assert_eq!(chain.server.audit(commit).unwrap(), 3);
    assert_eq!(chain.server.ledger(commit).unwrap().balance("ada"), 2);
}

#[test]
fn the_ledger_changes_by_one_coin_of_ones_own() {
    let chain = Chain::new();
    chain.land("ada");
    chain.land("bob");
    let tries: [(&str, &str, &str, &str); 12] = [
        (
            "ada: 1\nbob: 1",
            "ada: 2\nbob: 2",
            "ledger",
            "exactly one entry may change",
        ),
        ("ada: 1", "ada: 3", "amount", "takes ada from 1 to 3"),
        ("ada: 1", "ada: 0", "entry", "`ada: 0` is not an entry"),
        (
            "bob: 1",
            "bob: 2",
            "owner",
            "you are ada and may not raise the entry of bob",
        ),
        ("ada: 1", "ada; 2", "entry", "`ada; 2` is not an entry"),
        ("ada: 1", "ada: 02", "entry", "`ada: 02` is not an entry"),
        (
            "bob: 1\n",
            "bob: 1\na/b: 1\n",
            "entry",
            "`a/b: 1` is not an entry",
        ),
        (
            "bob: 1\n",
            "bob: 1\nada: 1\n",
            "ledger",
            "ada already has an entry",
        ),
        (
            "bob: 1\n",
            "bob: 1\neve: 1\n",
            "owner",
            "may not raise the entry of eve",
        ),
        ("bob: 1\n", "", "ledger", "an entry was removed"),
        (
            "ada: 1\nbob: 1\n",
            "ada: 2\nbob: 1",
            "ledger",
            "final newline",
        ),
        ("Private", "ada's", "ledger", "header lines"),
    ];
    for (old, new, rule, words) in tries {
        refuse_ledger(&chain, |ledger| ledger.replacen(old, new, 1), rule, words);
    }
}

#[test]
fn no_other_file_may_be_touched() {
    let chain = Chain::new();
    let mut more = chain.files_with_coin("ada");
    more.push(File("100644", "x".into(), String::new()));
    refuse_files(&chain, &more, "other_file", "touches x");

    let mut fewer = chain.files_with_coin("ada");
    fewer.retain(|file| file.1 != "README.md");
    refuse_files(&chain, &fewer, "other_file", "touches README.md");

    let mut executable = chain.files_with_coin("ada");
    executable
        .iter_mut()
        .find(|file| file.1 == "README.md")
        .unwrap()
        .0 = "100755";
    refuse_files(&chain, &executable, "other_file", "touches README.md");
}

#[test]
fn the_ledger_keeps_its_mode_and_its_place() {
    let chain = Chain::new();
    for mode in ["100755", "120000"] {
        let mut files = chain.files_with_coin("ada");
        files
            .iter_mut()
            .find(|file| file.1 == "LEDGER.txt")
            .unwrap()
            .0 = mode;
        refuse_files(&chain, &files, "ledger_file", "must keep its mode 100644");
    }
    let mut moved = chain.files_with_coin("ada");
    moved.retain(|file| file.1 != "LEDGER.txt");
    refuse_files(&chain, &moved, "ledger_file", "LEDGER.txt is gone");
}

#[test]
fn the_difficulty_is_the_old_heads() {
    let chain = Chain::with_difficulty("0000000001");
    let lower = |files: &mut Vec<File>| {
        files
            .iter_mut()
            .find(|file| file.1 == "difficulty.txt")
            .unwrap()
            .2 = "ff\n".into();
    };
    let head = chain.head();
    let mut files = chain.files_with_coin("ada");
    let commit = chain.commit_where(&[head], &files, |_| true);
    let output = chain.push_master("ada", commit);
    chain.assert_refused(
        head,
        &output,
        "difficulty",
        "is not less than the difficulty 0000000001",
    );

    lower(&mut files);
    let commit = chain.commit_where(&[head], &files, |_| true);
    let output = chain.push_master("ada", commit);
    chain.assert_refused(
        head,
        &output,
        "difficulty",
        "less than the difficulty 0000000001",
    );

    let chain = Chain::new();
    let mut files = chain.files_with_coin("ada");
    lower(&mut files);
    refuse_files(&chain, &files, "other_file", "touches difficulty.txt");
}

#[test]
fn the_bound_itself_is_too_large() {
    let chain = Chain::with_difficulty("8");
    let head = chain.head();
    let files = chain.files_with_coin("ada");
    let commit = chain.commit_where(&[head], &files, |id| id.to_string().starts_with('8'));
    let output = chain.push_master("ada", commit);
    chain.assert_refused(head, &output, "difficulty", "is not less than");
}

#[test]
fn the_parent_is_the_old_head_alone() {
    let chain = Chain::new();
    let genesis = chain.head();
    let head = chain.land("ada");
    let files = chain.files_with_coin("bob");
    let refuse = |parents: &[ObjectId], rule: &str, words: &str| {
        let commit = chain.commit(parents, &files);
        let output = chain.push_master("bob", commit);
        chain.assert_refused(head, &output, rule, words);
    };
    refuse(&[head, genesis], "merge", "this is a merge of 2");
    refuse(&[genesis, head], "merge", "this is a merge of 2");
    refuse(&[], "parent", "this commit has none");
    // Forged: a parent that is not the head, with a tree that would fit.
    refuse(&[genesis], "parent", "the parent must be the old head");
}

#[test]
fn two_coins_need_two_pushes() {
    let chain = Chain::new();
    let head = chain.head();
    let first = chain.commit(&[head], &chain.files_with_coin("ada"));
    let files = chain.files_with_ledger(|ledger| format!("{ledger}ada: 2\n"));
    let second = chain.commit(&[first], &files);
    let output = chain.push_master("ada", second);
    chain.assert_refused(head, &output, "several_commits", "this one brings 2");
}

#[test]
fn master_only_and_forward_only() {
    let chain = Chain::new();
    // A coin itself, which the ledger's first commit need not be.
    let old = chain.land("ada");
    let head = chain.land("bob l.@b-c_d");
    let output = chain.push_master("bob", old);
    chain.assert_refused(head, &output, "forced", "already in its history");

    let output = chain.push("bob", &[":refs/heads/master"]);
    chain.assert_refused(head, &output, "deleted", "may not be deleted");

    let coin = chain.commit(&[head], &chain.files_with_coin("bob"));
    for name in ["refs/heads/main", "refs/tags/coin", "refs/replace/x"] {
        let output = chain.push("bob", &[&format!("{coin}:{name}")]);
        chain.assert_refused(head, &output, "branch", &format!("not {name}"));
    }
    let both = [
        format!("{coin}:refs/heads/master"),
        format!("{coin}:refs/heads/more"),
    ];
    let output = chain.push("bob", &[&both[0], &both[1]]);
    chain.assert_refused(head, &output, "branch", "not refs/heads/more");

    // The coin itself was good all along.
    assert!(chain.push_master("bob", coin).status.success());
}

#[test]
fn a_tag_is_not_a_commit() {
    let chain = Chain::new();
    let head = chain.head();
    let coin = chain.commit(&[head], &chain.files_with_coin("ada"));
    let text = format!("object {coin}\ntype commit\ntag t\ntagger A <a> 1 +0000\n\nm\n");
    let write = ["hash-object", "-t", "tag", "-w", "--stdin"];
    let tag = chain.clone.run_with_input(&write, text.as_bytes()).unwrap();
    let tag: ObjectId = tag.trim().parse().unwrap();
    // git's own client refuses to put a tag on a branch, so the judge is asked directly.
    let mut judge = Judge::new(chain.clone.clone()).unwrap();
    let refusal = judge.coin(head, tag, Circumstances::default()).unwrap_err();
    assert_eq!(refusal.to_string(), "the new head is a tag, not a commit");
    let output = chain.push_master("ada", tag);
    assert!(!output.status.success());
    assert_eq!(chain.head(), head);
}

#[test]
fn a_round_ends_in_time() {
    let hour = Duration::from_secs(3600);
    let round = |start| Genesis::round(7, 50, start, hour, "f".parse().unwrap());
    let now = SystemTime::now();
    let running = Chain::with_genesis(&round(now));
    running.land("ada");
    let over = Chain::with_genesis(&round(now - 2 * hour));
    refuse_files(
        &over,
        &over.files_with_coin("ada"),
        "round_over",
        "the round is over",
    );
    let names: Vec<_> = over.files().into_iter().map(|file| file.1).collect();
    assert_eq!(
        names,
        [
            "LEDGER.txt",
            "README.md",
            "difficulty.txt",
            "duration.txt",
            "end-time.txt",
            "points.txt",
            "round.txt",
            "start-time.txt"
        ]
    );
}

#[test]
fn a_replaced_chain_shares_nothing_with_the_old_one() {
    let chain = Chain::new();
    let old = chain.land("ada");
    let coin = chain.commit(&[old], &chain.files_with_coin("bob"));
    let new = chain
        .server
        .replace(&Genesis::single_player("f".parse().unwrap()))
        .unwrap();
    assert!(
        chain
            .server
            .git()
            .run(&["merge-base", &old.to_string(), &new.to_string()])
            .is_err()
    );
    let output = chain.push_master("bob", coin);
    chain.assert_refused(new, &output, "parent", "the parent must be the old head");
    assert_eq!(chain.server.audit(new).unwrap(), 0);
}

#[test]
fn only_our_own_sound_chain_is_opened() {
    let chain = Chain::new();
    let head = chain.land("ada");
    let opened = Repository::open(chain.server.dir()).unwrap();
    assert_eq!(opened.head().unwrap(), head);
    let foreign = chain.path("clone.git");
    let error = Repository::open(&foreign).unwrap_err();
    assert!(
        error.to_string().contains("not a gitcoin repository"),
        "{error:#}"
    );
}
