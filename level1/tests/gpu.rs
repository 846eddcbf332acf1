//! The graphics processor's kernel against the `sha1` crate.
//!
//! Runs on whatever device there is, a software one included (Debian's `mesa-vulkan-drivers`), and
//! says so and passes where there is none.
#![cfg(feature = "gpu")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use level1::{
    Alphabet, Batch, COLUMNS, CommitTemplate, Device, GpuError, GpuKernel, HashFunction, Job,
    Kernel, Nonce, ObjectId, Placement, ROWS, Schedules, Sink, Target, Tuning, Work,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::ops::ControlFlow;

fn kernel() -> Option<GpuKernel> {
    device().map(|device| GpuKernel::new(&device).unwrap())
}

fn device() -> Option<Device> {
    match Device::open(None) {
        Ok(device) => {
            println!("device: {}", device.info());
            Some(device)
        }
        Err(GpuError::NoDevice) => {
            println!("skipped: {}", GpuError::NoDevice);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn commit(message: &str) -> Placement {
    let text = format!(
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
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

fn everything() -> Target {
    Target::below(&"f".repeat(41)).unwrap()
}

#[derive(Default)]
struct Recorder {
    candidates: Vec<Nonce>,
    tried: u64,
    stop_after: Option<u64>,
}

impl Sink for Recorder {
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()> {
        self.candidates.push(nonce);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, tried: u64) -> ControlFlow<()> {
        self.tried += tried;
        match self.stop_after {
            Some(limit) if self.tried >= limit => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn nonces(batch: &Batch) -> impl Iterator<Item = Nonce> {
    let columns = batch.columns.clone();
    batch
        .rows
        .clone()
        .flat_map(move |row| columns.clone().map(move |at| Nonce::at(row, at)))
}

#[test]
fn no_nonce_is_skipped_or_tried_twice() {
    let Some(mut kernel) = kernel() else { return };
    let template = CommitTemplate::new(&commit("Title\n"), 1);
    let work = Work::new(template.tail(), &everything());
    let group = kernel.rows_per_batch();
    // Less than a work group, one that is not full, more rows than the buffer holds (so many
    // hits that they have to be fetched in full, or the step repeated), the last rows of all.
    let batches = [
        (0..1, 0..2),
        (7..7 + 61, 31..34),
        (5..5 + 130, 0..300),
        (100..100 + group + 67, 0..3),
        (ROWS - 3..ROWS, COLUMNS - 5..COLUMNS),
        (3..9, 5..5),
    ];
    for (rows, columns) in batches {
        let batch = Batch { rows, columns };
        let mut recorder = Recorder::default();
        assert!(kernel.scan(&work, &batch, &mut recorder).is_continue());
        let expected: Vec<Nonce> = nonces(&batch).collect();
        assert_eq!(recorder.tried, expected.len() as u64, "{batch:?}");
        recorder.candidates.sort_unstable();
        assert!(
            recorder.candidates == expected,
            "{batch:?}: other nonces than these"
        );
    }
}

#[test]
fn however_the_work_is_cut_every_nonce_is_tried_once() {
    let Some(device) = device() else { return };
    let template = CommitTemplate::new(&commit("Title\n"), 1);
    let work = Work::new(template.tail(), &everything());
    let tunings = [
        (64, 1, 1, Schedules::Uniform),
        (96, 3, 2, Schedules::Uniform),
        (128, 2, 3, Schedules::Storage),
        (32, 4, 0, Schedules::Storage),
        (256, 1, 3, Schedules::Storage),
    ];
    for (workgroup, rows_per_invocation, multiplied, schedules) in tunings {
        let device = device.tuned(Tuning {
            rows: 2000,
            workgroup,
            rows_per_invocation,
            multiplied,
            schedules,
            ..device.tuning()
        });
        println!("{}", device.tuning());
        let mut kernel = GpuKernel::new(&device).unwrap();
        // More rows than fit, the ends of work groups and of slices of columns.
        for (rows, columns) in [(11..11 + 2500, 7..9), (3..3 + 70, 100..600)] {
            let batch = Batch { rows, columns };
            let mut recorder = Recorder::default();
            assert!(kernel.scan(&work, &batch, &mut recorder).is_continue());
            recorder.candidates.sort_unstable();
            let expected: Vec<Nonce> = nonces(&batch).collect();
            assert!(recorder.candidates == expected, "{}", device.tuning());
        }
    }
}

#[test]
fn a_hit_in_every_place_of_a_work_group_is_found() {
    let Some(mut kernel) = kernel() else { return };
    let template = CommitTemplate::new(&commit("Title\n"), 5);
    let batch = Batch {
        rows: 40..40 + 64,
        columns: 9..10,
    };
    for nonce in nonces(&batch) {
        // The whole id as prefix: only this one nonce is a match.
        let id = template.id(nonce).to_string();
        let job = Job::new(template.clone(), Target::prefix(&id).unwrap());
        let mut recorder = Recorder::default();
        let _ = kernel.scan(job.work(), &batch, &mut recorder);
        let matches = recorder
            .candidates
            .into_iter()
            .filter_map(|at| job.check(at));
        assert_eq!(
            matches.map(|found| found.nonce).collect::<Vec<_>>(),
            [nonce]
        );
    }
}

#[test]
fn random_templates_and_targets_agree_with_the_crate() {
    let Some(mut kernel) = kernel() else { return };
    let cases = (
        "[ -~\n]{0,300}",
        any::<u64>(),
        0..ROWS - 200,
        1u64..150,
        0..COLUMNS - 4,
        1usize..40,
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let kernel = std::cell::RefCell::new(&mut kernel);
    let result = runner.run(
        &cases,
        |(message, seed, first_row, rows, first_column, rank)| {
            let template = CommitTemplate::new(&commit(&message), seed);
            let batch = Batch {
                rows: first_row..first_row + rows,
                columns: first_column..first_column + 4,
            };
            let mut ids: Vec<ObjectId> = nonces(&batch).map(|nonce| template.id(nonce)).collect();
            ids.sort_unstable();
            let bound = ids[rank.min(ids.len() - 1)];
            let job = Job::new(template, Target::below(&bound.to_string()).unwrap());
            let expected: Vec<Nonce> = nonces(&batch)
                .filter(|&nonce| job.check(nonce).is_some())
                .collect();
            let mut recorder = Recorder::default();
            let _ = kernel.borrow_mut().scan(job.work(), &batch, &mut recorder);
            let mut found = recorder.candidates;
            found.retain(|&nonce| job.check(nonce).is_some());
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            Ok(())
        },
    );
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_stopped_kernel_can_be_used_again() {
    let Some(mut kernel) = kernel() else { return };
    let template = CommitTemplate::new(&commit("Title\n"), 1);
    let rare = Work::new(template.tail(), &Target::below("00000001").unwrap());
    let large = Batch {
        rows: 0..kernel.rows_per_batch() * 4,
        columns: 0..COLUMNS,
    };
    let mut recorder = Recorder {
        stop_after: Some(1),
        ..Recorder::default()
    };
    assert!(kernel.scan(&rare, &large, &mut recorder).is_break());
    let all = Work::new(template.tail(), &everything());
    let small = Batch {
        rows: 3..8,
        columns: 2..9,
    };
    let mut recorder = Recorder::default();
    assert!(kernel.scan(&all, &small, &mut recorder).is_continue());
    recorder.candidates.sort_unstable();
    assert_eq!(recorder.candidates, nonces(&small).collect::<Vec<_>>());
}

#[test]
fn a_device_that_is_not_there_is_refused_by_number() {
    let Some(_) = kernel() else { return };
    let error = Device::open(Some(999)).err().unwrap();
    assert!(matches!(error, GpuError::NoSuchDevice(999, _)), "{error}");
}
