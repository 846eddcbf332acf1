//! Times, difficulties and names as the pages write them.

use super::super::rounds::book::Round;

/// How many digits of a difficulty a table shows.
const DIGITS_SHOWN: usize = 8;

/// `3:07`, or `1:02:03` from an hour on.
pub fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// When a coin landed, from the round's begin.
pub fn into_the_round(time_ms: Option<u64>, start_s: u64) -> String {
    time_ms.map_or_else(String::new, |ms| clock((ms / 1000).saturating_sub(start_s)))
}

/// Hashes a second, with three digits or so.
pub fn speed(hashes_per_s: f64) -> String {
    let units = [(1e9, "GH/s"), (1e6, "MH/s"), (1e3, "kH/s"), (1.0, "H/s")];
    let (unit, name) = units
        .into_iter()
        .find(|&(unit, _)| hashes_per_s >= unit)
        .unwrap_or((1.0, "H/s"));
    let value = hashes_per_s / unit;
    match value {
        ..10.0 => format!("{value:.2} {name}"),
        ..100.0 => format!("{value:.1} {name}"),
        _ => format!("{value:.0} {name}"),
    }
}

/// A difficulty's first digits: nobody compares the rest by eye.
pub fn shortened(difficulty: &str) -> String {
    match difficulty.char_indices().nth(DIGITS_SHOWN) {
        Some((end, _)) => format!("{}…", &difficulty[..end]),
        None => difficulty.to_owned(),
    }
}

/// Who won a round, if anybody has a coin.
pub fn winners(round: &Round) -> String {
    let winners = round.results.iter().filter(|line| line.rank == 1);
    let names: Vec<_> = winners
        .filter(|line| line.coins > 0)
        .map(|line| line.name.as_str())
        .collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [a, b, c, rest @ ..] if !rest.is_empty() => {
            format!("{a}, {b}, {c} and {} more", rest.len())
        }
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_write_them() {
        assert_eq!(clock(59), "0:59");
        assert_eq!(clock(3723), "1:02:03");
        assert_eq!(shortened("00000001"), "00000001");
        assert_eq!(shortened("000000012"), "00000001…");
    }

    #[test]
    fn speeds_have_three_digits() {
        assert_eq!(speed(0.25), "0.25 H/s");
        assert_eq!(speed(12_345.0), "12.3 kH/s");
        assert_eq!(speed(283_400_000.0), "283 MH/s");
        assert_eq!(speed(63.5e9), "63.5 GH/s");
    }
}
