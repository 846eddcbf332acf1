//! The report for people.

use super::{
    CaseResult, Entry, Unit,
    figure::{plain, score, significant},
};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};

pub(super) fn render(entries: &[Entry]) -> String {
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
    for Entry { result, .. } in entries {
        table.add_row([
            result.level.map_or_else(dash, |level| level.to_string()),
            result.case.clone(),
            verdict(result),
            amount(result.score, result.unit),
            amount(result.reference, result.unit),
            result
                .ratio
                .map_or_else(dash, |ratio| format!("{} ×", significant(ratio))),
        ]);
    }
    let mut text = table.to_string();
    for entry in entries {
        text.push_str(&details(entry));
    }
    text
}

/// The verdict in a word, and in what respect it is worth less than it looks.
fn verdict(result: &CaseResult) -> String {
    let word = result.verdict().shown();
    let noisy = result
        .noise
        .as_ref()
        .is_some_and(super::super::noise::Noise::is_noisy);
    let stage = result
        .stage
        .map(|stage| format!("stage {} of {}", stage.number, stage.total));
    let notes = stage.iter().chain(&result.remarks).map(String::as_str);
    let notes: Vec<&str> = notes.chain(noisy.then_some("noisy machine")).collect();
    if notes.is_empty() {
        return word.to_owned();
    }
    format!("{word} ({})", notes.join(", "))
}

/// The figures, and all there is to say about a case that is not passed.
fn details(entry: &Entry) -> String {
    let result = &entry.result;
    let name = format!("{}, {}", result.world(), result.case);
    let mut lines = Vec::new();
    if !result.figures.is_empty() {
        let figures = result.figures.iter();
        let figures: Vec<_> = figures.map(|(k, v)| format!("{k} {}", plain(v))).collect();
        lines.push(format!("{name}: {}", figures.join(" · ")));
    }
    if let Some(reason) = result
        .noise
        .as_ref()
        .and_then(super::super::noise::Noise::reason)
    {
        lines.push(format!("{name}: noisy: {reason}"));
    }
    if let Some(failure) = &result.failure {
        let place = failure.place.as_ref();
        let place = place.map_or_else(String::new, |place| format!(" at {place}"));
        let word = result.verdict().shown();
        lines.push(format!("{name}: {word} ({}){place}", failure.kind));
        lines.push(failure.message.clone());
        if !failure.said.is_empty() {
            lines.push("the last that the solution said:".to_owned());
            lines.extend(failure.said.iter().map(|line| format!("    {line}")));
        }
        lines.extend(failure.next.iter().map(|hint| format!("try next: {hint}")));
        let replay = entry.replay();
        if !replay.is_empty() {
            lines.push(format!("again: {replay}"));
        }
    }
    // Each line follows one that is there already.
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines.join("\n")
}

/// Points by themselves: their column is wide enough as it is.
fn amount(value: Option<f64>, unit: Option<Unit>) -> String {
    let unit = unit.filter(|unit| *unit != Unit::Points);
    score(value, unit.map(Unit::word))
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{noise::Noise, report::Failure, settings::Settings};

    #[test]
    fn a_failure_is_told_with_its_place() {
        let failure = Failure::new("wrong_output", "expected: a\nfound:    b")
            .at("line 2")
            .said(vec!["no such dictionary".into()])
            .hint("look at output.txt.");
        let result = CaseResult::of_program("c", Vec::new()).fail(failure);
        let text = render(&[Entry {
            result,
            settings: Settings::default(),
            recording: None,
        }]);
        let expected = "FAILED (wrong_output) at line 2\nexpected: a\nfound:    b\n\
            the last that the solution said:\n    no such dictionary\n\
            try next: look at output.txt.";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_pass_is_seen_for_what_it_is() {
        let noisy = Noise::measured(Some(50.0), None, None);
        let result = CaseResult::of_program("c", Vec::new())
            .remark("no monkeys")
            .under(noisy);
        assert_eq!(verdict(&result), "passed (no monkeys, noisy machine)");
    }
}
