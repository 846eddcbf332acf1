//! The chapters of `docs/stories/` are true: each one's script asserts what its text says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use level4::simulation::{Notes, Plant, Story, Trace};
use octopus::trace::Event;

fn played(name: &str) -> (octopus::trace::Trace, Notes) {
    let story = Story::named(name).unwrap();
    let written = Trace::default();
    let notes = story.play(written.clone());
    let text = written.text();
    let again = Trace::default();
    story.play(again.clone());
    assert_eq!(text, again.text(), "a story is always the same");
    let trace = octopus::trace::Trace::read(text.as_bytes(), Path::new(name)).unwrap();
    (trace, notes)
}

/// What happens after the story's beginning.
fn events(name: &str) -> Vec<Event> {
    let (trace, notes) = played(name);
    let from = trace.events[0].t + notes.begins * 1_000;
    let events = trace.events.into_iter();
    events.filter(|event| event.t >= from).collect()
}

fn nodes_that<'a>(events: &'a [Event], kind: &str, role: &str) -> Vec<&'a str> {
    let found = events
        .iter()
        .filter(|event| event.kind == kind && event.role.as_deref() == Some(role));
    found.map(|event| event.node.as_deref().unwrap()).collect()
}

#[test]
fn every_story_goes_as_it_is_told_and_has_a_chapter() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/stories");
    for story in Story::ALL {
        let (trace, notes) = played(story.name);
        assert_eq!(trace.header.title.as_deref(), Some(story.title));
        assert!(trace.header.replay.unwrap().contains(story.name));
        assert!(!notes.marks.is_empty());
        let chapter = std::fs::read_to_string(folder.join(format!("{}.md", story.name))).unwrap();
        assert!(
            chapter.starts_with(&format!("# {}\n", story.title)),
            "{}",
            story.name
        );
        assert!(chapter.contains(&format!("--story {} --html", story.name)));
    }
}

#[test]
fn two_candidates_to_be_are_one_election() {
    let events = events("pre-vote");
    assert_eq!(nodes_that(&events, "become", "precandidate"), ["1", "2"]);
    assert_eq!(nodes_that(&events, "become", "candidate"), ["2"]);
}

/// A random run hardly ever comes by this: two leaders have to crash between two messages each.
#[test]
fn an_entry_of_an_earlier_term_that_is_committed_by_counting_is_found() {
    let story = Story::named("old-term").unwrap();
    let planted = || story.play_with(Some(Plant::OldTerm), Trace::default());
    let panic = panic::catch_unwind(AssertUnwindSafe(planted)).unwrap_err();
    let told = panic.downcast_ref::<String>().unwrap();
    assert!(
        told.contains("nodes apply different entries at 12, of terms 3 and 4"),
        "{told}"
    );
}

#[test]
fn a_newcomer_begins_with_what_others_have_no_log_of() {
    let events = events("newcomer");
    let at = |kind: &str, what: &str| {
        events.iter().position(|event| {
            event.kind == kind
                && event.what.as_deref() == Some(what)
                && event.node.as_deref() == Some("3")
        })
    };
    assert!(at("snapshot", "restored").is_some());
}

#[test]
fn entries_follow_on_the_index_that_their_append_names() {
    let events = events("appends");
    let appends = events
        .iter()
        .filter(|event| event.kind == "deliver" && event.message.as_deref() == Some("Append"));
    let mut refused = 0;
    let mut carried = 0;
    for append in appends {
        let behind = append.more["behind"].as_u64().unwrap();
        if let Some(first) = append.entries.first() {
            assert_eq!(first.index, behind + 1);
            carried += 1;
        }
    }
    for event in &events {
        let is_answer = event.message.as_deref() == Some("AppendResponse");
        refused += u64::from(is_answer && event.text.as_deref() == Some("refused"));
    }
    assert!(carried > 0 && refused > 0, "{carried} {refused}");
}
