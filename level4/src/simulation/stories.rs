//! Nine stories from the life of a cluster, each a short script, to be looked at as a picture and told in
//! `docs/stories/`. What a chapter claims, its script asserts.

use raft::eraftpb::MessageType;

use super::cluster::{Fate, Notes, Stage};
use super::plant::Plant;
use super::record::Trace;
use crate::message::PeerMessage;

/// Entries between snapshots where none is to be taken.
const NO_SNAPSHOT: u64 = 1 << 40;

/// A chapter.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// On the command line, and of its file in `docs/stories/`.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    size: usize,
    /// Machines that come later.
    down: usize,
    snapshot: u64,
    play: fn(&mut Stage),
}

impl Story {
    const fn of_three(name: &'static str, title: &'static str, play: fn(&mut Stage)) -> Self {
        Self {
            name,
            title,
            size: 3,
            down: 0,
            snapshot: NO_SNAPSHOT,
            play,
        }
    }

    /// All of them, in the order of the chapters.
    pub const ALL: [Self; 9] = [
        Self::of_three("write", "A write by a follower", write),
        Self::of_three("crash", "The leader crashes", crash),
        Self::of_three(
            "pre-vote",
            "Two stand at once, and no vote is split",
            pre_vote,
        ),
        Self::of_three("cut-off", "A leader that is cut off", cut_off),
        Self::of_three("read", "A read waits for the end of the log", read),
        Self::of_three("overheard", "Answered before the leader knows", overheard),
        Self {
            size: 4,
            down: 1,
            snapshot: 10,
            ..Self::of_three("newcomer", "A newcomer gets a snapshot", newcomer)
        },
        Self::of_three("appends", "Entries follow on what they name", appends),
        Self {
            size: 5,
            ..Self::of_three("old-term", "An entry of an earlier term", old_term)
        },
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|story| story.name == name)
    }

    /// Plays it, and writes down what happens.
    ///
    /// # Panics
    ///
    /// If something is not as the chapter says.
    pub fn play(&self, trace: Trace) -> Notes {
        self.play_with(None, trace)
    }

    /// The same with a bug, if there is to be one.
    ///
    /// # Panics
    ///
    /// As [`Story::play`], and where the bug is found.
    pub fn play_with(&self, plant: Option<Plant>, trace: Trace) -> Notes {
        let named = (self.name, self.title);
        let mut stage = Stage::new(named, self.size, self.down, self.snapshot, plant, trace);
        (self.play)(&mut stage);
        stage.end()
    }
}

fn is_raft(message: &PeerMessage, kind: MessageType) -> bool {
    matches!(message, PeerMessage::Raft(message) if message.msg_type == kind)
}

/// What tells a node that another one has entries on its disk.
fn acknowledges(message: &PeerMessage) -> bool {
    is_raft(message, MessageType::MsgAppendResponse) || matches!(message, PeerMessage::Ack { .. })
}

fn write(stage: &mut Stage) {
    stage.mark("a client asks node 1, which follows");
    let client = stage.write(1);
    stage.follow(client);
    let ms = stage.until("the client is answered", |stage| stage.is_answered(client));
    stage.mark("node 1 answers: two ways of a message after it was asked");
    assert!((20..30).contains(&ms), "{ms} ms");
    stage.until("all have it", Stage::is_level);
}

fn crash(stage: &mut Stage) {
    let term = stage.term(0);
    stage.mark("a client asks node 1, and the leader crashes");
    let client = stage.write(1);
    stage.follow(client);
    stage.pass(5);
    stage.crash(0);
    stage.until("another one leads", |stage| {
        stage.leads(1) || stage.leads(2)
    });
    stage.mark("another one leads, and gets the request again");
    assert!(!stage.is_answered(client), "nobody could answer");
    stage.until("the client is answered", |stage| stage.is_answered(client));
    assert_eq!(stage.term(1), term + 1, "one election was enough");
    stage.mark("the old leader comes back, and follows");
    stage.start(0);
    stage.until("all have it", Stage::is_level);
    assert!(!stage.leads(0));
}

fn pre_vote(stage: &mut Stage) {
    let term = stage.term(0);
    stage.mark("the leader crashes; what node 1 asks will be late");
    stage.wind(|from, _, message| {
        let is_asked = is_raft(message, MessageType::MsgRequestPreVote);
        if from == 1 && is_asked {
            Fate::Late(300)
        } else {
            Fate::Usual
        }
    });
    stage.crash(0);
    stage.until("somebody leads", |stage| stage.leads(1) || stage.leads(2));
    stage.mark("one election, one term");
    assert!(stage.leads(2), "node 2 stood second, and was heard first");
    stage.pass(500);
    assert!(stage.leads(2), "what node 1 had asked changes nothing");
    for place in [1, 2] {
        assert_eq!(stage.term(place), term + 1, "node {place}");
    }
}

fn cut_off(stage: &mut Stage) {
    let term = stage.term(0);
    stage.mark("node 0 leads, and is cut off; nobody is told");
    stage.cut(&[(0, 1), (0, 2)]);
    let lost = stage.write(0);
    stage.follow(lost);
    stage.until("node 0 gives up", |stage| !stage.leads(0));
    stage.mark("node 0 has heard of no quorum for too long, and leads no more");
    stage.until("another one leads", |stage| {
        stage.leads(1) || stage.leads(2)
    });
    let other = stage.write(1);
    stage.until("the others answer", |stage| stage.is_answered(other));
    assert!(!stage.is_answered(lost), "a minority answers nothing");
    assert_eq!(stage.term(0), term, "and does not drive up its term");
    stage.mark("the links are whole again");
    stage.join();
    stage.until("what node 0 was asked is done", |stage| {
        stage.is_answered(lost)
    });
    stage.until("all have it", Stage::is_level);
}

fn read(stage: &mut Stage) {
    stage.wind(|_, to, message| {
        if to == 0 && acknowledges(message) {
            Fate::Lost
        } else {
            Fate::Usual
        }
    });
    stage.mark("node 1 is asked to write; the leader will hear of no acknowledgement");
    let writer = stage.write(1);
    stage.until("node 1 answers", |stage| stage.is_answered(writer));
    assert!(
        stage.commit(0) < stage.commit(1),
        "the leader knows less than a client"
    );
    stage.mark("node 1 has answered; now somebody reads at the leader");
    let reader = stage.read(0);
    stage.follow_read(reader);
    stage.pass(60);
    assert!(
        !stage.is_answered(reader),
        "it would miss what was acknowledged"
    );
    stage.mark("acknowledgements get through again");
    stage.calm();
    stage.until("the read is answered", |stage| stage.is_answered(reader));
    assert_eq!(stage.commit(0), stage.commit(1));
}

fn overheard(stage: &mut Stage) {
    stage.wind(|_, to, message| {
        if to == 0 && acknowledges(message) {
            Fate::Lost
        } else {
            Fate::Usual
        }
    });
    stage.mark("node 1 is asked to write");
    let writer = stage.write(1);
    stage.follow(writer);
    stage.until("node 1 answers", |stage| stage.is_answered(writer));
    assert!(stage.commit(0) < stage.commit(1));
    stage.mark("node 1 has answered, and the leader crashes before it knows");
    stage.crash(0);
    stage.until("another one leads", |stage| {
        stage.leads(1) || stage.leads(2)
    });
    stage.calm();
    stage.mark("whoever leads now has what was acknowledged");
    let reader = stage.read(2);
    // The read fails if it does not see what was acknowledged before.
    stage.until("node 2 answers", |stage| stage.is_answered(reader));
}

fn newcomer(stage: &mut Stage) {
    for _ in 0..15 {
        let client = stage.write(0);
        stage.until("the client is answered", |stage| stage.is_answered(client));
    }
    stage.until("all have it", Stage::is_level);
    stage.mark("node 3 starts with nothing on its disk; the others' logs begin too late for it");
    stage.start(3);
    stage.until("it votes", |stage| stage.voters() == 4 && stage.is_level());
    stage.mark("it has everything, and votes");
}

fn appends(stage: &mut Stage) {
    stage.mark("what goes from the leader to node 2 is lost from now on; nobody is told");
    stage.wind(|from, to, message| {
        let is_append = is_raft(message, MessageType::MsgAppend);
        if (from, to) == (0, 2) && is_append {
            Fate::Lost
        } else {
            Fate::Usual
        }
    });
    let before = stage.last(2);
    for _ in 0..3 {
        let client = stage.write(0);
        stage.until("the client is answered", |stage| stage.is_answered(client));
    }
    assert_eq!(stage.last(2), before, "node 2 has none of them");
    stage.calm();
    stage.mark("the link works again; a fourth entry finds a gap");
    let client = stage.write(0);
    stage.follow(client);
    stage.until("the client is answered", |stage| stage.is_answered(client));
    stage.until("all have it", Stage::is_level);
    stage.mark("node 2 has them all");
}

/// Nobody but this node asks whether it could be elected.
fn stands_alone(place: usize) -> impl Fn(usize, &PeerMessage) -> Fate {
    move |from, message| {
        if from != place && is_raft(message, MessageType::MsgRequestPreVote) {
            Fate::Lost
        } else {
            Fate::Usual
        }
    }
}

/// Figure 8 of the Raft paper, up to (d).
fn old_term(stage: &mut Stage) {
    let term = stage.term(0);
    stage.mark("node 0 leads; what it is asked reaches nobody");
    stage.wind(|from, _, message| {
        if from == 0 && is_raft(message, MessageType::MsgAppend) {
            Fate::Lost
        } else {
            Fate::Usual
        }
    });
    let before = stage.last(0);
    let client = stage.write_long(0);
    stage.follow(client);
    stage.until("node 0 has it", |stage| stage.last(0) > before);
    let entry = stage.last(0);
    stage.pass(20);
    stage.crash(0);
    stage.mark("node 0 crashes; the others can elect node 4, which lacks the entry");
    let alone = stands_alone(4);
    stage.wind(move |from, _, message| {
        if from == 4 && is_raft(message, MessageType::MsgAppend) {
            Fate::Lost
        } else {
            alone(from, message)
        }
    });
    stage.until("node 4 leads", |stage| stage.leads(4));
    assert_eq!(stage.last(4), entry, "an entry of its own at this place");
    stage.pass(5);
    stage.crash(4);
    stage.mark("node 4 crashes with an entry of its own, and node 0 is back");
    let alone = stands_alone(0);
    let mut have_it = [false; 5];
    stage.wind(move |from, to, message| {
        let PeerMessage::Raft(append) = message else {
            return Fate::Usual;
        };
        if from != 0 || append.msg_type != MessageType::MsgAppend {
            return alone(from, message);
        }
        // What is to follow on an entry that they do not have, they refuse; then they get that one.
        let is_own = append.entries.iter().any(|entry| entry.term > term);
        have_it[to] |= !is_own && !append.entries.is_empty();
        if to < 3 && !(is_own && have_it[to]) {
            Fate::Usual
        } else {
            Fate::Lost
        }
    });
    stage.start(0);
    stage.until("node 0 leads again", |stage| stage.leads(0));
    stage.until("three have the entry", |stage| {
        stage.last(1) == entry && stage.last(2) == entry
    });
    stage.mark("three of five have the entry, of a term that is over");
    stage.pass(200);
    let taken_for_committed = stage.commit(2) >= entry;
    stage.crash(0);
    stage.mark("node 0 crashes; node 4 is back, and its last entry is of a later term");
    let alone = stands_alone(4);
    stage.wind(move |from, _, message| alone(from, message));
    stage.start(4);
    stage.until("node 4 leads", |stage| stage.leads(4));
    stage.calm();
    stage.until("its entries are everywhere", |stage| {
        stage.commit(2) > entry && stage.commit(3) > entry
    });
    assert!(!taken_for_committed, "and was replaced");
    stage.mark("what three had is gone, and nobody had taken it for committed");
    stage.start(0);
    stage.until("all have the same", Stage::is_level);
    assert_eq!(stage.term(0), term + 3);
}
