//! What the harness's pages have in common, those that it serves (the scoreboard of level 1 and the
//! dashboard) and those that it writes (a class, the report of a run): one frame and style sheet, and
//! charts as SVG; and what its servers have: bounded connections, streams of server-sent events.

pub mod chart;
pub mod connections;
mod frame;
pub mod stream;

use std::time::{Duration, UNIX_EPOCH};

pub use frame::frame;

/// The style sheet: colours by meaning in light and dark, tables, charts; for phones as well.
pub const STYLE: &str = include_str!("style.css");

/// Unix seconds as `2026-11-26 03:45:12`.
pub fn utc(seconds: u64) -> String {
    // Beyond the year 9999 there is no such form.
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

/// Compares in a time that does not tell how much of a guess is right.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |difference, (a, b)| difference | (a ^ b));
    a.len() == b.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_year_9999() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(u64::MAX), "9999-12-31 23:59:59");
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"ab", b"abc"));
        assert!(!same(b"", b"abc"));
    }
}
