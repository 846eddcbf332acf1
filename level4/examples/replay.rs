//! Runs one seed of the simulation, or a story of `docs/stories/`, and draws what happened, in space and time.
//!
//! ```sh
//! cargo run --release -p level4 --example replay -- --seed 7 --html run.html
//! cargo run --release -p level4 --example replay -- --story write --html write.html
//! cargo run --release -p level4 --example replay -- --story old-term --plant old-term --html bug.html
//! cargo run --release -p level4 --example replay -- --seed 7 --trace run.jsonl   # for `harness trace`
//! ```
//!
//! A seed that fails is drawn up to where it failed, and the status is 1.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;
use level4::simulation::{Cluster, Notes, Plant, Story, Trace};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Runs one seed of the simulation, or a story, and writes down what happened.
#[derive(Parser)]
#[command(after_help = "Examples:
  replay --seed 7 --html run.html
  replay --seed 7 --trace run.jsonl
  replay --seed 0 --plant stale-read --html run.html
  replay --story write --html write.html
  replay --story old-term --plant old-term --html bug.html")]
struct Flags {
    /// The seed
    #[arg(long, required_unless_present = "story")]
    seed: Option<u64>,
    /// A story instead: write, crash, pre-vote, cut-off, read, overheard, newcomer, appends or old-term
    #[arg(long, value_name = "NAME", value_parser = story, conflicts_with = "seed")]
    story: Option<Story>,
    /// A bug to plant: forgotten-vote, no-dedupe, stale-read or early-ack into a seed, old-term into the
    /// story of that name
    #[arg(long, value_name = "BUG", value_parser = plant)]
    plant: Option<Plant>,
    /// Draw the run on a page
    #[arg(long, value_name = "FILE", required_unless_present = "trace")]
    html: Option<PathBuf>,
    /// Write the run as JSON lines, as `harness/docs/trace.md` tells
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let Flags {
        seed,
        story,
        plant,
        html,
        trace,
    } = Flags::parse();
    let written = Trace::default();
    let seed = seed.unwrap_or_default();
    let name = story.map_or_else(|| format!("seed {seed}"), |story| story.title.to_owned());
    let mut notes = Notes::default();
    let run = || {
        let trace = Some(written.clone());
        match (story, plant) {
            (Some(story), plant) => {
                notes = story.play_with(plant, written.clone());
                "a story".to_owned()
            }
            (None, Some(plant)) => format!("{:?}", Cluster::planted(seed, plant, trace).run()),
            (None, None) => format!("{:?}", Cluster::traced(seed, trace).run()),
        }
    };
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let text = written.text();
    if let Some(path) = &trace {
        write(path, &text)?;
    }
    if let Some(path) = &html {
        write(path, &page(&name, &text)?)?;
        if story.is_some() && outcome.is_ok() {
            println!("open {}", address(path, &notes));
        }
    }
    Ok(match outcome {
        Ok(summary) => {
            println!("{name}: {} events, {summary}", text.lines().count() - 1);
            ExitCode::SUCCESS
        }
        // What failed has been said already.
        Err(_) => ExitCode::FAILURE,
    })
}

fn plant(name: &str) -> Result<Plant, String> {
    Plant::named(name)
        .ok_or_else(|| format!("there are {}", Plant::ALL.map(Plant::name).join(", ")))
}

fn story(name: &str) -> Result<Story, String> {
    Story::named(name).ok_or_else(|| {
        format!(
            "there are {}",
            Story::ALL.map(|story| story.name).join(", ")
        )
    })
}

/// The page with the story in view, its marks set and its request lit.
fn address(path: &Path, notes: &Notes) -> String {
    let ns = |us: u64| us * 1_000;
    let marks = notes.marks.iter().map(|(us, note)| json!([ns(*us), note]));
    let marks: Vec<Value> = marks.collect();
    let around = (notes.ends - notes.begins) / 20;
    let from = ns(notes.begins.saturating_sub(around));
    let to = ns(notes.ends + around);
    let mut fields = format!("v={from}-{to}&t={}", ns(notes.begins));
    if let Some(request) = &notes.request {
        fields.extend(["&r=", request]);
    }
    let marks = utf8_percent_encode(&json!(marks).to_string(), NON_ALPHANUMERIC).to_string();
    format!("file://{}#{fields}&b={marks}", absolute(path).display())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn page(name: &str, text: &str) -> anyhow::Result<String> {
    let trace = octopus::trace::Trace::read(text.as_bytes(), Path::new(name))?;
    ensure!(!trace.events.is_empty(), "nothing happened");
    let page = octopus::trace::page(&[(name, &trace)]);
    if let Some(left_out) = page.left_out {
        eprintln!("the page would be too large, so it leaves out: {left_out}");
    }
    Ok(page.html)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
