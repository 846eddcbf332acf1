//! Printing hits as ripgrep does: `path:line:text`, or under headings on a terminal.
//!
//! Hits of one file that follow each other are gathered, so that the context that two of them share
//! is printed once, and gaps are marked by `--`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use level3::Hit;

const PATH: &str = "\x1b[35m";
const NUMBER: &str = "\x1b[32m";
const MATCH: &str = "\x1b[1m\x1b[31m";
const RESET: &str = "\x1b[0m";

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line that do not depend on each other"
)]
pub(super) struct Style {
    pub color: bool,
    /// Whether a path stands above its lines rather than in front of each.
    pub heading: bool,
    pub column: bool,
    /// Whether only the names of files are wanted.
    pub names_only: bool,
    /// Whether lines around the hits were asked for.
    pub context: bool,
}

/// Prints hits as they come.
pub(super) struct Printer<W: Write> {
    out: W,
    style: Style,
    /// The file at hand: root and path.
    file: Option<(String, String)>,
    lines: BTreeMap<u64, Line>,
    /// Whether something has been printed.
    has_printed: bool,
}

/// A line to print.
struct Line {
    text: String,
    /// Column and marks, if it is a hit.
    hit: Option<(u64, Vec<(u64, u64)>)>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            file: None,
            lines: BTreeMap::new(),
            has_printed: false,
        }
    }

    /// Takes a hit.
    pub(super) fn hit(&mut self, hit: &Hit) -> io::Result<()> {
        let file = (hit.root.clone(), hit.file.clone());
        let last = self.lines.last_key_value().map_or(0, |(&number, _)| number);
        // In the order of `best` a file comes again with an earlier line.
        let goes_on = self.file.as_ref() == Some(&file) && hit.line > last.saturating_sub(20);
        if !goes_on {
            self.flush_file()?;
            self.file = Some(file);
        }
        if hit.line == 0 {
            return Ok(());
        }
        let mut context = |number: u64, text: &String| {
            self.lines.entry(number).or_insert_with(|| Line {
                text: text.clone(),
                hit: None,
            });
        };
        let first = hit.line.saturating_sub(hit.before.len() as u64);
        for (number, text) in (first..).zip(&hit.before) {
            context(number, text);
        }
        for (number, text) in (hit.line + 1..).zip(&hit.after) {
            context(number, text);
        }
        let front = if hit.offset > 0 { "\u{2026}" } else { "" };
        let shift = front.chars().count() as u64;
        let spans = hit.spans.iter();
        let spans = spans.map(|(open, close)| (open + shift, close + shift));
        let line = Line {
            text: format!(
                "{front}{}{}",
                hit.text,
                if hit.cut { "\u{2026}" } else { "" }
            ),
            hit: Some((hit.column, spans.collect())),
        };
        self.lines.insert(hit.line, line);
        Ok(())
    }

    /// Prints what is left.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.flush_file()?;
        self.out.flush()
    }

    fn flush_file(&mut self) -> io::Result<()> {
        let Some((root, path)) = self.file.take() else {
            return Ok(());
        };
        let lines = std::mem::take(&mut self.lines);
        let path = if root.is_empty() {
            path
        } else {
            format!("{root}/{path}")
        };
        let path = self.painted(PATH, &path);
        if lines.is_empty() || self.style.names_only {
            return writeln!(self.out, "{path}");
        }
        if self.style.heading {
            let gap = if self.has_printed { "\n" } else { "" };
            writeln!(self.out, "{gap}{path}")?;
        }
        let mut last = None;
        for (&number, line) in &lines {
            let is_gap = match last {
                Some(last) => number > last + 1,
                None => self.has_printed && !self.style.heading,
            };
            if is_gap && self.style.context {
                writeln!(self.out, "--")?;
            }
            last = Some(number);
            self.line(&path, number, line)?;
        }
        self.has_printed = true;
        Ok(())
    }

    fn line(&mut self, path: &str, number: u64, line: &Line) -> io::Result<()> {
        let mark = if line.hit.is_some() { ':' } else { '-' };
        if !self.style.heading {
            write!(self.out, "{path}{mark}")?;
        }
        let number = self.painted(NUMBER, &number.to_string());
        write!(self.out, "{number}{mark}")?;
        let Some((column, spans)) = &line.hit else {
            return writeln!(self.out, "{}", line.text);
        };
        if self.style.column {
            write!(self.out, "{column}{mark}")?;
        }
        if !self.style.color {
            return writeln!(self.out, "{}", line.text);
        }
        let mut at = 0;
        let mut rest = line.text.chars();
        for &(open, close) in spans {
            let before: String = rest
                .by_ref()
                .take(open.saturating_sub(at) as usize)
                .collect();
            let matching: String = rest
                .by_ref()
                .take(close.saturating_sub(open) as usize)
                .collect();
            write!(self.out, "{before}{MATCH}{matching}{RESET}")?;
            at = close;
        }
        writeln!(self.out, "{}", rest.as_str())
    }

    fn painted(&self, color: &str, text: &str) -> String {
        if self.style.color {
            format!("{color}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(file: &str, line: u64, text: &str, around: [&[&str]; 2]) -> Hit {
        let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Hit {
            file: file.to_owned(),
            line,
            column: 1,
            text: text.to_owned(),
            spans: vec![(0, 1)],
            before: own(around[0]),
            after: own(around[1]),
            ..Hit::default()
        }
    }

    fn printed(style: Style, hits: &[Hit]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, style);
        for hit in hits {
            printer.hit(hit).unwrap();
        }
        printer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_name_their_place() {
        let hits = [hit("a", 1, "x", [&[], &[]]), hit("b", 7, "xy", [&[], &[]])];
        assert_eq!(printed(Style::default(), &hits), "a:1:x\nb:7:xy\n");
        let names = Style {
            names_only: true,
            ..Style::default()
        };
        assert_eq!(printed(names, &hits), "a\nb\n");
        let pretty = Style {
            heading: true,
            color: true,
            ..Style::default()
        };
        let red = |text: &str| format!("{MATCH}{text}{RESET}");
        let expected = format!(
            "{PATH}a{RESET}\n{NUMBER}1{RESET}:{}\n\n{PATH}b{RESET}\n{NUMBER}7{RESET}:{}y\n",
            red("x"),
            red("x")
        );
        assert_eq!(printed(pretty, &hits), expected);
    }

    #[test]
    fn context_that_is_shared_is_printed_once_and_gaps_are_marked() {
        let hits = [
            hit("a", 2, "x", [&["one"], &["x again"]]),
            hit("a", 3, "x again", [&["x"], &["four"]]),
            hit("a", 9, "x", [&["eight"], &[]]),
        ];
        let style = Style {
            context: true,
            ..Style::default()
        };
        assert_eq!(
            printed(style, &hits),
            "a-1-one\na:2:x\na:3:x again\na-4-four\n--\na-8-eight\na:9:x\n"
        );
    }
}
