//! The results of a class as a table for people, as CSV, and as JUnit XML.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{
    class::Class,
    record::{Outcome, Record},
};

/// The table that is printed.
pub(super) fn table(class: &Class) -> String {
    let mut table = Table::new();
    let levels = class.levels.iter().map(|level| format!("level {level}"));
    let header = std::iter::once("student".to_owned()).chain(levels);
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.chain(["points".to_owned()]));
    for student in &class.students {
        let (points, all) = student.points(&class.levels);
        let cells = class
            .levels
            .iter()
            .map(|&level| student.summary(level).shown());
        let row = std::iter::once(printable(&student.name)).chain(cells);
        table.add_row(row.chain([format!("{points}/{all}")]));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A name on a terminal: one line, and nothing that does more than print.
pub(super) fn printable(name: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !is_bidirectional(c);
    let shown = name.chars().take(60);
    shown
        .map(|c| if is_plain(c) { c } else { '\u{fffd}' })
        .collect()
}

/// Characters that turn the direction of what follows.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line for each student and level (RFC 4180).
pub(super) fn csv(class: &Class) -> String {
    let mut text = String::from(
        "student,level,language,passed,runs,points,points_all,score,unit,outcome,first_failure\r\n",
    );
    for student in &class.students {
        for &level in &class.levels {
            let summary = student.summary(level);
            let records = student.levels.get(&level).map_or(&[][..], Vec::as_slice);
            let language = records.iter().find_map(|record| record.language.clone());
            let failure = records.iter().find_map(|record| record.kind.clone());
            let outcome = summary.outcome.map_or("not handed in", Outcome::word);
            let number = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            let cells = [
                student.name.clone(),
                level.to_string(),
                language.unwrap_or_default(),
                summary.passed.to_string(),
                summary.runs.to_string(),
                summary.points.to_string(),
                summary.points_all.to_string(),
                number(summary.score),
                summary.unit.unwrap_or_default(),
                outcome.to_owned(),
                failure.unwrap_or_default(),
            ];
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
    }
    text
}

/// A cell, which is no formula to a spreadsheet and ends where it should.
fn csv_cell(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if is_bidirectional(c) => '\u{fffd}',
            c => c,
        })
        .collect();
    let is_formula = text.starts_with(['=', '+', '-', '@']);
    let guard = if is_formula { "'" } else { "" };
    if text.contains([',', '"', '\'']) || is_formula {
        return format!("\"{guard}{}\"", text.replace('"', "\"\""));
    }
    text
}

/// A suite for each student, a case for each run, as most servers for continuous integration read
/// it.
pub(super) fn junit(class: &Class) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\">\n",
        escape(&class.title)
    );
    for student in &class.students {
        let records = || student.levels.values().flatten();
        let count = |outcome| records().filter(|record| record.outcome == outcome).count();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
            escape(&student.name),
            records().count(),
            count(Outcome::Failed),
            count(Outcome::Error),
            count(Outcome::Undecided),
        );
        for record in records() {
            text.push_str(&junit_case(record));
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

fn junit_case(record: &Record) -> String {
    let head = format!(
        "    <testcase classname=\"level{}\" name=\"{}\"",
        record.run.level,
        escape(&record.run.shown())
    );
    let element = match record.outcome {
        Outcome::Passed => return head + "/>\n",
        Outcome::Failed => "failure",
        Outcome::Error => "error",
        Outcome::Undecided => "skipped",
    };
    let mut body = record.message.clone().unwrap_or_default();
    for line in &record.said {
        body.push_str("\n    ");
        body.push_str(line);
    }
    format!(
        "{head}>\n      <{element} message=\"{}\">{}</{element}>\n    </testcase>\n",
        escape(record.kind.as_deref().unwrap_or_default()),
        escape(&body)
    )
}

/// A text in HTML or XML, as content or as an attribute's value. What XML has no way to write, and
/// what turns directions, is replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || is_bidirectional(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::class::tests::record;
    use super::*;

    fn class() -> Class {
        let mut class = Class::new("A & B".into(), vec![0, 1], false);
        let name = "=cmd(\"<b>\"),\u{202e}\u{1b}[2J";
        let mut failed = record(name, 0, None, Outcome::Failed);
        failed.message = Some("</failure>]]>\u{0}".to_owned());
        failed.kind = Some("\"><script>".to_owned());
        let records = vec![record(name, 0, None, Outcome::Passed), failed];
        class.student(name).levels.insert(0, records);
        class
    }

    #[test]
    fn a_name_does_nothing_to_the_table() {
        let text = table(&class());
        assert!(text.contains("1/2 · 1.500 ms"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }

    #[test]
    fn a_name_is_no_formula_and_breaks_no_line() {
        let text = csv(&class());
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 4, "a head, two levels, an end: {text}");
        assert!(lines[1].starts_with("\"'=cmd(\"\"<b>\"\"),"), "{text}");
        assert!(!text.contains('\u{202e}'), "{text}");
        assert!(lines[2].ends_with(",0,0,0,0,,,not handed in,"), "{text}");
    }

    #[test]
    fn nothing_closes_an_element_of_the_xml() {
        let text = junit(&class());
        assert_eq!(text.matches("</failure>").count(), 1, "{text}");
        assert!(
            !text.contains("<script>") && !text.contains('\u{0}'),
            "{text}"
        );
        assert!(text.contains("tests=\"2\" failures=\"1\""), "{text}");
        assert!(text.contains("name=\"A &amp; B\""), "{text}");
    }
}
