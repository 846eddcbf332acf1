//! Durations as Go writes them.

use std::time::Duration;

/// A duration as Go writes it (`5s`, `200ms`, `1m30s`), or seconds.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    loop {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, after) = rest.split_at(digits);
        let unit = after.len() - after.trim_start_matches(char::is_alphabetic).len();
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "ns" => 1e-9,
            // Both letters that stand for micro.
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            // A bare number has no other parts.
            "" if rest.len() == text.len() && after.is_empty() => 1.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

/// A duration as Go writes it: `1h0m0.5s`, `30s`, `200ms`, `0s`.
pub fn write(duration: Duration) -> String {
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    if duration < Duration::from_secs(60) {
        // Below a minute they write it alike.
        return match duration {
            Duration::ZERO => "0s".to_owned(),
            _ => format!("{duration:?}"),
        };
    }
    let rest = Duration::new(duration.as_secs() % 60, duration.subsec_nanos());
    let rest = rest.as_secs_f64();
    match hours {
        0 => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_or_seconds() {
        for (text, ms) in [
            ("5s", 5_000),
            ("200ms", 200),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("2.5", 2_500),
            ("1500000ns", 1),
            ("2000µs", 2),
            ("2000us", 2),
        ] {
            let found = parse(text).map(|time| time.as_millis());
            assert_eq!(found, Some(ms), "{text}");
        }
        for text in [
            "", "s", "soon", "5x", "1s2", "-1s", "1..2s", "1e400s", "5 s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does_and_can_be_read_again() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1_500_000, "1.5ms"),
            (2_000, "2µs"),
            (200_000_000, "200ms"),
            (59_900_000_000, "59.9s"),
            (60_000_000_000, "1m0s"),
            (90_100_000_007, "1m30.100000007s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_000_000_000, "25h1m1s"),
        ] {
            let duration = Duration::from_nanos(nanoseconds);
            assert_eq!(write(duration), text);
            assert_eq!(parse(text), Some(duration));
        }
    }
}
