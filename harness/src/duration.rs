//! Durations on the command line: `30s`, `500ms`, `2m 30s`.

use std::time::Duration;

/// Reads a duration with its unit; for `value_parser`.
///
/// # Errors
/// A sentence that says how it is written; a bare number gets the two likeliest readings of it.
///
/// ```
/// use harness::duration;
///
/// assert_eq!(duration::parse("2m 30s").unwrap().as_secs(), 150);
/// assert_eq!(duration::parse("5").unwrap_err(), "a unit is missing: write 5s for seconds, 5ms for milliseconds");
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let is_bare = text.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && text.parse::<f64>().is_ok();
    if is_bare {
        let milliseconds = if text.contains('.') { "" } else { text };
        return Err(if milliseconds.is_empty() {
            format!(
                "a unit is missing and fractions are not known: write 500ms, 5s or 2m, not {text}"
            )
        } else {
            format!("a unit is missing: write {text}s for seconds, {text}ms for milliseconds")
        });
    }
    if text.starts_with('-') {
        return Err("a duration cannot be negative".to_owned());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; durations are written like 30s, 500ms or 2m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("0ms"), Ok(Duration::ZERO));
        assert!(parse("5").unwrap_err().contains("5s"));
        assert!(parse("0").unwrap_err().contains("0s"));
        assert!(parse("1.5").unwrap_err().contains("500ms"));
        assert!(parse("-5s").unwrap_err().contains("negative"));
        for bad in ["", "x", "5 parsecs", "s", "1e999s", "99999999999999999999s"] {
            assert!(parse(bad).unwrap_err().contains("30s"), "{bad}");
        }
    }
}
