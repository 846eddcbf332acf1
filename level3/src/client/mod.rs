//! `level3 search QUERY`: the search box on the command line, with ripgrep's output and statuses.
//!
//! `http` asks the master, `output` prints what it found; here pages of hits follow one another
//! until there are no more.

mod http;
mod output;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::cli::{MAX_LINES, Search, When};
use http::Server;
use output::{Printer, Style};

/// Hits that are asked for at once: the most that the master gives.
const PAGE: usize = 10_000;

/// Hits that the master leaves out in front at most.
const MAX_OFFSET: usize = 100_000;

/// What went wrong when the output cannot be written.
const CANNOT_WRITE: &str = "cannot write the lines";

/// Nothing was found, as for `grep`.
const NOTHING: u8 = 1;

/// Something is missing from the answer, or there is none.
const TROUBLE: u8 = 2;

/// What the master says.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<level3::Hit>,
    #[serde(default)]
    more: bool,
    #[serde(default)]
    timed_out: bool,
    #[serde(default)]
    missing: Vec<String>,
    stale: Option<String>,
    error: Option<String>,
    position: Option<usize>,
    length: Option<usize>,
}

/// Searches, prints, and says with which status to end.
pub fn run(search: &Search) -> ExitCode {
    match find(search) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let cause = error.downcast_ref::<io::Error>();
            if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe) {
                // Whoever reads has seen enough.
                return ExitCode::SUCCESS;
            }
            level3::note!("level3: {error:#}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn find(search: &Search) -> anyhow::Result<u8> {
    let server = Server::new(&search.server)?;
    let is_terminal = io::stdout().is_terminal();
    let style = Style {
        color: match search.color {
            When::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none(),
            When::Always => true,
            When::Never => false,
        },
        heading: is_terminal && !search.no_heading,
        column: search.column,
        names_only: search.files_with_matches,
        context: search.context > 0,
    };
    let mut printer = Printer::new(io::BufWriter::new(io::stdout().lock()), style);
    let query = search.query.join(" ");
    let most = search.limit.unwrap_or(MAX_LINES);
    let (mut offset, mut status) = (0, NOTHING);
    let mut is_incomplete = false;
    loop {
        let limit = PAGE.min(most - offset);
        let answer = page(&server, search, &query, offset, limit)?;
        for hit in &answer.results {
            printer.hit(hit).context(CANNOT_WRITE)?;
        }
        offset += answer.results.len();
        is_incomplete |= answer.timed_out || !answer.missing.is_empty();
        let is_enough = search.limit.is_some_and(|limit| offset >= limit);
        let is_last = !answer.more || answer.results.is_empty() || is_enough;
        if is_last || answer.timed_out {
            report(&answer);
            break;
        }
        if offset > MAX_OFFSET || search.best {
            level3::note!("level3: there are more lines than the first {offset}");
            is_incomplete = true;
            break;
        }
    }
    printer.end().context(CANNOT_WRITE)?;
    if offset > 0 {
        status = 0;
    }
    Ok(if is_incomplete { TROUBLE } else { status })
}

/// One page of hits.
fn page(
    server: &Server,
    search: &Search,
    query: &str,
    offset: usize,
    limit: usize,
) -> anyhow::Result<Answer> {
    let number = |number: usize| number.to_string();
    let switch = |on: bool| on.to_string();
    let sort = if search.best { "best" } else { "path" };
    let body = server.get(
        "/search",
        &[
            ("query", query),
            ("regex", &switch(search.regex)),
            ("sort", sort),
            ("limit", &number(limit)),
            ("offset", &number(offset)),
            ("context", &number(search.context)),
        ],
    )?;
    let answer: Answer = serde_json::from_slice(&body)
        .with_context(|| format!("{}: not an answer of level3", search.server))?;
    let Some(error) = &answer.error else {
        return Ok(answer);
    };
    if let (Some(position), Some(length)) = (answer.position, answer.length) {
        let most = query.chars().count();
        let space = " ".repeat(position.min(most));
        let marks = "^".repeat(length.clamp(1, most + 1));
        bail!("{error}\n  {query}\n  {space}{marks}");
    }
    bail!("{error}");
}

/// Says what is not in an answer.
fn report(answer: &Answer) {
    if answer.timed_out {
        level3::note!("level3: the time limit ended the search; these are the lines found by then");
    }
    for missing in &answer.missing {
        level3::note!("level3: missing from the answer: {missing}");
    }
    if let Some(stale) = &answer.stale {
        level3::note!("level3: the answer is of an older state: {stale}");
    }
}
