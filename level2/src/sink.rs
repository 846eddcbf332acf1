//! Lines to a file descriptor that somebody may not read: whoever writes one never waits.
//!
//! A thread of its own does the writing. What it cannot get rid of in time is dropped, and counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes that wait to be written.
const MOST: usize = 4 << 20;

/// A queue of lines. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Sink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was added, or everything was written.
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u8>,
    /// Whether the thread is about to write what it took.
    writing: bool,
}

impl Sink {
    /// A sink that writes to `out`. Errors are ignored: a reader that went away is no reason to stop.
    pub fn new(mut out: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = shared.clone();
        let body = move || {
            let mut taken = Vec::new();
            loop {
                writer.take(&mut taken);
                let _ = out.write_all(&taken).and_then(|()| out.flush());
                taken.clear();
            }
        };
        // Ends with the process: it may be stuck in a write for ever.
        if thread::Builder::new()
            .name("log".into())
            .spawn(body)
            .is_err()
        {
            shared.lock().writing = true;
        }
        Self(shared)
    }

    /// Adds a line, which must end with a line end.
    pub fn write(&self, line: &[u8]) {
        let mut queue = self.0.lock();
        if queue.waiting.len() + line.len() > MOST {
            self.0.dropped.fetch_add(1, Relaxed);
            return;
        }
        let wake = queue.waiting.is_empty() && !queue.writing;
        queue.waiting.extend_from_slice(line);
        if wake {
            self.0.changed.notify_all();
        }
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    /// Waits until everything is written, but not for longer than this.
    pub fn flush(&self, most: Duration) {
        let waiting = |queue: &mut Queue| queue.writing || !queue.waiting.is_empty();
        let queue = self.0.lock();
        let waited = self.0.changed.wait_timeout_while(queue, most, waiting);
        drop(waited);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, for the writing thread.
    fn take(&self, taken: &mut Vec<u8>) {
        let mut queue = self.lock();
        queue.writing = false;
        self.changed.notify_all();
        while queue.waiting.is_empty() {
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.waiting, taken);
        queue.writing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Writes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>, Arc<AtomicU64>);

    impl Write for Stuck {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            self.1.fetch_add(data.len() as u64, Relaxed);
            Ok(data.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_too_much_is_counted() {
        let (release, stuck) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let sink = Sink::new(Stuck(stuck, written.clone()));
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            sink.write(&line);
        }
        sink.flush(Duration::from_millis(1));
        let dropped = sink.dropped();
        assert!((10..20).contains(&dropped), "{dropped}");
        drop(release);
        sink.flush(Duration::from_secs(60));
        assert_eq!(written.load(Relaxed), (20 - dropped) << 20);
    }
}
