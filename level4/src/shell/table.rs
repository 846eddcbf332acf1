//! Results as people and programs read them.

use std::io::{self, Write};

use serde_json::Value as Json;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// In columns, with their names above.
    #[default]
    Column,
    /// Comma-separated values (RFC 4180), with their names first.
    Csv,
    /// An array of objects.
    Json,
    /// A value on each line, with its column's name.
    Line,
}

impl Mode {
    /// The mode of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "column" => Self::Column,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "line" => Self::Line,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Column => "column",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Line => "line",
        }
    }
}

/// The widest that a column is padded to, characters.
const WIDEST: usize = 80;

/// A value as text: that of SQL, without quotes around text.
pub fn text(value: &Json) -> String {
    match value {
        Json::Null => "NULL".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(bytes) => {
            let digits = bytes.iter().filter_map(Json::as_u64);
            let digits: Vec<String> = digits.map(|byte| format!("{byte:02x}")).collect();
            format!("x'{}'", digits.concat())
        }
        other => other.to_string(),
    }
}

/// Without what a terminal would obey: other control characters than the ends of lines.
pub fn visible(text: &str) -> String {
    let is_bad = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_bad) {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_bad(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Writes rows.
///
/// # Errors
///
/// If `out` takes no more.
pub fn write(
    mode: Mode,
    columns: &[String],
    rows: &[Vec<Json>],
    out: &mut dyn Write,
) -> io::Result<()> {
    match mode {
        Mode::Column => in_columns(columns, rows, out),
        Mode::Csv => {
            csv_line(columns.iter().map(String::as_str), out)?;
            for row in rows {
                let cells: Vec<String> = row
                    .iter()
                    .map(|cell| {
                        if cell.is_null() {
                            String::new()
                        } else {
                            text(cell)
                        }
                    })
                    .collect();
                csv_line(cells.iter().map(String::as_str), out)?;
            }
            Ok(())
        }
        Mode::Json => {
            out.write_all(b"[")?;
            for (place, row) in rows.iter().enumerate() {
                out.write_all(if place == 0 { b"" } else { b",\n " })?;
                let object = columns.iter().cloned().zip(row.iter().cloned());
                write!(out, "{}", Json::Object(object.collect()))?;
            }
            out.write_all(b"]\n")
        }
        Mode::Line => {
            let width = columns.iter().map(|name| name.chars().count()).max();
            for (place, row) in rows.iter().enumerate() {
                if place > 0 {
                    writeln!(out)?;
                }
                for (name, cell) in columns.iter().zip(row) {
                    let cell = visible(&text(cell));
                    writeln!(out, "{name:>0$} = {cell}", width.unwrap_or(0))?;
                }
            }
            Ok(())
        }
    }
}

fn in_columns(columns: &[String], rows: &[Vec<Json>], out: &mut dyn Write) -> io::Result<()> {
    let one_line = |text: &str| visible(text).replace('\n', "\\n");
    let columns: Vec<String> = columns.iter().map(|name| one_line(name)).collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| one_line(&text(cell))).collect())
        .collect();
    let mut widths: Vec<usize> = columns.iter().map(|name| name.chars().count()).collect();
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(WIDEST));
        }
    }
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"));
        let padded: Vec<String> = padded.collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(&mut columns.iter().map(String::as_str))?;
    let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    line(&mut rules.iter().map(String::as_str))?;
    for row in &cells {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

fn csv_line<'a>(cells: impl Iterator<Item = &'a str>, out: &mut dyn Write) -> io::Result<()> {
    let quoted = cells.map(|cell| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    });
    let quoted: Vec<String> = quoted.collect();
    write!(out, "{}\r\n", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_written_in_each_mode() {
        let columns = ["id".to_owned(), "text".to_owned()];
        let rows = [
            vec![json!(1), json!("a,\"b\"")],
            vec![json!(20), Json::Null],
            vec![json!(0.5), json!([0, 255])],
        ];
        for (mode, expected) in [
            (
                "column",
                "id   text\n---  -------\n1    a,\"b\"\n20   NULL\n0.5  x'00ff'\n",
            ),
            (
                "csv",
                "id,text\r\n1,\"a,\"\"b\"\"\"\r\n20,\r\n0.5,x'00ff'\r\n",
            ),
            (
                "json",
                "[{\"id\":1,\"text\":\"a,\\\"b\\\"\"},\n {\"id\":20,\"text\":null},\n {\"id\":0.5,\"text\":[0,255]}]\n",
            ),
            (
                "line",
                "  id = 1\ntext = a,\"b\"\n\n  id = 20\ntext = NULL\n\n  id = 0.5\ntext = x'00ff'\n",
            ),
        ] {
            let mut out = Vec::new();
            write(Mode::named(mode).unwrap(), &columns, &rows, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{mode}");
            assert_eq!(Mode::named(mode).unwrap().name(), mode);
        }
        assert_eq!(Mode::named("html"), None);
        assert_eq!(visible("a\tb\x1b[2J\nü"), "a\\tb\\u{1b}[2J\nü");
    }

    #[test]
    fn data_give_the_terminal_no_orders() {
        let columns = ["a".to_owned()];
        let rows = [vec![json!("\u{1b}[2J\u{9b}31mred\nx")]];
        for (mode, expected) in [
            (Mode::Column, "\\u{1b}[2J\\u{9b}31mred\\nx"),
            (Mode::Line, "a = \\u{1b}[2J\\u{9b}31mred\nx\n"),
        ] {
            let mut out = Vec::new();
            write(mode, &columns, &rows, &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(out.contains(expected), "{out:?}");
        }
    }
}
