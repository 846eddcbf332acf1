//! The access log: a line per request on standard output, as text or JSON.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::AccessLog;

/// Bytes gathered before they are written out, if the clock does not come first.
const ENOUGH: usize = 32 * 1024;

/// What is said of a request.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The client, as the policy knows it.
    pub client: &'a str,
    /// The method.
    pub method: &'a str,
    /// The target as it came.
    pub target: &'a str,
    /// Status of the answer; 0 if none went out.
    pub status: u16,
    /// Bytes of content sent to the client.
    pub bytes: u64,
    /// Time from the complete head to the end of the answer.
    pub took: Duration,
    /// The backend's number, if one was asked.
    pub backend: Option<usize>,
}

/// Gathers lines of all workers.
#[derive(Debug)]
pub struct Log {
    format: AccessLog,
    lines: Mutex<Vec<u8>>,
}

impl Log {
    /// A log in this format.
    pub fn new(format: AccessLog) -> Self {
        Self {
            format,
            lines: Mutex::default(),
        }
    }

    /// Whether anything is logged at all.
    pub fn is_on(&self) -> bool {
        self.format != AccessLog::Off
    }

    /// Adds an entry.
    pub fn write(&self, entry: &Entry<'_>) {
        let line = match self.format {
            AccessLog::Off => return,
            AccessLog::Text => text(entry, SystemTime::now()),
            AccessLog::Json => json(entry, SystemTime::now()),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(line.as_bytes());
        if lines.len() >= ENOUGH {
            write_out(&mut lines);
        }
    }

    /// Writes out what was gathered.
    pub fn flush(&self) {
        if self.is_on() {
            write_out(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn write_out(lines: &mut Vec<u8>) {
    // A reader that went away is no reason to stop serving.
    let _ = io::stdout().lock().write_all(lines);
    lines.clear();
}

fn text(entry: &Entry<'_>, now: SystemTime) -> String {
    let backend = entry
        .backend
        .map_or_else(|| "-".into(), |backend| backend.to_string());
    // Quoted by JSON's rules: a log line stays one line, whatever a client calls itself.
    format!(
        "{} {} {} {} {} {} {:.3}ms backend={backend}\n",
        timestamp(now),
        serde_json::Value::from(entry.client),
        entry.method,
        serde_json::Value::from(entry.target),
        entry.status,
        entry.bytes,
        entry.took.as_secs_f64() * 1e3,
    )
}

fn json(entry: &Entry<'_>, now: SystemTime) -> String {
    let value = serde_json::json!({
        "time": timestamp(now),
        "client": entry.client,
        "method": entry.method,
        "target": entry.target,
        "status": entry.status,
        "bytes": entry.bytes,
        "ms": (entry.took.as_secs_f64() * 1e6).round() / 1e3,
        "backend": entry.backend,
    });
    format!("{value}\n")
}

/// RFC 3339, in UTC, to the millisecond.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days are counted from 1 March of year 0, so that a leap day comes last in its year; an era is
    // the 400 years after which the calendar repeats.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (400 * era + year + month / 10, (month + 2) % 12 + 1);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_right_around_leap_days() {
        let at = |seconds: u64| timestamp(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.007Z");
    }

    #[test]
    fn an_entry_is_one_line_whatever_is_in_it() {
        let entry = Entry {
            client: "a\"b\nc",
            method: "GET",
            target: "/x",
            status: 200,
            bytes: 5,
            took: Duration::from_micros(1500),
            backend: Some(1),
        };
        let line = text(&entry, UNIX_EPOCH);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z \"a\\\"b\\nc\" GET \"/x\" 200 5 1.500ms backend=1\n"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&entry, UNIX_EPOCH)).unwrap();
        assert_eq!(value["client"], "a\"b\nc");
        assert_eq!(value["ms"], 1.5);
    }
}
