//! Markdown for a terminal: paragraphs and lists are wrapped, headings bold, tables in columns,
//! code as it is. Only what the texts of the levels use.

use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Lays a text out in so many columns; with bold headings if `is_terminal`.
pub(super) fn render(markdown: &str, width: usize, is_terminal: bool) -> String {
    let mut layout = Layout {
        width,
        is_terminal,
        ..Layout::default()
    };
    for line in markdown.lines() {
        layout.line(line);
    }
    layout.end_block();
    layout.output
}

#[derive(Default)]
struct Layout {
    width: usize,
    is_terminal: bool,
    output: String,
    /// The words of the paragraph or list item that is being read.
    paragraph: String,
    /// What its first line begins with, and by how much the others are indented.
    bullet: String,
    rows: Vec<Vec<String>>,
    is_code: bool,
}

impl Layout {
    fn line(&mut self, line: &str) {
        if line.starts_with("```") {
            self.end_block();
            self.is_code = !self.is_code;
        } else if self.is_code {
            self.output.extend(["    ", line, "\n"]);
        } else if line.is_empty() {
            self.end_block();
            if !self.output.is_empty() && !self.output.ends_with("\n\n") {
                self.output.push('\n');
            }
        } else if line.starts_with('#') {
            self.end_block();
            self.heading(line.trim_start_matches('#').trim());
        } else if line.starts_with('|') {
            let cells = line.trim_matches('|').split('|');
            self.rows
                .push(cells.map(|cell| plain(cell.trim())).collect());
        } else {
            let bullet = bullet_of(line);
            if !bullet.is_empty() {
                self.end_block();
                bullet.clone_into(&mut self.bullet);
            }
            self.paragraph.push_str(&line[bullet.len()..]);
            self.paragraph.push(' ');
        }
    }

    fn heading(&mut self, text: &str) {
        let (begin, end) = if self.is_terminal {
            (BOLD, PLAIN)
        } else {
            ("", "")
        };
        self.output.extend([begin, &plain(text), end, "\n"]);
    }

    fn end_block(&mut self) {
        if !self.paragraph.is_empty() {
            let paragraph = plain(&std::mem::take(&mut self.paragraph));
            let bullet = std::mem::take(&mut self.bullet);
            self.output.push_str(&wrap(&paragraph, &bullet, self.width));
        }
        let rows = std::mem::take(&mut self.rows);
        if let [head, _, body @ ..] = rows.as_slice() {
            let mut table = Table::new();
            table
                .load_preset(UTF8_HORIZONTAL_ONLY)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(self.width.min(usize::from(u16::MAX)) as u16)
                .set_header(head);
            table.add_rows(body);
            self.output.push_str(&table.to_string());
            self.output.push('\n');
        }
    }
}

/// `- ` or `3. ` at the beginning of a list item, else nothing.
fn bullet_of(line: &str) -> &str {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && line[digits..].starts_with(". ") {
        &line[..digits + 2]
    } else if line.starts_with("- ") {
        &line[..2]
    } else {
        ""
    }
}

/// Without the marks of emphasis, which a terminal shows as they are.
fn plain(text: &str) -> String {
    text.replace("**", "")
}

/// Lines of at most `width` columns, where words allow it; the first begins with `bullet`, the others
/// with as many spaces.
fn wrap(text: &str, bullet: &str, width: usize) -> String {
    let mut wrapped = bullet.to_owned();
    let mut column = bullet.len();
    let mut is_first = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !is_first && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(bullet.len()));
            column = bullet.len();
            is_first = true;
        }
        if !is_first {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
        is_first = false;
    }
    wrapped.push('\n');
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_and_code_is_not() {
        let text = "# A *title*\n\none two three\nfour\n\n- a **bold** item that goes on\n- b\n\n\
                    ```sh\na  very long line of code\n```\n";
        assert_eq!(
            render(text, 14, false),
            "A *title*\n\none two three\nfour\n\n- a bold item\n  that goes on\n- b\n\n    \
             a  very long line of code\n"
        );
        assert!(render(text, 14, true).starts_with("\x1b[1mA *title*\x1b[0m\n"));
    }

    #[test]
    fn a_table_has_columns() {
        let text = "| a | b |\n|---|---|\n| long | x |\n| y | z |\n";
        let shown = render(text, 40, false);
        assert!(!shown.contains("---") && shown.contains("long"), "{shown}");
        assert_eq!(shown.lines().count(), 7, "{shown}");
    }

    #[test]
    fn every_line_of_the_texts_fits() {
        for level in 0..crate::ladder::LEVELS {
            let text = super::super::unfold(super::super::text(level), 3);
            let shown = render(&text, 80, false);
            let long = shown.lines().filter(|line| !line.starts_with("    "));
            let long: Vec<&str> = long.filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "level {level}: {long:?}");
        }
    }
}
