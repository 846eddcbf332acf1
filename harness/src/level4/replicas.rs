//! The comparison of the tables on all nodes after a run, when the network has healed.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hyper::StatusCode;

use super::{
    client::parse,
    http::{Http, Reply},
};
use crate::{interrupt, nodes::Nodes, report::Failure};

/// What every node is asked.
const QUESTION: &str = "SELECT * FROM ctf3 ORDER BY name;";

/// How long the nodes may take to agree: enough for elections and for what is still on its way.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks every node until all show the same table.
///
/// # Errors
/// `Ok(Err(…))` if they do not agree in time; `Err` for an error of our own.
pub(super) fn compare(sockets: &[PathBuf], nodes: &Nodes) -> Result<Result<(), Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot compare the replicas")?;
    let http = Http::new(sockets.to_vec());
    let deadline = Instant::now() + PATIENCE;
    runtime.block_on(async {
        loop {
            let mut tables = Vec::new();
            for node in 0..nodes.count() {
                let left = deadline.saturating_duration_since(Instant::now());
                let ask = http.post(node, "/sql", QUESTION.to_owned());
                tables.push(match tokio::time::timeout(left, ask).await {
                    Ok(Reply::Whole(StatusCode::OK, body)) => {
                        parse(&body).map(|(_, output)| output.to_vec())
                    }
                    _ => None,
                });
            }
            let agreed = tables
                .iter()
                .all(|table| table.is_some() && *table == tables[0]);
            if agreed {
                return Ok(Ok(()));
            }
            interrupt::check()?;
            if Instant::now() >= deadline {
                return Ok(Err(disagreement(&tables)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

fn disagreement(tables: &[Option<Vec<u8>>]) -> Failure {
    let mut message = format!("{} s after the network healed:", PATIENCE.as_secs());
    for (node, table) in tables.iter().enumerate() {
        let shown = table
            .as_ref()
            .map_or("no answer\n".into(), |t| String::from_utf8_lossy(t));
        let node = node.to_string();
        message.extend(["\nnode ", &node, ":\n", shown.trim_end()]);
    }
    Failure::new("replicas_differ", message)
}
