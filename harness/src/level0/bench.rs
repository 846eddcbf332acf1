//! `harness level0 --bench`: throughput on a large document, beside the plain way.
//!
//! The plain way is a hash set of the dictionary's entries, a loop over the document's words, and
//! one buffer of output: what one would write first. It is measured here, in process, on the
//! first part of the same document, since it is slow. The solution is timed as a whole process
//! from file to `/dev/null`, on all cores and, if it is ours, on one.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustc_hash::FxBuildHasher;

use super::{
    Arena, Args,
    document::Writer,
    timing::{self, Timed},
};
use crate::{
    console,
    noise::Watch,
    report::{CaseResult, Failure, Report, Unit},
    solution_log,
};
use octopus::interrupt;

/// The share of changed words that makes about 30 % of all words unknown: a tenth of the entries
/// are capitalised and never match, and so does no word before a full stop.
const MUTATE: f64 = 0.19;

/// The plain way is measured on at most so much of the document.
const PLAIN_BYTES: u64 = 128 << 20;

/// One run may take this long: 1 GiB at 10 MB/s.
const LIMIT: Duration = Duration::from_secs(110);

/// The best of so many runs counts.
const RUNS: usize = 3;

pub(super) fn run(args: &Args, arena: &Arena, report: &mut Report) -> Result<()> {
    let path = arena.folder.join("large.txt");
    let bytes = args.bench_size << 20;
    console::log(&format!(
        "level 0: writing a document of {} MiB",
        args.bench_size
    ));
    write_document(&path, bytes, args.seed)?;

    console::log("level 0: the plain hash set");
    let plain = plain_rate(&path)?;
    let mut measurements = vec![("all_cores", None)];
    if arena.solution.ours {
        measurements.push(("one_core", Some(["--threads", "1"])));
    }
    let name = format!("throughput, {} MiB", args.bench_size);
    let mut result = CaseResult::new(0, name, &arena.solution, Unit::S);
    let watch = Watch::start();
    for (figure, flags) in measurements {
        console::log(&format!(
            "level 0: the solution, {}",
            figure.replace('_', " ")
        ));
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            interrupt::check()?;
            let mut command = arena.command();
            command.args(flags.iter().flatten());
            let nowhere = Path::new("/dev/null");
            let log = arena.log();
            let failure = match timing::run(command, &path, nowhere, &log, LIMIT, timing::SPARE)? {
                Timed::Ended { wall, status } if status.success() => {
                    best = best.min(wall);
                    continue;
                }
                Timed::Ended { status, .. } => {
                    Failure::new("exit_status", format!("the solution ended with {status}"))
                }
                Timed::TooMuch => {
                    Failure::new("too_much_output", "the solution's log is too large")
                }
                Timed::Killed => {
                    let message = format!("the solution took more than {} s", LIMIT.as_secs());
                    Failure::slow("time_limit", message)
                }
            };
            let failure = failure.said(solution_log::last_lines(&arena.log()));
            report.add(result.fail(failure).under(watch.stop()));
            return Ok(());
        }
        let rate = bytes as f64 / 1e6 / best.as_secs_f64();
        if flags.is_none() {
            result = result.scored(best.as_secs_f64(), None);
        }
        result = result
            .figure(&format!("{figure}_mb_per_s"), rate)
            .figure(&format!("{figure}_ratio_to_plain"), rate / plain.mb_per_s);
    }
    let unknown = plain.unknown_share * 100.0;
    report.add(
        result
            .figure("plain_mb_per_s", plain.mb_per_s)
            .figure("unknown_words_percent", unknown)
            .under(watch.stop()),
    );
    Ok(())
}

fn write_document(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let file = File::create(path).context("cannot create the large document")?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut writer = Writer::new(seed, MUTATE);
    let mut text = Vec::new();
    let mut written = 0;
    while written < bytes {
        interrupt::check()?;
        text.clear();
        while text.len() < 1 << 20 {
            writer.word(&mut text);
        }
        let wanted = usize::try_from(bytes - written).unwrap_or(usize::MAX);
        text.truncate(wanted);
        file.write_all(&text)
            .context("cannot write the large document")?;
        written += text.len() as u64;
    }
    file.flush().context("cannot write the large document")
}

struct Plain {
    mb_per_s: f64,
    unknown_share: f64,
}

fn plain_rate(path: &Path) -> Result<Plain> {
    let mut document = Vec::new();
    let file = File::open(path).context("cannot open the large document")?;
    file.take(PLAIN_BYTES)
        .read_to_end(&mut document)
        .context("cannot read it")?;
    let mut sink = fs::OpenOptions::new().write(true).open("/dev/null")?;
    let start = Instant::now();
    let entries: HashSet<&[u8], FxBuildHasher> =
        level0::WORDS.split(|byte| *byte == b'\n').collect();
    let mut output = Vec::with_capacity(document.len() * 3 / 2);
    let (mut words, mut unknown) = (0_u64, 0_u64);
    for piece in document.split_inclusive(|byte| matches!(byte, b' ' | b'\n')) {
        let end = piece.len() - usize::from(matches!(piece.last(), Some(b' ' | b'\n')));
        let (word, separator) = piece.split_at(end);
        let known = word.is_empty() || entries.contains(word.to_ascii_lowercase().as_slice());
        words += u64::from(!word.is_empty());
        if known {
            output.extend_from_slice(word);
        } else {
            unknown += 1;
            output.push(b'<');
            output.extend_from_slice(word);
            output.push(b'>');
        }
        output.extend_from_slice(separator);
    }
    sink.write_all(&output)?;
    let seconds = start.elapsed().as_secs_f64();
    let mb_per_s = document.len() as f64 / 1e6 / seconds;
    Ok(Plain {
        mb_per_s,
        unknown_share: unknown as f64 / words.max(1) as f64,
    })
}
