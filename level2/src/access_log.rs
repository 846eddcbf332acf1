//! The access log: a line per request on standard output, as text or JSON.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::AccessLog;
use crate::policy::Class;
use crate::sink::Sink;
use crate::stats::class_name;

/// What is said of a request.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The connection's other end.
    pub peer: &'a str,
    /// The client, as the policy knows it; empty if the head was not understood.
    pub client: &'a str,
    /// How the policy saw it, if it was asked and let it in.
    pub class: Option<Class>,
    /// The method; empty if the head was not understood.
    pub method: &'a str,
    /// The target as it came.
    pub target: &'a str,
    /// Status of the answer; 0 if none went out.
    pub status: u16,
    /// Bytes of content sent to the client.
    pub bytes: u64,
    /// Time from the complete head to the end of the answer.
    pub took: Duration,
    /// The part of it before a place at a backend was had: the body's way here, and the wait.
    pub waited: Duration,
    /// The part of it at the backend.
    pub service: Option<Duration>,
    /// The backend, if one was asked.
    pub backend: Option<&'a str>,
}

/// Where lines go.
#[derive(Debug)]
pub struct Log {
    format: AccessLog,
    sink: Option<Sink>,
}

impl Log {
    /// A log in this format.
    pub fn new(format: AccessLog) -> Self {
        Self {
            format,
            sink: (format != AccessLog::Off).then(|| Sink::new(std::io::stdout())),
        }
    }

    /// Whether anything is logged at all.
    pub fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Adds an entry.
    pub fn write(&self, entry: &Entry<'_>) {
        let Some(sink) = &self.sink else { return };
        let line = match self.format {
            AccessLog::Json => json(entry, SystemTime::now()),
            _ => text(entry, SystemTime::now()),
        };
        sink.write(line.as_bytes());
    }

    /// Lines that nobody read in time.
    pub fn dropped(&self) -> u64 {
        self.sink.as_ref().map_or(0, Sink::dropped)
    }

    /// Waits a moment for what was written to be out.
    pub fn flush(&self) {
        if let Some(sink) = &self.sink {
            sink.flush(Duration::from_secs(1));
        }
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn text(entry: &Entry<'_>, now: SystemTime) -> String {
    // Quoted by JSON's rules: a log line stays one line, whatever a client calls itself.
    let mut line = format!(
        "{} {} {} {} {} {} {} {:.3}ms class={} waited={:.3}ms",
        timestamp(now),
        entry.peer,
        serde_json::Value::from(entry.client),
        if entry.method.is_empty() {
            "-"
        } else {
            entry.method
        },
        serde_json::Value::from(entry.target),
        entry.status,
        entry.bytes,
        ms(entry.took),
        class_name(entry.class),
        ms(entry.waited),
    );
    // Writing to a string cannot fail.
    let _ = match entry.service {
        Some(service) => write!(line, " service={:.3}ms", ms(service)),
        None => write!(line, " service=-"),
    };
    let _ = writeln!(line, " backend={}", entry.backend.unwrap_or("-"));
    line
}

fn json(entry: &Entry<'_>, now: SystemTime) -> String {
    let value = serde_json::json!({
        "time": timestamp(now),
        "peer": entry.peer,
        "client": entry.client,
        "class": class_name(entry.class),
        "method": entry.method,
        "target": entry.target,
        "status": entry.status,
        "bytes": entry.bytes,
        "ms": ms(entry.took),
        "waited_ms": ms(entry.waited),
        "service_ms": entry.service.map(ms),
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
            peer: "1.2.3.4",
            class: Some(Class::Light),
            waited: Duration::from_micros(500),
            service: Some(Duration::from_millis(1)),
            client: "a\"b\nc",
            method: "GET",
            target: "/x",
            status: 200,
            bytes: 5,
            took: Duration::from_micros(1500),
            backend: Some("5.6.7.8:9"),
        };
        let line = text(&entry, UNIX_EPOCH);
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z 1.2.3.4 \"a\\\"b\\nc\" GET \"/x\" 200 5 1.500ms class=light waited=0.500ms service=1.000ms backend=5.6.7.8:9\n"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&entry, UNIX_EPOCH)).unwrap();
        assert_eq!(value["client"], "a\"b\nc");
        assert_eq!(value["ms"], 1.5);
    }
}
