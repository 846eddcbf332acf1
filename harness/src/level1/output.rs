//! What a solution prints: passed on to the user as it comes, and searched for its speed.

use std::{
    io::{self, Read, Write},
    process::Command,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// How much of the end of the output is kept, in bytes; the speed is in the last lines.
const TAIL: usize = 1 << 16;

/// How long to wait for the pipe to close after the solution has ended.
const CLOSING: Duration = Duration::from_secs(5);

/// What a solution prints, being kept and perhaps passed on to stderr.
#[derive(Debug)]
pub struct Relay {
    tail: Arc<Mutex<Vec<u8>>>,
    closed: mpsc::Receiver<()>,
}

impl Relay {
    /// Has a command print to one pipe, so that its last words are last, whichever stream they are
    /// said on. The command holds the pipe open, and must be dropped once it was started.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Self::to(command, io::stderr())
    }

    /// The same for one of many: what it prints is kept and not passed on.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn quiet(command: &mut Command) -> io::Result<Self> {
        Self::to(command, io::sink())
    }

    fn to(command: &mut Command, audience: impl Write + Send + 'static) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let tail = Arc::default();
        let (closing, closed) = mpsc::channel();
        pass_on(reader, audience, Arc::clone(&tail), closing);
        Ok(Self { tail, closed })
    }

    /// The end of what was printed; call it when the solution has ended.
    pub fn tail(self) -> String {
        // The sender goes when the pipe closes; a stray child may keep it open for ever.
        let _closed_or_late = self.closed.recv_timeout(CLOSING);
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&tail).into_owned()
    }
}

/// Ends when the pipe does, which is when the last process that holds it has ended.
fn pass_on(
    mut pipe: impl Read + Send + 'static,
    mut audience: impl Write + Send + 'static,
    tail: Arc<Mutex<Vec<u8>>>,
    closing: mpsc::Sender<()>,
) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let _ = audience.write_all(&buffer[..count]);
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend_from_slice(&buffer[..count]);
            let excess = tail.len().saturating_sub(TAIL);
            tail.drain(..excess);
        }
        drop(closing);
    });
}

/// The last `N MH/s` of a text.
pub fn last_rate(text: &str) -> Option<f64> {
    let mut parts: Vec<_> = text.split("MH/s").collect();
    parts.pop();
    parts.iter().rev().find_map(|before| {
        let before = before.trim_end_matches([' ', '\u{a0}']);
        let start = before.rfind(|c: char| !c.is_ascii_digit() && c != '.');
        let number = start.map_or(before, |at| {
            before[at..].trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.')
        });
        number.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_speed_counts() {
        assert_eq!(last_rate("12 MH/s\r 13.5 MH/s, done\n"), Some(13.5));
        assert_eq!(last_rate("rate: 471MH/s"), Some(471.0));
        assert_eq!(last_rate("→7 MH/s then MH/s"), Some(7.0));
        assert_eq!(last_rate("0.9 MH/s and ? MH/s"), Some(0.9));
        assert_eq!(last_rate("22 kH/s"), None);
        assert_eq!(last_rate(""), None);
    }
}
