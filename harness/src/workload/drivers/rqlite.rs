//! rqlite's JSON over HTTP, which level 4 speaks as well.

use history::Step;
use serde_json::{Value, json};

use super::{Driver, Manner, Trouble, http::Http};
use crate::workload::{
    generate::{ACCOUNTS, BALANCE, Kind},
    operation::{Operation, Reply},
};

const PORT: u16 = 4000;

const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS register (key INTEGER PRIMARY KEY, value INTEGER)",
    "CREATE TABLE IF NOT EXISTS element (value INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS list (place INTEGER PRIMARY KEY, key INTEGER, value INTEGER)",
    "CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, balance INTEGER CHECK (balance >= 0))",
];

/// A client of one node.
pub(super) struct Rqlite {
    http: Http,
    stale_reads: bool,
}

impl Rqlite {
    pub fn new(manner: Manner) -> Self {
        Self {
            http: Http::new(manner.home_at(PORT), manner.timeout),
            stale_reads: manner.stale_reads,
        }
    }

    fn post(&mut self, path: &str, statements: &Value) -> Result<Vec<Value>, Trouble> {
        let answer = self.http.post(path, &statements.to_string())?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 {
            return Err(Trouble::Unknown(format!(
                "{}: {}",
                answer.status,
                text.trim()
            )));
        }
        let read = serde_json::from_str::<Value>(&text);
        let mut read = read.map_err(|error| Trouble::Unknown(format!("no JSON: {error}")))?;
        match read["results"].take() {
            Value::Array(results) => Ok(results),
            _ => Err(Trouble::Unknown(format!("no results: {}", text.trim()))),
        }
    }

    /// Executes one statement; how many rows it has changed.
    fn execute(&mut self, statement: Value) -> Result<u64, Trouble> {
        let results = self.post("/db/execute", &Value::Array(vec![statement]))?;
        let result = results.first().unwrap_or(&Value::Null);
        match result["error"].as_str() {
            // An error of SQL: it has changed nothing.
            Some(why) => Err(Trouble::NotDone(why.to_owned())),
            None => Ok(result["rows_affected"].as_u64().unwrap_or(0)),
        }
    }

    fn query(&mut self, statement: Value) -> Result<Vec<Option<i64>>, Trouble> {
        let level = if self.stale_reads { "none" } else { "strong" };
        let path = format!("/db/query?level={level}");
        let results = self.post(&path, &Value::Array(vec![statement]))?;
        let result = results.first().unwrap_or(&Value::Null);
        if let Some(why) = result["error"].as_str() {
            return Err(Trouble::NotDone(why.to_owned()));
        }
        let rows = result["values"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(rows.iter().map(|row| row[0].as_i64()).collect())
    }

    /// Has all steps executed by one request, as one transaction.
    fn transaction(&mut self, steps: &[Step]) -> Result<Reply, Trouble> {
        let statements = steps.iter().map(|step| match step {
            Step::Append(key, element) => {
                json!(["INSERT INTO list (key, value) VALUES (?, ?)", key, element])
            }
            Step::Read(key) => json!(["SELECT value FROM list WHERE key = ? ORDER BY place", key]),
        });
        let level = if self.stale_reads { "none" } else { "strong" };
        let path = format!("/db/request?transaction&level={level}");
        let results = self.post(&path, &statements.collect())?;
        // An error undoes all of it.
        if let Some(why) = results.iter().find_map(|result| result["error"].as_str()) {
            return Err(Trouble::NotDone(why.to_owned()));
        }
        let seen = steps.iter().zip(&results).map(|(step, result)| match step {
            Step::Append(..) => Some(None),
            Step::Read(_) => {
                let rows = result["values"].as_array().map_or(&[][..], Vec::as_slice);
                let values = rows.iter().map(|row| row[0].as_i64());
                values.collect::<Option<Vec<i64>>>().map(Some)
            }
        });
        let seen: Option<Vec<Option<Vec<i64>>>> = seen.collect();
        seen.filter(|seen| seen.len() == steps.len())
            .map(Reply::Transaction)
            .ok_or_else(|| Trouble::Unknown("an answer without what was asked for".to_owned()))
    }

    fn values(&mut self, statement: Value) -> Result<Reply, Trouble> {
        let values: Option<Vec<i64>> = self.query(statement)?.into_iter().collect();
        values
            .map(Reply::Values)
            .ok_or_else(|| Trouble::Unknown("a value that is no number".to_owned()))
    }
}

impl Driver for Rqlite {
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble> {
        let done = |changed: u64| {
            if changed > 0 {
                Reply::Done
            } else {
                Reply::Refused
            }
        };
        match *operation {
            Operation::Read(key) => {
                let rows = self.query(json!(["SELECT value FROM register WHERE key = ?", key]))?;
                Ok(Reply::Value(rows.first().copied().flatten()))
            }
            Operation::Write(key, value) => {
                let statement =
                    json!(["INSERT OR REPLACE INTO register VALUES (?, ?)", key, value]);
                self.execute(statement).map(|_| Reply::Done)
            }
            Operation::Swap(key, from, to) => {
                let statement = "UPDATE register SET value = ? WHERE key = ? AND value = ?";
                self.execute(json!([statement, to, key, from])).map(done)
            }
            Operation::Add(value) => {
                // Once more is no error: a retry by a node, not by us.
                self.execute(json!(["INSERT OR IGNORE INTO element VALUES (?)", value]))
                    .map(|_| Reply::Done)
            }
            Operation::Members => self.values(json!(["SELECT value FROM element"])),
            Operation::Append(key, value) => self
                .execute(json!([
                    "INSERT INTO list (key, value) VALUES (?, ?)",
                    key,
                    value
                ]))
                .map(|_| Reply::Done),
            Operation::List(key) => self.values(json!([
                "SELECT value FROM list WHERE key = ? ORDER BY place",
                key
            ])),
            Operation::Accounts => self.values(json!(["SELECT balance FROM account ORDER BY id"])),
            Operation::Move(from, to, amount) => {
                let statement = "UPDATE account SET balance = balance + CASE id WHEN ?1 THEN -?3 ELSE ?3 END \
                                 WHERE id IN (?1, ?2) AND (SELECT balance FROM account WHERE id = ?1) >= ?3";
                self.execute(json!([statement, from, to, amount])).map(done)
            }
            Operation::Transaction(ref steps) => self.transaction(steps),
            Operation::Put(_) | Operation::Take => {
                Err(Trouble::NotDone("there is no queue here".to_owned()))
            }
        }
    }

    fn prepare(&mut self, _: Kind) -> Result<(), Trouble> {
        for table in TABLES {
            self.execute(json!([table]))?;
        }
        for account in 0..ACCOUNTS {
            self.execute(json!([
                "INSERT OR IGNORE INTO account VALUES (?, ?)",
                account,
                BALANCE
            ]))?;
        }
        Ok(())
    }
}
