//! Values as they are written in flags and in the file: times and sizes.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// Longest time that can be given: a day.
const LONGEST_MS: u64 = 86_400_000;

/// A length of time: a number with `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a time such as 250ms, 10s or 2m");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = text[..digits].parse().map_err(|_| bad())?;
        let unit = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        match number.checked_mul(unit) {
            Some(ms @ 1..=LONGEST_MS) => Ok(Self(Duration::from_millis(ms))),
            Some(0) => Err(format!("`{text}`: a time must be more than 0")),
            _ => Err(format!("`{text}`: a time may be 24h at most")),
        }
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A number of bytes: plain, or with `k`, `m` or `g` for units of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct Size(pub u64);

/// In TOML, a size may be a number or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a size such as 65536, 64k or 1m");
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| bad())?;
        let unit = match text[digits..].to_ascii_lowercase().as_str() {
            "" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return Err(bad()),
        };
        number.checked_mul(unit).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<NumberOrText> for Size {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(bytes) => Ok(Self(bytes)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        let ms = |text: &str| text.parse::<Time>().map(|time| time.0.as_millis());
        assert_eq!(ms("250ms"), Ok(250));
        assert_eq!(ms("2m"), Ok(120_000));
        for bad in [
            "",
            "5",
            "0s",
            "s",
            "-1s",
            "1.5s",
            "25h",
            "99999999999999999999s",
            "1d",
        ] {
            assert!(ms(bad).is_err(), "{bad}");
        }
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        for bad in ["", "k", "-1", "1t", "99999999999g", "1.5m"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
