//! Draws the story of `docs/two-levels.md`: how one hash, and then fifteen more, come about in the two-level scheme.
//!
//! ```sh
//! cargo run -p level1 --example two_levels -- --html two-levels.html
//! ```
//!
//! One file without a network. `tests/kernels.rs` checks what it tells.

mod story;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use story::{Piece, REACHED, State, Story, Work};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("data.js"),
    include_str!("draw.js"),
    include_str!("texts.js"),
    include_str!("main.js"),
];

/// Draws sixteen hashes of the two-level scheme as a page.
#[derive(Parser)]
#[command(after_help = "Example:\n  two_levels --html two-levels.html")]
struct Flags {
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Flags { html } = Flags::parse();
    fs::write(&html, page(&story::tell()))
        .with_context(|| format!("cannot write {}", html.display()))?;
    println!("open {}", html.display());
    Ok(())
}

fn page(story: &Story) -> String {
    PAGE.replacen("/*STYLE*/", STYLE, 1)
        .replacen("/*SCRIPT*/", &SCRIPTS.concat(), 1)
        .replacen("/*DATA*/", &json(story), 1)
}

/// The story as JSON: nothing in it but hexadecimal digits, base-32 digits, and words of ours.
fn json(story: &Story) -> String {
    let pieces: Vec<String> = story.pieces.iter().map(piece).collect();
    let ids = story.ids.iter().map(|row| {
        let ids: Vec<String> = row.iter().map(|id| format!("\"{id}\"")).collect();
        format!("[{}]", ids.join(","))
    });
    let bytes = story.padded.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!(
        "{{\"bytes\":\"{bytes}\",\"length\":{},\"reached\":{REACHED},\"rows\":{:?},\"columns\":{:?},\"ids\":[{}],\"pieces\":[{}]}}",
        story.length,
        story.row_digits,
        story.column_digits,
        ids.collect::<Vec<_>>().join(","),
        pieces.join(",")
    )
}

fn piece(piece: &Piece) -> String {
    let (kind, row, column) = match piece.work {
        Work::Before => ("before", -1, -1),
        Work::Row(row) => ("row", row as i32, -1),
        Work::Carry(row) => ("carry", row as i32, -1),
        Work::Schedule(column) => ("schedule", -1, column as i32),
        Work::Hash { row, column } => ("hash", row as i32, column as i32),
    };
    let states: String = piece.states.iter().map(hex).collect();
    let end = piece.end().as_ref().map(hex).unwrap_or_default();
    format!(
        "{{\"kind\":\"{kind}\",\"row\":{row},\"column\":{column},\"block\":{},\"first\":{},\"words\":\"{}\",\"states\":\"{states}\",\"end\":\"{end}\"}}",
        piece.block,
        piece.first,
        hex_words(&piece.words)
    )
}

fn hex(state: &State) -> String {
    hex_words(state)
}

fn hex_words(words: &[u32]) -> String {
    words.iter().fold(String::new(), |mut text, word| {
        let _ = write!(text, "{word:08x}");
        text
    })
}
