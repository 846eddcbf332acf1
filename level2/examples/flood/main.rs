//! Draws the story of `docs/flood.md`: clients, floods and a queue, as an animation of the policy in virtual time.
//!
//! ```sh
//! cargo run -p level2 --example flood -- --html flood.html
//! ```
//!
//! One file without a network. The same requests meet the policy and a queue in which whoever comes first is served
//! first; `f` on the page changes from one to the other.

#[allow(
    clippy::unwrap_used,
    reason = "the tests' world, in which a panic is the report"
)]
#[path = "../../tests/world/mod.rs"]
mod world;

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use level2::policy::Class;
use serde_json::{Value, json};
use world::story::{self, CLIENTS, Told};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("data.js"),
    include_str!("draw.js"),
    include_str!("texts.js"),
    include_str!("main.js"),
];

/// Nanoseconds in the page's unit of time, a microsecond.
const UNIT: u64 = 1_000;

/// Draws a flood and the queue as a page.
#[derive(Parser)]
#[command(after_help = "Example:\n  flood --html flood.html")]
struct Flags {
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Flags { html } = Flags::parse();
    fs::write(&html, page()).with_context(|| format!("cannot write {}", html.display()))?;
    println!("open {}", html.display());
    Ok(())
}

fn page() -> String {
    let clients = CLIENTS.iter().map(|asks| asks.client);
    let data = json!({
        "clients": clients.collect::<Vec<_>>(),
        "capacity": story::CAPACITY,
        "end": story::END * world::SECOND / UNIT,
        "scenes": scenes(),
        "runs": [
            {"name": "fair", "title": "the fair queue", "requests": columns(&story::fair())},
            {"name": "plain", "title": "first come, first served", "requests": columns(&story::first_come())},
        ],
    });
    // In a script's text only this could end it.
    let data = data.to_string().replace('<', "\\u003c");
    PAGE.replacen("/*STYLE*/", STYLE, 1)
        .replacen("/*SCRIPT*/", &SCRIPTS.concat(), 1)
        .replacen("/*DATA*/", &data, 1)
}

/// When a part of the story begins, what it is called, and what is to be seen in it: with the fair queue, and without.
fn scenes() -> Value {
    let scene = |second: u64, title: &str, fair: &str, plain: &str| json!({"at": second * world::SECOND / UNIT, "title": title, "says": [fair, plain]});
    json!([
        scene(
            0,
            "Three quiet clients",
            "Ann, Ben and Cat ask four times a second each. There is room, and nobody waits.",
            "Ann, Ben and Cat ask four times a second each. There is room, and nobody waits.",
        ),
        scene(
            story::FIRST,
            "A flood",
            "Somebody asks 150 times a second. The backends can answer 53. The flood gets what the three leave; what is \
             beyond that is told so at once. The three go to the front of the queue and wait for the next place at most.",
            "Somebody asks 150 times a second. The backends can answer 53. The queue fills, and from then on whoever \
             comes is turned away or waits for most of a second: whoever asks most often is most often there when a \
             place in the queue comes free.",
        ),
        scene(
            story::SECOND_FLOOD,
            "A second one",
            "Two floods share what is left, evenly. For Ann, Ben and Cat nothing changes.",
            "With two floods one request in six gets in, whoever sent it. The three asked for a quarter of what \
             there is, and lose most of it.",
        ),
        scene(
            story::NEWCOMER,
            "Somebody new",
            "Nobody knows Dan. He asks for little, so he is answered from his first request on.",
            "Dan, who is new, fares no better than the others.",
        ),
        scene(
            story::LAST,
            "The floods end",
            "The queue is empty at once: nobody was kept in it who would not be served.",
            "What waits is served first, though whoever sent it may have left: for most of a second after the floods the \
             backends still work for them.",
        ),
    ])
}

/// Requests in columns of numbers: client, when it came, when it was decided, how its client looked (-1: nobody
/// looked), the place it had (-1: turned away), when the backend was done.
fn columns(told: &[Told]) -> Value {
    let time = |nanos: Option<u64>| nanos.map_or(-1, |nanos| (nanos / UNIT) as i64);
    let class = |class: Option<Class>| class.map_or(-1, |class| class as i64);
    let column = |of: &dyn Fn(&Told) -> i64| told.iter().map(of).collect::<Vec<_>>();
    json!({
        "client": column(&|told| told.client as i64),
        "came": column(&|told| time(Some(told.life.came))),
        "decided": column(&|told| time(told.life.decided)),
        "class": column(&|told| class(told.life.class)),
        "place": column(&|told| told.life.backend.map_or(-1, |backend| (2 * backend + told.place) as i64)),
        "worked": column(&|told| time(told.life.worked)),
    })
}
