//! Measuring kernels: the rate on some threads, and an estimate of the processor's clock.

use crate::commit::Commit;
use crate::job::Job;
use crate::kernel::KernelError;
use crate::target::Target;
use crate::template::CommitTemplate;
use crate::workers::{Control, Workers, search};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

/// Time for threads to start and tables to be filled, before counting begins.
const WARM_UP: Duration = Duration::from_millis(100);

/// The rate of a workers in hashes a second, counted over `duration`.
pub fn rate(workers: &Workers, duration: Duration) -> Result<f64, KernelError> {
    let job = hopeless_job();
    let control = Control::default();
    thread::scope(|scope| {
        let timer = scope.spawn(|| {
            thread::sleep(WARM_UP);
            let (before, started) = (control.tried(), Instant::now());
            thread::sleep(duration);
            let (after, elapsed) = (control.tried(), started.elapsed());
            control.halt();
            (after - before) as f64 / elapsed.as_secs_f64()
        });
        search(&job, workers, &control, &mut || ControlFlow::Continue(()))?;
        Ok(timer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// A job that no search of a human length answers, about a commit of ordinary size.
pub fn hopeless_job() -> Job {
    let text = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                author Ann Example <ann@example.com> 1390435200 +0000\n\
                committer Ann Example <ann@example.com> 1390435200 +0000\n\nMine a gitcoin\n";
    let (Ok(commit), Ok(target)) = (Commit::parse(text.as_bytes()), Target::below(HOPELESS)) else {
        unreachable!("both are constants")
    };
    Job::new(CommitTemplate::new(&commit, 0), target)
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
