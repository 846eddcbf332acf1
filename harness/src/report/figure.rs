//! Figures and settings for people.

use serde_json::Value;

/// A value of a result in words.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Object(counts) => {
            let counts = counts
                .iter()
                .map(|(name, count)| format!("{name}: {}", plain(count)));
            format!("({})", counts.collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(plain).collect();
            values.join(", ")
        }
        Value::Number(number) => match number.as_f64() {
            Some(value) if number.is_f64() => significant(value),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Bool(is_so) => is_so.to_string(),
    }
}

/// A score or a reference with its unit (`s`, `points`, `coins`, or whatever else it is counted in),
/// in words.
pub fn score(score: Option<f64>, unit: Option<&str>) -> String {
    match (score, unit) {
        (None, _) => "–".to_owned(),
        (Some(score), Some("s")) if score < 1.0 => format!("{} ms", significant(score * 1e3)),
        (Some(1.0), Some("coins")) => "1 coin".to_owned(),
        (Some(score), Some("coins")) => format!("{score} coins"),
        (Some(score), Some(unit)) => format!("{} {unit}", significant(score)),
        (Some(score), None) => significant(score),
    }
}

/// Four significant digits, as many as a measurement on a shared machine can bear.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 9) as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn four_significant_digits() {
        assert_eq!(significant(0.000_812_34), "0.0008123");
        assert_eq!(significant(3.0), "3.000");
        assert_eq!(significant(12_345.6), "12346");
        assert_eq!(significant(0.0), "0");
    }

    #[test]
    fn scores_are_told_with_their_unit() {
        for (value, unit, words) in [
            (Some(0.000_9), Some("s"), "0.9000 ms"),
            (Some(1.5), Some("s"), "1.500 s"),
            (Some(12.34), Some("points"), "12.34 points"),
            (Some(142_150.0), None, "142150"),
            (Some(1.0), Some("coins"), "1 coin"),
            (Some(2.0), Some("coins"), "2 coins"),
            (None, Some("s"), "–"),
        ] {
            assert_eq!(score(value, unit), words);
        }
    }

    #[test]
    fn values_are_told_without_json() {
        let value = json!({"200": 20, "no answer": [1.5, true, null, "x"]});
        assert_eq!(plain(&value), "(200: 20, no answer: 1.500, true, –, x)");
    }
}
