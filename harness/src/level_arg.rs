//! A level as an argument of commands that are about any of them: `level3` or `3`.

use crate::ladder::LEVELS;

/// Reads the name or number of a level; for `value_parser`.
///
/// ```
/// assert_eq!(harness::level_arg::parse("level3"), Ok(3));
/// assert!(harness::level_arg::parse("level7").unwrap_err().contains("level0 to level4"));
/// ```
pub fn parse(text: &str) -> Result<u8, String> {
    let number = text.strip_prefix("level").unwrap_or(text);
    match number.parse() {
        Ok(level) if level < LEVELS => Ok(level),
        _ => Err(format!("there are level0 to level{}", LEVELS - 1)),
    }
}
