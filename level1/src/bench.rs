//! Measuring kernels: the rate on some threads, and an estimate of the processor's clock.

use crate::commit::Commit;
use crate::job::Job;
use crate::kernel::KernelError;
use crate::placement::Style;
use crate::target::Target;
use crate::template::CommitTemplate;
use crate::workers::{Control, Worker, Workers, search};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

/// Time for threads to start, tables to be filled and a device's steps to find their length,
/// before counting begins.
const WARM_UP: Duration = Duration::from_millis(100);
const WARM_UP_GPU: Duration = Duration::from_millis(400);

/// How often the count is looked at. A device counts once in a step of many milliseconds, so
/// that measuring begins and ends where the count changes.
const LOOK: Duration = Duration::from_micros(200);

/// The rate of some workers at a job in hashes a second, counted over at least `duration`. The job
/// should be a [hopeless](hopeless_job) one.
pub fn rate(job: &Job, workers: &Workers, duration: Duration) -> Result<f64, KernelError> {
    let control = Control::default();
    let has_gpu = workers
        .iter()
        .any(|worker| matches!(worker, Worker::Gpu(_)));
    let warm_up = if has_gpu { WARM_UP_GPU } else { WARM_UP };
    thread::scope(|scope| {
        let timer = scope.spawn(|| {
            thread::sleep(warm_up);
            let (before, started) = next_change(&control);
            thread::sleep(duration);
            let (after, ended) = next_change(&control);
            control.halt();
            (after - before) as f64 / (ended - started).as_secs_f64()
        });
        search(job, workers, &control, &mut || ControlFlow::Continue(()))?;
        Ok(timer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Waits until more nonces have been tried; how many, and when. Gives up after some seconds.
fn next_change(control: &Control) -> (u64, Instant) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let (before, started) = (control.tried(), Instant::now());
    loop {
        let (tried, now) = (control.tried(), Instant::now());
        if tried != before || now - started > PATIENCE {
            return (tried, now);
        }
        thread::sleep(LOOK);
    }
}

/// A job that no search of a human length answers, about a commit of ordinary size with its nonce
/// in this style.
pub fn hopeless_job(style: Style) -> Job {
    let text = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                author Ann Example <ann@example.com> 1390435200 +0000\n\
                committer Ann Example <ann@example.com> 1390435200 +0000\n\nMine a gitcoin\n";
    let placement = Commit::parse(text.as_bytes()).and_then(|commit| commit.place(Some(style)));
    let (Ok(placement), Ok(target)) = (placement, Target::below(HOPELESS)) else {
        unreachable!("both are constants, and an unsigned commit with a message takes any style")
    };
    Job::new(CommitTemplate::new(&placement, 0), target)
}

/// One id in 2^80.
const HOPELESS: &str = "00000000000000000001";

/// Rounds of the chain that measures the clock: some tens of milliseconds.
const CHAIN: u64 = 50_000_000;

/// The clock in Hz, estimated from a chain of rotations and exclusive ors, each of which waits for
/// the one before. Both take one cycle on every processor of the last twenty years; what the
/// system reports as the clock is often the nominal one.
pub fn clock() -> f64 {
    let started = Instant::now();
    let chain = |x: u64, _| x.rotate_left(7) ^ 0x9e37_79b9;
    black_box((0..black_box(CHAIN)).fold(black_box(1), chain));
    2.0 * CHAIN as f64 / started.elapsed().as_secs_f64()
}
