//! SQL text run the way the `sqlite3` shell of 2014 runs its standard input.
//!
//! The shell collects lines until they make complete statements, and runs each such group; an error
//! ends its group, not the input. Rows are printed in list mode. If anything failed, the output is the
//! error lines only.

use super::complete::Completeness;
use super::engine::meter;
use super::engine::statement::{Script, Statement};
use super::session::Work;

/// Runs `sql`, to which a `;` is appended, and gives the output.
pub fn run(work: &Work, sql: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut errors = Vec::new();
    let text = [sql, b";"].concat();
    let mut group: Vec<u8> = Vec::new();
    let mut completeness = Completeness::default();
    let mut start = 0;
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // The shell reads C strings: a line ends at its first NUL.
        let mut line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        if group.is_empty() && is_blank(line) {
            continue;
        }
        if is_terminator(line) && completeness.with_line(b";").is_complete() {
            line = b";";
        }
        if group.is_empty() {
            start = number;
            line = line.trim_ascii_start();
        } else {
            group.push(b'\n');
        }
        group.extend_from_slice(line);
        completeness = completeness.with_line(line);
        if line.contains(&b';') && completeness.is_complete() {
            if let Err(message) = run_group(work, &group, &mut output) {
                let line = format!("Error: near line {start}: {message}\n");
                errors.extend_from_slice(line.as_bytes());
                let is_told = meter::exceeded().is_some();
                if let Err(exceeded) = meter::answer(line.len() as u64) {
                    // Every group after this would say the same.
                    if !is_told {
                        errors.extend_from_slice(format!("Error: {exceeded}\n").as_bytes());
                    }
                    return errors;
                }
            }
            group.clear();
            completeness = Completeness::default();
        } else if completeness.is_blank() {
            group.clear();
        }
    }
    if !group.is_empty() {
        errors.extend_from_slice(b"Error: incomplete SQL: ");
        errors.extend_from_slice(&group);
        errors.push(b'\n');
    }
    if errors.is_empty() { output } else { errors }
}

fn run_group(work: &Work, sql: &[u8], output: &mut Vec<u8>) -> Result<(), String> {
    let mut script = Script::new(sql);
    while let Some(mut statement) = work.next(&mut script, true)? {
        print_rows(&mut statement, output)?;
    }
    Ok(())
}

fn print_rows(statement: &mut Statement, output: &mut Vec<u8>) -> Result<(), String> {
    while statement.step()? {
        // Asked after the step, which may have compiled the statement anew for a changed schema.
        let columns = statement.columns();
        let before = output.len();
        for column in 0..columns {
            if column > 0 {
                output.push(b'|');
            }
            statement.print(column, output);
        }
        if columns > 0 {
            output.push(b'\n');
        }
        let length = (output.len() - before) as u64;
        meter::answer(length).map_err(|exceeded| exceeded.to_string())?;
    }
    Ok(())
}

/// Nothing but white space and finished comments.
fn is_blank(mut sql: &[u8]) -> bool {
    loop {
        sql = sql.trim_ascii_start();
        if let Some(comment) = sql.strip_prefix(b"/*") {
            match comment.windows(2).position(|end| end == b"*/") {
                Some(end) => sql = &comment[end + 2..],
                None => return false,
            }
        } else if sql.starts_with(b"--") {
            match sql.iter().position(|&byte| byte == b'\n') {
                Some(end) => sql = &sql[end..],
                None => return true,
            }
        } else {
            return sql.is_empty();
        }
    }
}

/// `/` (Oracle) or `go` (SQL Server) on a line of its own ends a statement.
fn is_terminator(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line == b"/" || line.eq_ignore_ascii_case(b"go")
}
