//! Level 3: a search for text in a tree of files, spread over three nodes.
//!
//! The tree is drawn bit for bit as in 2014 (`generator` on Python's generator,
//! `python_random`), or is any folder. The solution's `servers` are started and told to index
//! it; queries go to the master one after another (`client`); every answer is compared with a
//! brute-force search (`oracle`). `nodes` finds the node processes, for their memory and for
//! the `fault` that makes one die or crawl; `search` judges what goes beyond the contract, the query
//! `language` among it.

mod args;
mod client;
mod edges;
mod fault;
mod feed;
mod generator;
mod language;
mod nodes;
mod oracle;
mod python_random;
mod queries;
mod record;
mod search;
mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use args::Args;
use fault::Fault;
pub(crate) use feed::Answer;
use generator::{Flags, Tree};
use oracle::Expected;
use queries::Latencies;
use record::record;
use servers::Servers;

use crate::{
    case::Case,
    console, input_file,
    noise::Watch,
    recording::Recording,
    report::{CaseResult, Failure, Report, Unit},
    solution::Solution,
};
use octopus::WorkDir;

/// How many times faster than the reference a solution has to be.
const PASSING_RATIO: f64 = 4.0;
/// The most bytes of a file of queries.
const QUERIES_MOST: u64 = 64 << 20;
/// The contest had 50 queries; fewer than this say little.
const FEW_QUERIES: usize = 10;
/// Most memory of a node in the contest, in MB of a million bytes.
const CONTEST_MEMORY_MB: u64 = 500;

/// The case that is played by default: its name, its flags, and the 2014 reference's mean latency in
/// seconds.
const DEFAULT_CASE: (&str, &[&str], f64) = (
    "level3-IIypI1AvuY",
    &[
        "--seed",
        "49",
        "--max-words",
        "3000",
        "--max-branches",
        "4",
        "--num-keys",
        "50",
        "--print",
    ],
    0.075_380_505_9,
);

/// A tree on disk and what to look for in it.
struct Task {
    name: String,
    root: PathBuf,
    queries: Vec<String>,
    reference_s: Option<f64>,
    /// The case file that it is from.
    file: Option<PathBuf>,
    /// The answers that an original case has, which the oracle must agree with.
    recorded: Option<Vec<Vec<String>>>,
}

/// Judges a solution on the trees that the flags name.
pub fn run(args: &Args, report: &mut Report) -> Result<()> {
    args.recording.check()?;
    let mut workdir = WorkDir::new(args.root.as_deref())?;
    let solution = Solution::find(3, &args.solution)?;
    for number in 0..args.case.len().max(1) {
        let folder = workdir.path().join(format!("run{number}"));
        fs::create_dir_all(&folder).context("cannot make a folder for the run")?;
        let task = task(args, args.case.get(number), &folder)?;
        let (result, recording) = judge(args, &task, &solution, &folder)?;
        let result = report.staged(result);
        let case = (args.case.len() > 1).then_some(task.name.as_str());
        let summary = report.describe(&result)?;
        args.recording.write(case, &summary, &recording)?;
        if !result.passed() {
            let folder = workdir.keep().display();
            console::log(&format!("level 3: the run's files are kept in {folder}"));
        }
        report.add_recorded(result, recording);
    }
    Ok(())
}

fn task(args: &Args, case: Option<&PathBuf>, folder: &Path) -> Result<Task> {
    if args.edges {
        let root = folder.join("tree");
        edges::write(&root).context("cannot write the tree of edge cases")?;
        return Ok(Task {
            name: "edge cases".into(),
            root,
            queries: edges::QUERIES.map(str::to_owned).into(),
            reference_s: None,
            file: None,
            recorded: None,
        });
    }
    if let Some(path) = case {
        let case = Case::load(path, 3)?;
        let flags = Flags::parse(&case.input_flags()?)
            .with_context(|| format!("bad case file {}", path.display()))?;
        let recorded = case.output.map(serde_json::from_value).transpose();
        let recorded = recorded.with_context(|| format!("case {}: `output`", case.id))?;
        let task = generated(case.id, &flags, folder)?;
        return Ok(Task {
            reference_s: case.reference,
            file: Some(path.clone()),
            recorded,
            ..task
        });
    }
    let (Some(tree), Some(queries)) = (&args.tree, &args.queries) else {
        if args.generator == Flags::parse(&[])? {
            let (name, flags, reference) = DEFAULT_CASE;
            let task = generated(name.into(), &Flags::parse(flags)?, folder)?;
            return Ok(Task {
                reference_s: Some(reference),
                ..task
            });
        }
        let name = format!("generated, seed {}", args.generator.seed());
        return generated(name, &args.generator, folder);
    };
    let root = fs::canonicalize(tree)
        .with_context(|| format!("--tree {}: cannot be found", tree.display()))?;
    ensure!(root.is_dir(), "--tree {}: not a folder", tree.display());
    let text = input_file::read_text(queries, QUERIES_MOST)
        .with_context(|| format!("--queries {}: cannot be read", queries.display()))?;
    let queries = text.lines().map(str::to_owned).collect();
    let name = root
        .file_name()
        .map_or_else(|| "/".into(), |name| name.to_string_lossy().into());
    Ok(Task {
        name,
        root,
        queries,
        reference_s: None,
        file: None,
        recorded: None,
    })
}

fn generated(name: String, flags: &Flags, folder: &Path) -> Result<Task> {
    console::log(&format!("level 3: {name}: the tree is drawn and written"));
    let tree = Tree::generate(flags, level0::WORDS)?;
    let root = folder.join("tree");
    tree.write(&root)?;
    Ok(Task {
        name,
        root,
        queries: tree.keys,
        reference_s: None,
        file: None,
        recorded: None,
    })
}

fn judge(
    args: &Args,
    task: &Task,
    solution: &Solution,
    folder: &Path,
) -> Result<(CaseResult, Recording)> {
    let empty = task.queries.iter().filter(|query| query.is_empty()).count();
    if empty > 0 {
        console::log(&format!("level 3: {empty} empty queries are not sent"));
    }
    let asked: Vec<&str> = task
        .queries
        .iter()
        .map(String::as_str)
        .filter(|query| !query.is_empty())
        .collect();
    ensure!(!asked.is_empty(), "there is nothing to look for");
    console::log(&format!(
        "level 3: {}: brute-force search for {}",
        task.name,
        asked.len()
    ));
    let expected = Expected::search(&task.root, &asked)?;
    if let Some(recorded) = &task.recorded {
        check_recorded(task, recorded, &expected)?;
    }
    let mut result = CaseResult::new(3, &task.name, solution, Unit::S)
        .figure("files", expected.files.len())
        .figure("text_mb", expected.bytes as f64 / 1e6)
        .figure("queries", asked.len())
        .figure("hits", expected.hits.iter().map(Vec::len).sum::<usize>());
    if let Some(file) = &task.file {
        result = result.setting("case", file.to_string_lossy());
    }
    if asked.len() < FEW_QUERIES {
        result = result.remark(format!("{} queries", asked.len()));
    }
    if args.memory_mb != CONTEST_MEMORY_MB {
        result = result.remark(format!("{} MB a node", args.memory_mb));
    }
    let questions = Questions {
        args,
        task,
        asked: &asked,
        expected: &expected,
    };
    let watch = Watch::start();
    let mut servers = Servers::start(
        solution,
        folder,
        args.base_port,
        args.time_limit,
        asked.len(),
    )?;
    let mut recording = Recording::default();
    let examined = examine(
        &mut servers,
        &questions,
        fault(args),
        result,
        &mut recording,
    )?;
    let said = servers.last_lines();
    servers.stop()?;
    let result = examined.under(watch.stop());
    let result = match result.failure.clone() {
        Some(failure) if failure.said.is_empty() => result.fail(failure.said(said)),
        _ => result,
    };
    Ok((result, recording))
}

fn fault(args: &Args) -> Option<Fault> {
    match (args.kill_node, args.slow_node) {
        (true, _) => Some(Fault::Kill(args.fault_node)),
        (false, Some(ms)) => Some(Fault::Slow(args.fault_node, Duration::from_millis(ms))),
        (false, None) => None,
    }
}

/// What is asked, and what must be answered.
struct Questions<'a> {
    args: &'a Args,
    task: &'a Task,
    asked: &'a [&'a str],
    expected: &'a Expected,
}

/// Lets the running servers index the tree, asks all queries, and completes the result.
fn examine(
    servers: &mut Servers,
    questions: &Questions<'_>,
    fault: Option<Fault>,
    mut result: CaseResult,
    recording: &mut Recording,
) -> Result<CaseResult> {
    let Questions {
        args,
        task,
        asked,
        expected,
    } = questions;
    if let Some(failure) = servers.wait_until_up()? {
        return Ok(result.fail(failure));
    }
    console::log(&format!("level 3: {}: indexing", task.name));
    match servers.index(&task.root)? {
        Err(failure) => return Ok(result.fail(failure)),
        Ok(Some(time)) => result = result.figure("index_s", time.as_secs_f64()),
        Ok(None) => {
            console::log("level 3: not indexed after 4 minutes; the queries come all the same");
        }
    }
    servers.look_at_memory();
    let outcome = queries::ask_all(servers, asked, expected, fault)?;
    servers.feed.end();
    *recording = record(&outcome.answers, asked, expected);
    servers.look_at_memory();
    result = memory_figures(result, servers)
        .figure("marked_incomplete", outcome.marked)
        .figure("answered_wrongly", outcome.wrong);
    let latencies = outcome.latencies();
    if let Some(failure) = outcome.failure {
        let root = task.root.display();
        return Ok(result.fail(failure.hint(format!(
            "`grep -rnF QUERY {root}` shows what must be found."
        ))));
    }
    if let Some(killed) = outcome.killed {
        match killed.recovery(servers, asked, expected, args.restart_limit)? {
            Ok(Some(time)) => result = result.figure("whole_again_s", time.as_secs_f64()),
            Ok(None) => {}
            Err(failure) => return Ok(result.fail(failure)),
        }
        servers.look_at_memory();
    }
    if args.search > 0 {
        let (count, seed) = (args.search, args.search_seed);
        console::log(&format!("level 3: {count} searches with seed {seed}"));
        if let Some(failure) = search::judge(servers, &task.root, count as usize, seed)? {
            return Ok(result.fail(failure));
        }
        result = result.figure("searches", count);
        servers.look_at_memory();
    }
    // A mean says something about a run in which every answer was right, and about no other.
    if let Some(latencies) = &latencies {
        result = latency_figures(result, latencies, task.reference_s, fault.is_some());
    }
    let failure = too_large(servers, args.memory_mb).or_else(|| too_slow(&result));
    Ok(match failure {
        Some(failure) => result.fail(failure),
        None => result,
    })
}

/// The failure of a solution with a node that had too much memory.
fn too_large(servers: &Servers, memory_mb: u64) -> Option<Failure> {
    let mut peaks = servers.memory.peaks();
    let (node, bytes) = peaks.find(|(_, bytes)| *bytes > memory_mb * 1_000_000)?;
    let message = format!(
        "a node had {:.0} MB resident, {memory_mb} are allowed",
        bytes as f64 / 1e6
    );
    Some(Failure::new("memory", message).at(format!("node {node}")))
}

/// The failure of a solution that is right and not fast enough, with the numbers.
fn too_slow(result: &CaseResult) -> Option<Failure> {
    let ratio = result.ratio.filter(|&ratio| ratio < PASSING_RATIO)?;
    let (mean, reference) = (result.score? * 1e3, result.reference? * 1e3);
    let message = format!(
        "{mean:.3} ms in the mean are {ratio:.2} times as fast as the reference's {reference:.3} ms; \
         {PASSING_RATIO} times are needed, {:.3} ms",
        reference / PASSING_RATIO
    );
    Some(Failure::slow("too_slow", message))
}

/// The recorded answers of an original case are those of all its queries, in order.
fn check_recorded(task: &Task, recorded: &[Vec<String>], expected: &Expected) -> Result<()> {
    ensure!(
        recorded.len() == task.queries.len(),
        "{}: {} queries, but {} recorded answers",
        task.name,
        task.queries.len(),
        recorded.len()
    );
    let sent = task
        .queries
        .iter()
        .zip(recorded)
        .filter(|(query, _)| !query.is_empty());
    for (place, (query, results)) in sent.enumerate() {
        let difference = expected.compare(place, results);
        ensure!(
            difference.is_none(),
            "{}: the recorded answer to {query:?} is not the brute-force search's",
            task.name
        );
    }
    Ok(())
}

fn memory_figures(mut result: CaseResult, servers: &Servers) -> CaseResult {
    let peaks: Vec<_> = servers.memory.peaks().collect();
    if peaks.is_empty() {
        console::log("level 3: no process with `--id N` was seen; memory is not judged");
    }
    for (node, bytes) in peaks {
        result = result.figure(&format!("node{node}_peak_mb"), bytes as f64 / 1e6);
    }
    result
}

/// Latencies count as the score, unless a node was made to misbehave.
fn latency_figures(
    mut result: CaseResult,
    latencies: &Latencies,
    reference_s: Option<f64>,
    is_disturbed: bool,
) -> CaseResult {
    if !is_disturbed {
        result = result.scored(latencies.mean.as_secs_f64(), reference_s);
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    result
        .figure("mean_ms", ms(latencies.mean))
        .figure("median_ms", ms(latencies.median))
        .figure("p99_ms", ms(latencies.p99))
        .figure("slowest_ms", ms(latencies.slowest))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// SHA-256 of the answers that both original cases have recorded: each query's results sorted,
    /// a line each, and an empty line after every query.
    const RECORDED: &str = "87224b52660f5aad1bbaae9a956892b2d503527119730607b9e5a8803ae00d56";

    #[test]
    fn the_answers_of_the_original_cases() {
        let folder = tempfile::tempdir().unwrap();
        let (name, flags, _) = DEFAULT_CASE;
        let flags = Flags::parse(flags).unwrap();
        let task = generated(name.into(), &flags, folder.path()).unwrap();
        let queries: Vec<&str> = task.queries.iter().map(String::as_str).collect();
        let expected = Expected::search(&task.root, &queries).unwrap();
        let mut digest = Sha256::new();
        for hits in &expected.hits {
            let mut lines: Vec<String> = hits
                .iter()
                .map(|&(file, line)| format!("{}:{line}\n", expected.files[file as usize]))
                .collect();
            lines.sort();
            digest.update(lines.concat());
            digest.update("\n");
        }
        assert_eq!(hex::encode(digest.finalize()), RECORDED);
    }

    #[test]
    fn too_slow_is_told_in_numbers() {
        let result = CaseResult::of_program("c", Vec::new());
        let slow = too_slow(&result.clone().scored(0.040, Some(0.080))).unwrap();
        assert_eq!(
            slow.message,
            "40.000 ms in the mean are 2.00 times as fast as the reference's 80.000 ms; 4 times are \
             needed, 20.000 ms"
        );
        assert_eq!(too_slow(&result.clone().scored(0.020, Some(0.080))), None);
        assert_eq!(too_slow(&result.scored(9.0, None)), None);
    }
}
