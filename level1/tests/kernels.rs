//! Every kernel against the `sha1` crate: which nonces are matches, and that each is tried once.

#![allow(clippy::unwrap_used)]

use level1::{
    Alphabet, Backend, Batch, COLUMNS, CommitTemplate, HashFunction, Job, Kernel, Nonce, ObjectId,
    Placement, ROWS, Sink, Target, Work,
};
use proptest::prelude::*;
use std::ops::ControlFlow;

fn commit(message: &str) -> Placement {
    let text = format!(
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
         parent 8a1b1b8aca4b0e0ea0ac8a4f6ed2a6d3ce1a0f4c\n\
         author Ann Example <ann@example.com> 1390435200 +0000\n\
         committer Ann Example <ann@example.com> 1390435200 +0100\n\n{message}"
    );
    Placement {
        hash: HashFunction::Sha1,
        before: text.into_bytes(),
        alphabet: Alphabet::Base32,
        after: Vec::new(),
    }
}

fn kernels() -> Vec<(Backend, Box<dyn Kernel>)> {
    Backend::supported()
        .map(|backend| (backend, backend.kernel().unwrap()))
        .collect()
}

/// Keeps what a kernel reports, and stops it after a number of nonces.
struct Recorder {
    candidates: Vec<Nonce>,
    tried: u64,
    stop_at: u64,
}

impl Recorder {
    fn new() -> Self {
        Self {
            candidates: Vec::new(),
            tried: 0,
            stop_at: u64::MAX,
        }
    }
}

impl Sink for Recorder {
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()> {
        self.candidates.push(nonce);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, tried: u64) -> ControlFlow<()> {
        self.tried += tried;
        if self.tried < self.stop_at {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// The ids of a rectangle, each hashed from the whole object by the `sha1` crate.
fn ids(template: &CommitTemplate, batch: &Batch) -> Vec<(Nonce, ObjectId)> {
    let columns = batch.columns.clone();
    let nonces = batch
        .rows
        .clone()
        .flat_map(|row| columns.clone().map(move |column| Nonce::at(row, column)));
    nonces.map(|nonce| (nonce, template.id(nonce))).collect()
}

/// A target that few of `ids` meet, but at least one.
fn target_among(ids: &[(Nonce, ObjectId)], rank: usize) -> Target {
    let mut sorted: Vec<ObjectId> = ids.iter().map(|(_, id)| *id).collect();
    sorted.sort_unstable();
    let bound = sorted[rank.clamp(1, sorted.len() - 1)];
    Target::below(&bound.to_string()).unwrap()
}

#[test]
fn every_message_tail_gives_the_crates_finds() {
    let mut kernels = kernels();
    // The message's end takes every place in a block, so 55, 56, 63, 64, 119 and 120 are among
    // them, and the length's digits change on the way.
    for length in 0..=192usize {
        let template = CommitTemplate::new(&commit(&"m".repeat(length)), length as u64);
        let batch = Batch {
            rows: 0..5,
            columns: 1000..1040,
        };
        let all = ids(&template, &batch);
        let target = target_among(&all, 7);
        let job = Job::new(template, target);
        let mut expected: Vec<Nonce> = all
            .iter()
            .filter(|(_, id)| target.contains(*id))
            .map(|(nonce, _)| *nonce)
            .collect();
        expected.sort_unstable();
        for (backend, kernel) in &mut kernels {
            let mut recorder = Recorder::new();
            let flow = kernel.scan(job.work(), &batch, &mut recorder);
            assert_eq!(flow, ControlFlow::Continue(()));
            assert_eq!(recorder.tried, 200);
            let mut matches: Vec<Nonce> = recorder
                .candidates
                .iter()
                .filter_map(|&nonce| job.check(nonce))
                .map(|found| found.nonce)
                .collect();
            matches.sort_unstable();
            assert_eq!(matches, expected, "{backend}, message of {length} bytes");
        }
    }
}

#[test]
fn no_nonce_is_skipped_or_tried_twice() {
    // A filter that lets everything through makes the candidates the record of what was tried.
    let template = CommitTemplate::new(&commit("Title\n"), 1);
    let everything = Target::below(&"f".repeat(41)).unwrap();
    let work = Work::new(template.tail(), &everything);
    for (backend, kernel) in &mut kernels() {
        let rows = kernel.rows_per_batch();
        // Fewer rows than lanes, a number that leaves lanes over, more than one table, the end.
        let row_ranges = [0..1, 7..7 + 61, 100..100 + rows + 67, ROWS - 3..ROWS];
        for rows in row_ranges {
            for columns in [0..2, 31..34, COLUMNS - 1..COLUMNS, 5..5] {
                let batch = Batch {
                    rows: rows.clone(),
                    columns,
                };
                let mut recorder = Recorder::new();
                let _ = kernel.scan(&work, &batch, &mut recorder);
                let mut tried = recorder.candidates;
                assert_eq!(recorder.tried, tried.len() as u64, "{backend}: {batch:?}");
                tried.sort_unstable();
                let expected: Vec<Nonce> = batch
                    .rows
                    .clone()
                    .flat_map(|row| batch.columns.clone().map(move |at| Nonce::at(row, at)))
                    .collect();
                assert_eq!(tried, expected, "{backend}: {batch:?}");
            }
        }
    }
}

#[test]
fn a_range_is_searched_from_end_to_end() {
    let job = Job::new(
        CommitTemplate::new(&commit("Title\n"), 9),
        Target::below("0008").unwrap(),
    );
    let start = u64::from(COLUMNS) * 3 - 1000;
    let range = start..=start + u64::from(COLUMNS) + 5000;
    let expected: Vec<Nonce> = range
        .clone()
        .map(Nonce)
        .filter(|&nonce| job.check(nonce).is_some())
        .collect();
    assert!(!expected.is_empty());
    for (backend, kernel) in &mut kernels() {
        let searched = job.search(kernel.as_mut(), range.clone());
        assert_eq!(searched.tried, range.end() - range.start() + 1, "{backend}");
        let mut matches: Vec<Nonce> = searched.matches.iter().map(|found| found.nonce).collect();
        matches.sort_unstable();
        assert_eq!(matches, expected, "{backend}");
        for found in searched.matches {
            assert_eq!(ObjectId::of("commit", &found.commit), found.id);
        }
    }
}

#[test]
fn a_sink_can_stop_a_kernel() {
    let template = CommitTemplate::new(&commit("Title\n"), 1);
    let work = Work::new(template.tail(), &Target::below("00000001").unwrap());
    for (backend, kernel) in &mut kernels() {
        let batch = Batch {
            rows: 0..kernel.rows_per_batch(),
            columns: 0..COLUMNS,
        };
        let mut recorder = Recorder {
            stop_at: 10_000,
            ..Recorder::new()
        };
        assert!(
            kernel.scan(&work, &batch, &mut recorder).is_break(),
            "{backend}"
        );
        assert!(
            recorder.tried < 100_000,
            "{backend} went on to {}",
            recorder.tried
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_templates_and_targets_agree_with_the_crate(
        message in "[ -~\n]{0,300}",
        seed: u64,
        first_row in 0..ROWS - 200,
        rows in 1u64..150,
        first_column in 0..COLUMNS - 4,
        rank in 1usize..40,
        prefix in proptest::option::of(1usize..4),
    ) {
        let template = CommitTemplate::new(&commit(&message), seed);
        let batch = Batch { rows: first_row..first_row + rows, columns: first_column..first_column + 4 };
        let all = ids(&template, &batch);
        let target = match prefix {
            Some(digits) => Target::prefix(&all[rank % all.len()].1.to_string()[..digits]).unwrap(),
            None => target_among(&all, rank),
        };
        let job = Job::new(template, target);
        let mut expected: Vec<Nonce> = all
            .iter()
            .filter(|(_, id)| target.contains(*id))
            .map(|(nonce, _)| *nonce)
            .collect();
        expected.sort_unstable();
        for (backend, kernel) in &mut kernels() {
            let mut recorder = Recorder::new();
            let _ = kernel.scan(job.work(), &batch, &mut recorder);
            let mut candidates = recorder.candidates;
            candidates.sort_unstable();
            candidates.retain(|&nonce| job.check(nonce).is_some());
            prop_assert_eq!(&candidates, &expected, "{}", backend);
        }
    }

    #[test]
    fn other_shapes_agree_with_the_crates(
        before in 0usize..200,
        after in prop_oneof![Just(0usize), 0usize..200],
        seed: u64,
        is_sha256: bool,
        is_blank: bool,
        first_row in 0..ROWS - 600,
        rows in prop_oneof![1u64..150, Just(520)],
        first_column in 0..COLUMNS - 2,
        rank in 1usize..40,
    ) {
        let placement = Placement {
            hash: if is_sha256 { HashFunction::Sha256 } else { HashFunction::Sha1 },
            before: vec![b'x'; before],
            alphabet: if is_blank { Alphabet::Blank } else { Alphabet::Base32 },
            after: vec![b'y'; after],
        };
        let template = CommitTemplate::new(&placement, seed);
        let batch = Batch { rows: first_row..first_row + rows, columns: first_column..first_column + 2 };
        let all = ids(&template, &batch);
        let mut sorted: Vec<ObjectId> = all.iter().map(|(_, id)| *id).collect();
        sorted.sort_unstable();
        let bound = sorted[rank.clamp(1, sorted.len() - 1)];
        let target = Target::below_with(placement.hash, &bound.to_string()).unwrap();
        let job = Job::new(template, target);
        let mut expected: Vec<Nonce> = all
            .iter()
            .filter(|(_, id)| target.contains(*id))
            .map(|(nonce, _)| *nonce)
            .collect();
        expected.sort_unstable();
        for (backend, kernel) in &mut kernels() {
            let mut recorder = Recorder::new();
            let _ = kernel.scan(job.work(), &batch, &mut recorder);
            prop_assert_eq!(recorder.tried, all.len() as u64);
            let mut candidates = recorder.candidates;
            candidates.sort_unstable();
            candidates.retain(|&nonce| job.check(nonce).is_some());
            prop_assert_eq!(&candidates, &expected, "{}", backend);
        }
    }
}

/// What `docs/two-levels.md` says, by the numbers that its picture shows.
#[path = "../examples/two_levels/story.rs"]
mod story;

mod the_story_of_two_levels {
    use super::story::{Piece, REACHED, SIDE, State, Work, tell};

    fn hex(state: State) -> String {
        state.map(|word| format!("{word:08x}")).concat()
    }

    #[test]
    fn ends_with_the_ids_that_the_crate_computes() {
        let story = tell();
        let mut seen = 0;
        for piece in &story.pieces {
            if let Work::Hash { row, column } = piece.work {
                let id = hex(piece.end().unwrap());
                assert_eq!(id, story.ids[row][column].to_string(), "{row}, {column}");
                seen += 1;
            }
        }
        assert_eq!(seen, SIDE * SIDE);
        // One of them would be a coin if a zero were enough.
        let ids = story.ids.iter().flatten().map(ToString::to_string);
        assert_eq!(ids.filter(|id| id.starts_with('0')).count(), 1);
    }

    #[test]
    fn does_each_piece_once_for_all_that_it_serves() {
        let story = tell();
        let of = |kind: &dyn Fn(Work) -> bool| -> Vec<&Piece> {
            story
                .pieces
                .iter()
                .filter(|piece| kind(piece.work))
                .collect()
        };
        let carries = of(&|work| matches!(work, Work::Carry(_)));
        let hashes = of(&|work| matches!(work, Work::Hash { .. }));
        assert_eq!((carries.len(), hashes.len()), (SIDE, SIDE * SIDE));
        for hash in hashes {
            let Work::Hash { row, column } = hash.work else {
                continue;
            };
            // It goes on where its row has come, whatever its column.
            assert_eq!(hash.states[0], carries[row].states[REACHED]);
            assert_eq!((hash.first, hash.states.len() - 1), (REACHED, 80 - REACHED));
            // No column reaches the words before, and no row the words behind.
            assert_eq!(hash.words[..REACHED], carries[row].words[..REACHED]);
            let schedule = of(&|work| work == Work::Schedule(column))[0];
            assert_eq!(hash.words, schedule.words);
        }
        let columns = of(&|work| matches!(work, Work::Schedule(_)));
        assert!(
            (1..SIDE).all(|column| columns[column].words[REACHED] != columns[0].words[REACHED])
        );
        // The digits stand where they are drawn.
        let last = story.padded.len() - 64;
        assert_eq!(
            story.padded[last - 10..last],
            *story.row_digits[0].as_bytes()
        );
        assert_eq!(
            story.padded[last + 52..last + 55],
            *story.column_digits[0].as_bytes()
        );
        assert_eq!(story.padded[last + 55], 0x80);
    }
}
