//! The problems as players need them: a text a level, with hints that are shown when they are asked
//! for (`harness describe`).
//!
//! The texts are the files of `docs/levels`, built in. A hint stands between `<details>` and
//! `</details>`, its heading in `<summary>`, so that it is folded where Markdown is drawn.

mod layout;

use std::io::{IsTerminal, stdout};

use anyhow::{Result, ensure};

use crate::{console, kits, level_arg};

const TEXTS: [&str; 5] = [
    include_str!("../../docs/levels/level0.md"),
    include_str!("../../docs/levels/level1.md"),
    include_str!("../../docs/levels/level2.md"),
    include_str!("../../docs/levels/level3.md"),
    include_str!("../../docs/levels/level4.md"),
];

/// The widest lines, in columns: longer ones are hard to read.
const WIDTH_MAX: usize = 100;

/// The flags of `harness describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness describe level0             the problem, its contract and its stages
  harness describe level4 --hints 2   with the first two of its hints")]
pub struct Args {
    /// The level: `level0` to `level4`
    #[arg(value_name = "LEVEL", value_parser = level_arg::parse)]
    level: u8,

    /// Show the first K hints as well; there are three
    #[arg(long, value_name = "K", default_value_t = 0)]
    hints: usize,
}

/// Prints a level's text.
pub fn run(args: &Args) -> Result<()> {
    let text = text(args.level);
    let count = text.matches("<details>").count();
    ensure!(
        args.hints <= count,
        "--hints {}: level {} has {count} hints",
        args.hints,
        args.level
    );
    let is_terminal = stdout().is_terminal();
    let width = if is_terminal {
        terminal_width()
    } else {
        WIDTH_MAX
    };
    let mut shown = layout::render(&unfold(text, args.hints), width.min(WIDTH_MAX), is_terminal);
    let level = args.level;
    if args.hints < count {
        let next = args.hints + 1;
        let more = format!("`harness describe level{level} --hints {next}` shows the next.");
        shown.extend(["\n", &format!("{count} hints: {more}"), "\n"]);
    }
    let languages = kits::languages(level).join(", ");
    let begin = format!("To begin: `harness new level{level} --lang LANGUAGE` ({languages}).");
    shown.push_str(&begin);
    console::print(&shown);
    Ok(())
}

/// The text of a level, Markdown.
///
/// # Panics
/// There is no such level.
pub fn text(level: u8) -> &'static str {
    TEXTS[usize::from(level)]
}

/// The text with its first hints as sections, and without the others.
fn unfold(text: &str, hints: usize) -> String {
    let mut unfolded = String::new();
    let mut hint = 0;
    let mut is_inside = false;
    for line in text.lines() {
        match line {
            "<details>" => {
                hint += 1;
                is_inside = true;
            }
            "</details>" => is_inside = false,
            // With no hint shown, their heading would stand alone.
            "## Hints" if hints == 0 => {}
            _ if is_inside && hint > hints => {}
            _ => {
                let summary = line.strip_prefix("<summary>");
                match summary.and_then(|line| line.strip_suffix("</summary>")) {
                    Some(heading) => unfolded.extend(["### ", heading]),
                    None => unfolded.push_str(line),
                }
                unfolded.push('\n');
            }
        }
    }
    unfolded
}

/// Columns of the terminal that stdout is.
fn terminal_width() -> usize {
    match rustix::termios::tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 20 => usize::from(size.ws_col),
        _ => 80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder;

    #[test]
    fn hints_are_shown_one_by_one() {
        for level in 0..ladder::LEVELS {
            let text = text(level);
            assert_eq!(text.matches("<summary>Hint ").count(), 3, "level {level}");
            assert_eq!(text.matches("</details>").count(), 3, "level {level}");
            let none = unfold(text, 0);
            assert!(!none.contains("Hint 1"), "level {level}");
            assert!(none.contains("## What to read"), "level {level}");
            let two = unfold(text, 2);
            assert!(two.contains("### Hint 2: ") && !two.contains("Hint 3:"));
            assert!(!unfold(text, 3).contains('<') || level != 2);
        }
    }

    #[test]
    fn a_text_lists_the_stages_of_its_level() {
        for level in 0..ladder::LEVELS {
            for (stage, number) in ladder::of_level(level).iter().zip(1..) {
                let row = format!("| {number} | {} ", stage.title);
                assert!(text(level).contains(&row), "level {level}: {row}");
            }
        }
    }
}
