//! What people see while threads search: one line that is rewritten on a terminal, plain lines now
//! and then otherwise. Results go to standard output, everything else to standard error.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a plain line is written.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// How often the line on a terminal changes.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Over how long the rate shown is averaged, about.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// The progress of a search or of many.
#[derive(Debug)]
pub struct Progress {
    /// Present on a terminal.
    line: Option<ProgressBar>,
    next_at: Instant,
    window_start: (Instant, u64),
    rate: f64,
}

impl Progress {
    /// Progress on standard error.
    pub fn new() -> Self {
        let line = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        let now = Instant::now();
        let first = if line.is_some() {
            TERMINAL_INTERVAL
        } else {
            PLAIN_INTERVAL
        };
        Self {
            line,
            next_at: now + first,
            window_start: (now, 0),
            rate: 0.0,
        }
    }

    /// Takes the number of hashes tried so far and shows, if it is time, their rate and what
    /// `describe` says about it (given in hashes a second).
    pub fn update(&mut self, tried: u64, describe: impl FnOnce(f64) -> String) {
        let now = Instant::now();
        if now < self.next_at {
            return;
        }
        let (since, tried_before) = self.window_start;
        let window = now - since;
        self.rate = (tried - tried_before) as f64 / window.as_secs_f64();
        if window >= RATE_WINDOW {
            self.window_start = (now, tried);
        }
        let text = format!("{:.1} MH/s, {}", self.rate / 1e6, describe(self.rate));
        if let Some(line) = &self.line {
            line.set_message(text);
            line.tick();
            self.next_at = now + TERMINAL_INTERVAL;
        } else {
            // A closed standard error is no reason to stop.
            let _ = writeln!(io::stderr(), "{text}");
            self.next_at = now + PLAIN_INTERVAL;
        }
    }

    /// Writes a line of its own to standard error.
    pub fn note(&self, text: &str) {
        self.aside(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// Does something that writes, with the rewritten line out of the way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.line {
            Some(line) => line.suspend(write),
            None => write(),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

/// A span of time as people say it: `0.03 s`, `4.2 min`, `7.1 h`, `3.0 days`, `2e6 years`.
pub fn time(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(60.0, "s"), (60.0, "min"), (24.0, "h"), (365.25, "days")];
    let mut amount = seconds;
    for (next, unit) in UNITS {
        if amount < 2.0 * next {
            let digits = if unit == "s" && amount < 10.0 { 2 } else { 1 };
            return format!("{amount:.digits$} {unit}");
        }
        amount /= next;
    }
    if amount < 1e4 {
        format!("{amount:.0} years")
    } else {
        format!("{amount:.0e} years")
    }
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_readable() {
        let cases = [
            (0.031, "0.03 s"),
            (100.0, "100.0 s"),
            (252.0, "4.2 min"),
            (86_400.0, "24.0 h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(time(seconds), text);
        }
        assert_eq!(time(3e9), "95 years");
        assert_eq!(time(1e20), "3e12 years");
    }
}
