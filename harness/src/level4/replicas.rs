//! The comparison of the databases on all nodes after a run, when the network has healed: the table
//! as every node shows it, and where a solution offers `GET /db/backup`, the whole files, table by
//! table.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hyper::{StatusCode, body::Bytes};
use rusqlite::{Connection, MAIN_DB};

use super::{
    client::parse,
    http::{Http, Reply},
};
use crate::report::Failure;
use octopus::{NodeId, Nodes, interrupt};

/// What every node is asked.
const QUESTION: &str = "SELECT * FROM ctf3 ORDER BY name;";

/// How long the nodes may take to agree: enough for elections and for what is still on its way.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// What every SQLite file begins with.
const FILE_MAGIC: &[u8] = b"SQLite format 3\0";

/// Asks every node until all show the same table, and give the same backup.
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
                let question = http.post(node, "/sql", QUESTION.to_owned());
                tables.push(answer(question, deadline).await.and_then(|body| {
                    let (_, output) = parse(&body)?;
                    Some(output.to_vec())
                }));
            }
            let agreed = tables
                .iter()
                .all(|table| table.is_some() && *table == tables[0]);
            let difference = if agreed {
                match backups(&http, nodes.count(), deadline).await {
                    None => return Ok(Ok(())),
                    Some(difference) => difference,
                }
            } else {
                disagreement(&tables)
            };
            interrupt::check()?;
            if Instant::now() >= deadline {
                return Ok(Err(difference));
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// The body of a whole answer with status 200 that comes in time.
async fn answer(reply: impl Future<Output = Reply>, deadline: Instant) -> Option<Bytes> {
    let left = deadline.saturating_duration_since(Instant::now());
    match tokio::time::timeout(left, reply).await {
        Ok(Reply::Whole(StatusCode::OK, body)) => Some(body),
        _ => None,
    }
}

/// How the nodes' backups differ. A solution that offers none on node 0 has none to differ.
async fn backups(http: &Http, nodes: usize, deadline: Instant) -> Option<Failure> {
    let mut first = None;
    for node in 0..nodes {
        let file = answer(http.get(node, "/db/backup"), deadline).await;
        let file = file.filter(|file| file.starts_with(FILE_MAGIC));
        if node == 0 && file.is_none() {
            return None;
        }
        let content = match file.as_deref().map(content) {
            None => return Some(differing(node, "gives no backup")),
            Some(Err(error)) => {
                return Some(differing(node, &format!("gives a bad backup: {error}")));
            }
            Some(Ok(content)) => content,
        };
        let first = first.get_or_insert_with(|| content.clone());
        let names = first.keys().chain(content.keys());
        if let Some(name) = names.into_iter().find(|&n| first.get(n) != content.get(n)) {
            let reason = format!("has another table {name} in its backup than node 0");
            return Some(differing(node, &reason));
        }
    }
    None
}

fn differing(node: NodeId, reason: &str) -> Failure {
    Failure::new("replicas_differ", format!("node {node} {reason}")).at(format!("node {node}"))
}

/// All rows of all tables of a SQLite file, the schema's among them.
fn content(file: &[u8]) -> rusqlite::Result<BTreeMap<String, Vec<String>>> {
    let mut connection = Connection::open_in_memory()?;
    connection.deserialize_read_exact(MAIN_DB, file, file.len(), true)?;
    let mut names = vec!["sqlite_schema".to_owned()];
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    for name in tables.query_map([], |row| row.get(0))? {
        names.push(name?);
    }
    let mut content = BTreeMap::new();
    for name in names {
        let quoted = name.replace('"', "\"\"");
        let mut table = connection.prepare(&format!("SELECT * FROM \"{quoted}\""))?;
        let columns = table.column_count();
        let rows = table.query_map([], |row| {
            let values = (0..columns).map(|column| Ok(format!("{:?}", row.get_ref(column)?)));
            values.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        let mut rows = rows
            .map(|row| Ok(row?.join("|")))
            .collect::<rusqlite::Result<Vec<String>>>()?;
        rows.sort_unstable();
        content.insert(name, rows);
    }
    Ok(content)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sql: &str) -> Vec<u8> {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection.serialize(MAIN_DB).unwrap().to_vec()
    }

    #[test]
    fn files_are_compared_by_their_tables() {
        let sql = "CREATE TABLE \"a \"\"b\" (x, y); INSERT INTO \"a \"\"b\" VALUES (1, 'one'), (2, x'00')";
        let one = content(&file(sql)).unwrap();
        assert_eq!(one["a \"b"].len(), 2);
        let other = sql.replace("(1, 'one'), (2, x'00')", "(2, x'00'), (1, 'one')");
        assert_eq!(
            content(&file(&other)).unwrap(),
            one,
            "rows in another order"
        );
        for different in [
            sql.replace("'one'", "'One'"),
            sql.replace("(1,", "('1',"),
            sql.replace("(x, y)", "(x, z)"),
            format!("{sql}; CREATE INDEX i ON \"a \"\"b\" (x)"),
        ] {
            assert_ne!(content(&file(&different)).unwrap(), one, "{different}");
        }
        assert!(content(b"SQLite format 3\0 and no more").is_err());
    }
}
