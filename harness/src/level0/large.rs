//! `harness level0 --large`: one run on a large document that comes through a pipe, and what it
//! costs in memory.
//!
//! The document is made while it is written, and what must come out while it is read, so that
//! neither is ever held whole. Memory is looked at when the solution has read a quarter of the
//! document and when it has read nearly all of it: what grew in between grew with the document.

use std::{
    fs::File,
    io::{self, Read, Write},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Arena, Args, document::Writer, judge, oracle};
use crate::{
    console,
    memory::group_peak_bytes,
    noise::Watch,
    report::{CaseResult, Failure, Report, Unit},
    solution::cannot_run,
    solution_log,
};
use octopus::{ProcessGroup, interrupt};

/// The document is made in pieces of about so many bytes.
const PIECE: usize = 4 << 20;

/// How often the end is looked for, and how much memory there is.
const LOOK: Duration = Duration::from_millis(20);

/// The document, piece by piece: a function of seed, share of changed words, and size.
struct Pieces {
    writer: Writer,
    left: u64,
}

impl Pieces {
    fn new(args: &Args, bytes: u64) -> Self {
        Self {
            writer: Writer::new(args.seed, args.mutate),
            left: bytes,
        }
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    /// The next piece, which ends behind a word's separator; at most a word more than the size in
    /// all.
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 {
            return None;
        }
        let wanted = self.left.min(PIECE as u64) as usize;
        let mut piece = Vec::with_capacity(wanted + 64);
        while piece.len() < wanted {
            self.writer.word(&mut piece);
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Some(piece)
    }
}

/// What was seen of the memory, in bytes; 0 for what was not seen.
#[derive(Default)]
struct Memory {
    at_a_quarter: AtomicU64,
    peak: AtomicU64,
}

impl Memory {
    fn look(&self, group: u32) -> u64 {
        let bytes = group_peak_bytes(group).unwrap_or_default();
        self.peak.fetch_max(bytes, Ordering::Relaxed);
        bytes
    }

    /// By how much it grew after the first quarter, if both were seen.
    fn growth(&self) -> Option<u64> {
        let quarter = self.at_a_quarter.load(Ordering::Relaxed);
        let peak = self.peak.load(Ordering::Relaxed);
        (quarter > 0).then(|| peak.saturating_sub(quarter))
    }
}

/// Judges one run on a document of so many MiB.
pub(super) fn run(args: &Args, mebibytes: u64, arena: &Arena, report: &mut Report) -> Result<()> {
    let name = format!("generated, seed {}, {mebibytes} MiB", args.seed);
    let mut result = CaseResult::new(0, name, &arena.solution, Unit::S).remark("one document only");
    let memory = Memory::default();
    let watch = Watch::start();
    let started = Instant::now();
    let outcome = pass_through(args, mebibytes << 20, arena, &memory)?;
    let wall = started.elapsed().as_secs_f64();
    interrupt::check()?;
    let noise = watch.stop();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let growth = memory.growth();
    let failure = outcome.err().or_else(|| too_much(args, growth));
    // No score: making and checking the document takes longer than marking it may.
    result = result.figure("wall_s", wall);
    if let Some(growth) = growth {
        let peak = memory.peak.load(Ordering::Relaxed);
        result = result
            .figure("peak_memory_mb", megabytes(peak))
            .figure("memory_growth_mb", megabytes(growth));
    } else {
        console::log("level 0: memory cannot be seen here; it is not judged");
    }
    if let Some(failure) = failure {
        let said = solution_log::last_lines(&arena.log());
        result = result.fail(failure.said(said));
    }
    report.add(report.staged(result.under(noise)));
    Ok(())
}

/// The failure of a solution whose memory grows with the document.
fn too_much(args: &Args, growth: Option<u64>) -> Option<Failure> {
    let limit = args.memory_growth?;
    let growth = growth.filter(|&growth| growth > limit << 20)? >> 20;
    let message = format!(
        "memory grew by {growth} MiB after the first quarter of the document; {limit} MiB are allowed"
    );
    Some(Failure::new("memory", message))
}

/// Runs the solution with the document on its way in and its output on its way out.
fn pass_through(
    args: &Args,
    bytes: u64,
    arena: &Arena,
    memory: &Memory,
) -> Result<Result<(), Failure>> {
    let log = File::create(arena.log()).context("cannot create the solution's log")?;
    let mut command = arena.command();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut group = ProcessGroup::spawn(&mut command)
        .map_err(|error| cannot_run(command.get_program().as_ref(), &error))?;
    let leader = group.id();
    let input = group.child().stdin.take().context("no pipe to write to")?;
    let output = group.child().stdout.take();
    let output = output.context("no pipe to read from")?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(Pieces::new(args, bytes), bytes, input, leader, memory));
        let reader = scope.spawn(|| compare(Pieces::new(args, bytes), output));
        let ended = wait(&mut group, args.time_limit, memory);
        // What is left of the group is gone, so both pipes have come to their ends.
        drop(group);
        let written = writer.join().unwrap_or(Ok(()));
        let compared = reader.join().unwrap_or(Ok(None))?;
        Ok(Err(match ended? {
            None => {
                let limit = humantime::format_duration(args.time_limit);
                let message = format!("the solution was killed after {limit} (--time-limit)");
                Failure::slow("time_limit", message)
            }
            Some(status) if !status.success() && compared.is_none() => {
                Failure::new("exit_status", format!("the solution ended with {status}"))
            }
            Some(_) => match (compared, written) {
                (Some(failure), _) => failure,
                (None, Err(error)) => {
                    let message = format!("the document was not read to its end: {error}");
                    Failure::new("input_not_read", message)
                }
                (None, Ok(())) => return Ok(Ok(())),
            },
        }))
    })
}

/// Waits for the end; `None` at the time limit or when the run is interrupted, with the group
/// killed.
fn wait(group: &mut ProcessGroup, limit: Duration, memory: &Memory) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = group.wait_for(LOOK)? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit || interrupt::requested() {
            group.kill()?;
            return Ok(None);
        }
        memory.look(group.id());
    }
}

fn write(
    pieces: Pieces,
    bytes: u64,
    mut input: impl Write,
    leader: u32,
    memory: &Memory,
) -> io::Result<()> {
    let mut written = 0;
    for piece in pieces {
        input.write_all(&piece)?;
        written += piece.len() as u64;
        if written >= bytes / 4 && memory.at_a_quarter.load(Ordering::Relaxed) == 0 {
            let bytes = memory.look(leader);
            memory.at_a_quarter.store(bytes, Ordering::Relaxed);
        }
    }
    // The solution cannot have ended yet: its input has not.
    memory.look(leader);
    Ok(())
}

/// The first difference between the output and what must come out, if there is one.
fn compare(pieces: Pieces, mut output: impl Read) -> Result<Option<Failure>> {
    let mut before = 0_usize;
    for piece in pieces {
        let expected = oracle::highlight(level0::WORDS, &piece);
        let mut found = Vec::with_capacity(expected.len());
        output
            .by_ref()
            .take(expected.len() as u64)
            .read_to_end(&mut found)
            .context("cannot read the solution's output")?;
        if let Some(failure) = judge::first_difference(&expected, &found) {
            let place = failure.place.clone().unwrap_or_default();
            let place = format!("{place}, counted from byte {before} of the output");
            return Ok(Some(failure.at(place)));
        }
        before += expected.len();
    }
    let mut rest = Vec::new();
    output.take(1).read_to_end(&mut rest)?;
    Ok((!rest.is_empty()).then(|| {
        let message = format!("the output goes on after its {before} bytes");
        Failure::new("wrong_output", message)
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_pieces_have_the_asked_size_and_end_behind_words() {
        let line = Line::parse_from(["x", "--large", "1"]);
        let size = PIECE as u64 + 1000;
        let pieces: Vec<Vec<u8>> = Pieces::new(&line.args, size).collect();
        assert_eq!(pieces.len(), 2);
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        assert!(
            (size as usize..size as usize + 100).contains(&bytes),
            "{bytes}"
        );
        for piece in &pieces {
            assert!(matches!(piece.last(), Some(b' ' | b'\n')));
        }
    }

    #[test]
    fn an_output_is_compared_piece_by_piece_up_to_its_end() {
        let line = Line::parse_from(["x", "--large", "1"]);
        let size = PIECE as u64 + 1000;
        let pieces = || Pieces::new(&line.args, size);
        let document: Vec<u8> = pieces().flatten().collect();
        let right = oracle::highlight(level0::WORDS, &document);
        assert_eq!(compare(pieces(), right.as_slice()).unwrap(), None);
        let short = compare(pieces(), &right[..right.len() - 1]).unwrap();
        assert_eq!(short.unwrap().kind, "wrong_output");
        let long = [right.as_slice(), b"\n"].concat();
        let long = compare(pieces(), long.as_slice()).unwrap().unwrap();
        assert!(long.message.contains("goes on"), "{}", long.message);
    }
}
