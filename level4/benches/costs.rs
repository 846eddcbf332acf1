//! How long requests made to cost much take until their budget ends them, and how much memory: a family of
//! several hundred, one after the other, in one process.
//!
//! ```sh
//! cargo bench -p level4 --bench costs                # the dearest twenty
//! cargo bench -p level4 --bench costs -- --only trim --show 100
//! ```
//!
//! Seconds are the thread's own (of CPU), memory is the most that the process had meanwhile.

#[path = "../tests/costly/mod.rs"]
mod costly;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use level4::database::{Budget, Database};
use level4::machine::{Executor as _, Moment, Saved as _};
use level4::message::Command;

/// Measures what costly requests cost.
#[derive(Parser)]
struct Flags {
    /// Only requests that contain this text
    #[arg(long, default_value = "")]
    only: String,
    /// How many of the slowest to show
    #[arg(long, default_value_t = 20)]
    show: usize,
    /// Steps of the budget
    #[arg(long, default_value_t = Budget::default().steps)]
    steps: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

const MOMENT: Moment = Moment {
    time_ms: 1_400_000_000_000,
    seed: 7,
};

/// Seconds of CPU that this thread has had.
fn cpu() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds as f64 / 1e9)
}

/// The most memory since this was last called, MiB.
fn peak() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.context("no VmHWM")?.parse()?;
    // From here on anew (see proc(5)).
    std::fs::write("/proc/self/clear_refs", "5")?;
    Ok(kilobytes / 1024)
}

/// As much as the node's own threads have, bytes.
const STACK_SIZE: usize = 128 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
    let measured = thread.spawn(move || measure(&flags))?.join();
    measured.map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
}

fn measure(flags: &Flags) -> anyhow::Result<()> {
    let shell = |sql: &str| Command::Shell(Bytes::copy_from_slice(sql.as_bytes()));
    let mut database = Database::new()?;
    database.execute(MOMENT, &shell(costly::SETUP))?;
    let start = database.save().to_bytes()?;
    let budget = Budget {
        steps: flags.steps,
        ..Budget::default()
    };
    let mut found = Vec::new();
    for (name, sql) in costly::family() {
        if !name.contains(&flags.only) {
            continue;
        }
        database.restore(&start)?;
        peak()?;
        eprintln!("{name}");
        let before = cpu()?;
        let command = shell(&sql);
        let answer = database.run(MOMENT, budget, &command)?;
        let seconds = cpu()? - before;
        let (used, memory) = (database.used(), peak()?);
        let end = String::from_utf8_lossy(&answer[..answer.len().min(70)]).replace('\n', " ");
        found.push((seconds, memory, used, name, end, answer.len()));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let most = found.iter().map(|entry| entry.1).max().unwrap_or_default();
    println!("     s   MiB    ns/step  M steps  request => answer");
    for (seconds, memory, used, name, end, _) in found.iter().take(flags.show) {
        let a_step = seconds * 1e9 / used.steps.max(1) as f64;
        let steps = used.steps as f64 / 1e6;
        println!("{seconds:6.2} {memory:5} {a_step:10.0} {steps:8.1}  {name} => {end}");
    }
    println!("{} requests; the most memory was {most} MiB", found.len());
    found.sort_by_key(|entry| std::cmp::Reverse(entry.1));
    for (seconds, memory, _, name, _, length) in found.iter().take(5) {
        println!("{memory} MiB, {seconds:.2} s, answer of {length} bytes: {name}");
    }
    Ok(())
}
