//! `harness trace`: a trace of a distributed run, or two, as a page in space and time; or what is in
//! it, in a few lines. Reading and drawing is [`octopus::trace`].

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use octopus::trace::{self, Trace};

use crate::{console, output_file};

/// Requests that are named in the few lines.
const NAMED: usize = 8;

/// The flags of `harness trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  harness trace run.jsonl --html run.html               a run as a page; open it in a browser
  harness trace folder --html run.html                  the files of a run's nodes, as one run
  harness trace before.jsonl after.jsonl --html x.html  two runs, one above the other
  harness trace run.jsonl                               what is in it

The format is in harness/docs/trace.md; any program can write it.")]
pub struct Args {
    /// A trace (JSON lines), or a folder with the traces of a run's nodes
    #[arg(value_name = "FILE|DIR")]
    run: PathBuf,

    /// A second run, drawn below the first on the same axis
    #[arg(value_name = "FILE|DIR")]
    beside: Option<PathBuf>,

    /// Write the page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Draws or describes traces.
pub fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.html {
        output_file::check("the page", path)?;
    }
    let paths = [Some(&args.run), args.beside.as_ref()];
    let mut traces = Vec::new();
    for path in paths.into_iter().flatten() {
        let trace = Trace::open(path)?;
        for remark in &trace.remarks {
            console::log(&format!("harness: {remark}"));
        }
        traces.push((name(path), trace));
    }
    let Some(path) = &args.html else {
        for (name, trace) in &traces {
            console::print(&describe(name, trace));
        }
        return Ok(());
    };
    let named: Vec<_> = traces
        .iter()
        .map(|(name, trace)| (name.as_str(), trace))
        .collect();
    let page = trace::page(&named);
    fs::write(path, &page.html)
        .with_context(|| format!("cannot write the page to {}", path.display()))?;
    if let Some(left_out) = page.left_out {
        console::log(&format!(
            "harness: the page would be too large, so it leaves out: {left_out}"
        ));
    }
    Ok(())
}

/// What a run is called: its file or folder.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What is in a trace.
fn describe(name: &str, trace: &Trace) -> String {
    let (start, end) = trace.span_ns();
    let length = Duration::from_nanos(end - start);
    let mut text = format!(
        "{name}: {} events in {length:?} on the nodes {}\n",
        trace.events.len(),
        trace.nodes().join(", ")
    );
    for (kind, count) in trace.counts() {
        let _infallible = writeln!(text, "{count:>9} {kind}");
    }
    let mut types: BTreeMap<&str, usize> = BTreeMap::new();
    for event in trace.events.iter().filter(|event| event.kind == "send") {
        *types
            .entry(event.message.as_deref().unwrap_or("message"))
            .or_default() += 1;
    }
    let types = types.iter().map(|(name, count)| format!("{name} {count}"));
    let _infallible = writeln!(text, "sent: {}", types.collect::<Vec<_>>().join(", "));
    let leaders = trace
        .events
        .iter()
        .filter(|event| event.kind == "become" && event.role.as_deref() == Some("leader"));
    for event in leaders {
        let at = Duration::from_nanos(event.t - start);
        let (node, term) = (event.node.as_deref(), event.term);
        let _infallible = writeln!(
            text,
            "{at:?}: node {} leads in term {}",
            node.unwrap_or("?"),
            term.unwrap_or_default()
        );
    }
    let mut asked = Vec::new();
    for event in trace.events.iter().filter(|event| event.kind == "client") {
        let requests = event.requests.iter();
        asked.extend(requests.filter(|_| event.what.as_deref() == Some("invoke")));
    }
    if !asked.is_empty() {
        let first: Vec<_> = asked.iter().take(NAMED).map(|name| name.as_str()).collect();
        let more = if asked.len() > NAMED { " …" } else { "" };
        let first = first.join(" ");
        let _infallible = writeln!(text, "{} requests: {first}{more}", asked.len());
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_described_in_a_few_lines() {
        let small = include_str!("../docs/trace/small.jsonl");
        let trace = Trace::read(small.as_bytes(), Path::new("small")).unwrap();
        let text = describe("small", &trace);
        assert!(
            text.starts_with("small: 68 events in 55ms on the nodes 0, 1, 2\n"),
            "{text}"
        );
        assert!(text.contains("        1 crash\n"), "{text}");
        assert!(text.contains("14ms: node 1 leads in term 1\n"), "{text}");
        assert!(text.ends_with("1 requests: c0-1"), "{text}");
    }

    #[test]
    fn the_document_has_every_kind_and_field() {
        let document = include_str!("../docs/trace.md");
        for (kind, _) in trace::KINDS {
            assert!(document.contains(&format!("| `{kind}` |")), "{kind}");
        }
    }
}
