//! The report for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::Value;

use super::{CaseResult, Unit};

pub(super) fn render(results: &[CaseResult]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["level", "case", "verdict", "score", "reference", "ratio"]);
    for column in 3..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for result in results {
        table.add_row([
            result.level.to_string(),
            result.case.clone(),
            if result.passed { "passed" } else { "FAILED" }.to_owned(),
            amount(result.score, result.unit),
            amount(result.reference, result.unit),
            result
                .ratio
                .map_or_else(dash, |ratio| format!("{} ×", significant(ratio))),
        ]);
    }
    let mut text = table.to_string();
    for result in results {
        text.push_str(&details(result));
    }
    text
}

fn details(result: &CaseResult) -> String {
    let mut text = String::new();
    if !result.figures.is_empty() {
        let figures: Vec<_> = result
            .figures
            .iter()
            .map(|(k, v)| format!("{k} {}", plain(v)))
            .collect();
        text = format!(
            "\nlevel {}, {}: {}",
            result.level,
            result.case,
            figures.join(" · ")
        );
    }
    if let Some(failure) = &result.failure {
        let place = failure
            .place
            .as_ref()
            .map_or_else(String::new, |place| format!(" at {place}"));
        let head = format!(
            "level {}, {}: FAILED ({}){place}",
            result.level, result.case, failure.kind
        );
        text = format!("{text}\n{head}\n{}", failure.message);
    }
    text
}

fn amount(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(dash, |value| match unit {
        Unit::S if value < 1.0 => format!("{} ms", significant(value * 1e3)),
        Unit::S => format!("{} s", significant(value)),
        Unit::Points => significant(value),
        Unit::Coins => format!("{value} coins"),
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(dash, significant),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Four significant digits, as many as a measurement on a shared machine can bear.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 9) as usize)
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Failure;

    #[test]
    fn four_significant_digits() {
        assert_eq!(significant(0.000_812_34), "0.0008123");
        assert_eq!(significant(3.0), "3.000");
        assert_eq!(significant(12_345.6), "12346");
        assert_eq!(significant(0.0), "0");
    }

    #[test]
    fn a_failure_is_told_with_its_place() {
        let result = CaseResult::new(0, "c", Vec::new(), Unit::S)
            .fail(Failure::new("wrong_output", "expected: a\nfound:    b").at("line 2"));
        let text = render(&[result]);
        assert!(
            text.contains("FAILED (wrong_output) at line 2\nexpected: a\nfound:    b"),
            "{text}"
        );
    }
}
