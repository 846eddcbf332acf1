//! The verdict on honest and lying level 4 nodes (`examples/liar.rs`), on the real binary: three
//! nodes without monkeys.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The lying nodes, which cargo builds next to the tests.
fn liar() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples/liar");
    assert!(
        path.exists(),
        "run `cargo test` for all targets, or `cargo build --examples`"
    );
    path
}

struct Judged {
    output: Output,
    result: Value,
}

impl Judged {
    fn text(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&self.output.stdout) + &text(&self.output.stderr)
    }

    fn message(&self) -> &str {
        self.result["failure"]["message"]
            .as_str()
            .unwrap_or_default()
    }
}

/// Judges a program for a time.
fn judge(program: &str, duration: &str, flags: &[&str], node: &[&str]) -> Judged {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec!["level4", "--solution", program, "--duration", duration];
    arguments.extend(["--seed", "7", "--nodes", "3", "--json", "result.json"]);
    if !flags.contains(&"--monkeys") {
        arguments.extend(["--monkeys", "none"]);
    }
    arguments.extend(flags);
    arguments.push("--");
    arguments.extend(node);
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("--no-history")
        .args(&arguments)
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let json = std::fs::read(folder.path().join("result.json")).unwrap_or_default();
    let json: Value = serde_json::from_slice(&json).unwrap_or_default();
    Judged {
        output,
        result: json["results"][0].clone(),
    }
}

/// How long a run lasts: first as short as an idle machine needs to come to the lie, then as long as
/// one that hardly runs at all.
const DURATIONS: [&str; 3] = ["4s", "20s", "90s"];

fn lie(kind: &str, duration: &str) -> Judged {
    judge(
        liar().to_str().unwrap(),
        duration,
        &[],
        &["--lie", kind, "--at", "60"],
    )
}

/// An honest kind passes; its history is right, and the summary says something.
fn passes(kind: &str, says: &str) {
    for duration in DURATIONS {
        let judged = lie(kind, duration);
        assert_eq!(judged.output.status.code(), Some(0), "{}", judged.text());
        assert_eq!(judged.result["verdict"], "passed");
        assert!(judged.text().contains("linearizable, each executed once"));
        // It came as far as to do what it does, and a number that is lost was 2 s overdue.
        let answered = judged.result["figures"]["answered_queries"].as_u64();
        if answered > Some(61) && judged.text().contains(says) {
            return;
        }
        eprintln!("in {duration}: {answered:?} answered; {}", judged.text());
    }
    panic!("it never said {says:?}");
}

/// A liar fails for a reason.
fn fails(kind: &str, failure: &str, says: &str) {
    let at_the_end = ["history", "no_progress", "no_boot"].contains(&failure);
    let durations = if at_the_end { DURATIONS } else { ["90s"; 3] };
    let mut judged = lie(kind, durations[0]);
    for duration in &durations[1..] {
        // What is found while it runs ends the run; a slow machine may not have come that far.
        let answered = judged.result["figures"]["answered_queries"].as_u64();
        if judged.result["passed"] == false || answered >= Some(200) {
            break;
        }
        judged = lie(kind, duration);
    }
    assert_eq!(judged.output.status.code(), Some(1), "{}", judged.text());
    assert_eq!(judged.result["passed"], false);
    let found = judged.result["failure"]["kind"].as_str().unwrap();
    assert!(
        failure.split('|').any(|one| one == found),
        "{}",
        judged.text()
    );
    assert!(judged.text().contains(says), "{}", judged.text());
    if !at_the_end || failure == "history" {
        assert_eq!(judged.result["verdict"], "failed");
    }
    let next = judged.result["failure"]["next"].as_array().unwrap();
    assert!(!next.is_empty());
    assert!(
        judged.result["replay"]
            .as_str()
            .unwrap()
            .contains("--seed=7")
    );
}

macro_rules! honest {
    ($($name:ident: $kind:literal, $says:literal;)*) => {
        $(#[test] fn $name() { passes($kind, $says); })*
    };
}

honest! {
    an_honest_node_passes: "honest", "Correct queries: ";
    so_does_one_that_answers_in_chunks: "chunked", "Correct queries: ";
    so_does_one_that_speaks_http_1_0: "http10", "Correct queries: ";
    so_does_one_that_sends_bytes: "drip", "Correct queries: ";
    so_does_one_that_says_continue: "continue100", "Correct queries: ";
    so_does_one_that_redirects: "redirect", "Correct queries: ";
    so_does_one_without_content: "status204", "Correct queries: ";
    a_garbled_answer_is_lost: "garbage", "is missing: the count stopped there";
    a_number_left_out_is_lost: "gap", "Number 59 is missing: the count stopped there";
    an_answer_500_is_lost: "err500", "is missing: the count stopped there";
    a_request_may_stay_unanswered: "hang", "Correct queries: ";
    a_retry_may_be_told_what_the_first_attempt_gave: "dedupe", "Correct queries: ";
    refused_attempts_may_be_executed_later: "late", "is missing: the count stopped there";
    a_retry_may_be_executed_anew: "twice", "is missing: the count stopped there";
}

macro_rules! lying {
    ($($name:ident: $kind:literal, $failure:literal, $says:literal;)*) => {
        $(#[test] fn $name() { fails($kind, $failure, $says); })*
    };
}

lying! {
    a_number_given_twice: "repeat", "repeated_number|wrong_output", "number 59 was given twice";
    two_numbers_swapped: "swap", "wrong_output", "they are swapped";
    a_wrong_table: "wrong", "wrong_output", "number 60";
    a_stale_table: "stale", "wrong_output", "it shows the table that number 57 shows";
    a_lost_update: "lost-update", "wrong_output", "it misses number 58";
    an_answer_that_is_forgotten: "early", "repeated_number|wrong_output", "number 60 was given twice";
    an_answer_that_breaks_off: "truncate", "bad_answer", "broke off";
    an_answer_without_a_head: "no-head", "bad_answer", "does not begin with `SequenceNumber: N`";
    an_endless_answer: "huge", "bad_answer", "too large";
    the_largest_number: "big-number", "history", "18446744073709551615";
    a_boot_with_the_largest_number: "big-boot", "history", "18446744073709551615";
    an_exit_with_status_0: "exit0", "unexpected_exit", "exit status: 0";
    an_exit_with_status_3: "exit3", "unexpected_exit", "going down on purpose";
    a_cluster_that_hangs: "hang-all", "no_progress", "none answered within 10 s; the last answer of the run came from node";
    many_numbers_given_to_nobody: "gap-many", "history", "given to nobody";
    a_sum_that_cannot_be: "budget", "history", "the 15 largest bring";
    a_link_to_the_socket_of_another: "link", "not_its_own_socket", "is a symbolic link";
    nodes_that_never_answer: "mute", "no_boot", "no answer";
    nodes_that_never_listen: "sleep", "no_boot", "No such file or directory";
}

#[test]
fn no_time_is_no_pass() {
    let judged = judge(liar().to_str().unwrap(), "0ms", &[], &[]);
    assert_eq!(judged.output.status.code(), Some(1), "{}", judged.text());
    assert_eq!(judged.result["failure"]["kind"], "no_boot");
    assert!(!judged.text().contains("linearizable"), "{}", judged.text());
}

#[test]
fn a_single_point_of_failure_is_no_pass() {
    // Node 0 has the table: nobody answers while the spof monkey holds it.
    let flags = ["--monkeys", "spof", "--monkey-offset", "0"];
    let judged = judge(liar().to_str().unwrap(), "4s", &flags, &[]);
    assert_eq!(judged.output.status.code(), Some(1), "{}", judged.text());
    assert_eq!(judged.result["failure"]["kind"], "no_progress");
    assert!(judged.message().contains("node 0"), "{}", judged.message());
}

#[test]
fn a_script_without_an_interpreter_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("solution");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let judged = judge(script.to_str().unwrap(), "1s", &[], &[]);
    assert!(!judged.output.status.success());
    assert!(
        judged.text().contains("/no/such/interpreter"),
        "{}",
        judged.text()
    );
    assert_ne!(judged.result["passed"], true);
}
