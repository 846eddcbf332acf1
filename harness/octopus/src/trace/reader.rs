//! Reads traces line by line. Whoever wrote them can spend no more than so much of our memory: lines,
//! events, bytes and nodes are bounded.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use super::{Header, LineFault, Trace, TraceError, field, messages};

/// The longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 256 << 10;
/// The most events of a run.
pub const EVENTS_MAX: usize = 2_000_000;
/// The most bytes of a run's files together.
pub const BYTES_MAX: u64 = 1 << 30;
/// The most nodes of a run.
pub const NODES_MAX: usize = 64;

/// What is left to be spent on a run.
struct Budget {
    events: usize,
    bytes: u64,
    /// Those seen so far.
    nodes: HashSet<String>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            events: EVENTS_MAX,
            bytes: BYTES_MAX,
            nodes: HashSet::new(),
        }
    }
}

/// A file, or the files of a folder.
pub fn open(path: &Path) -> Result<Trace, TraceError> {
    let mut budget = Budget::default();
    if !path.is_dir() {
        return read_file(path, &mut budget).map(ordered);
    }
    let mut whole = Trace::default();
    for file in files(path)? {
        let part = read_file(&file, &mut budget)?;
        join(&mut whole, part);
    }
    Ok(ordered(whole))
}

/// A file as it is, which may be a part of a run only: in the order of its lines, and messages have the
/// ids that it gives them.
pub fn open_part(path: &Path) -> Result<Trace, TraceError> {
    read_file(path, &mut Budget::default())
}

/// Lines from anywhere.
pub fn read(source: impl BufRead, name: &Path) -> Result<Trace, TraceError> {
    read_lines(source, name, &mut Budget::default()).map(ordered)
}

/// The traces of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let failed = |source| TraceError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(TraceError::NoFiles(folder.to_owned()));
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, budget: &mut Budget) -> Result<Trace, TraceError> {
    let file = File::open(path).map_err(|source| TraceError::Read {
        path: path.to_owned(),
        source,
    })?;
    read_lines(BufReader::new(file), path, budget)
}

/// Adds what another node of the same run wrote.
fn join(whole: &mut Trace, part: Trace) {
    let Header {
        program,
        title,
        replay,
        nodes,
        more,
        ..
    } = part.header;
    let header = &mut whole.header;
    header.program = header.program.take().or(program);
    header.title = header.title.take().or(title);
    header.replay = header.replay.take().or(replay);
    for node in nodes {
        if !header.nodes.contains(&node) {
            header.nodes.push(node);
        }
    }
    for (field, value) in more {
        header.more.entry(field).or_insert(value);
    }
    whole.events.extend(part.events);
    whole.remarks.extend(part.remarks);
}

fn ordered(mut trace: Trace) -> Trace {
    trace.events.sort_by_key(|event| event.t);
    messages::number(&mut trace.events);
    trace
}

fn read_lines(
    mut source: impl BufRead,
    name: &Path,
    budget: &mut Budget,
) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut is_begun = false;
    let mut line = Vec::new();
    for number in 1.. {
        let at_line = |fault| TraceError::Line {
            path: name.to_owned(),
            line: number,
            fault,
        };
        line.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        let count = source.by_ref().take(most).read_until(b'\n', &mut line);
        let count = count.map_err(|source| TraceError::Read {
            path: name.to_owned(),
            source,
        })?;
        if count == 0 {
            break;
        }
        if count > LINE_BYTES_MAX {
            return Err(at_line(LineFault::Long));
        }
        let bytes = budget.bytes.checked_sub(count as u64);
        budget.bytes = bytes.ok_or_else(|| TraceError::Bytes(name.to_owned()))?;
        let is_whole = line.ends_with(b"\n");
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let fields = match serde_json::from_slice(&line) {
            Ok(fields) => fields,
            // Whoever wrote it was killed.
            Err(_) if !is_whole && is_begun => {
                let name = name.display();
                let remark = format!("{name}: line {number} ends in its middle, and was left out");
                trace.remarks.push(remark);
                break;
            }
            Err(error) => return Err(at_line(LineFault::Json(error.to_string()))),
        };
        if !is_begun {
            trace.header = field::header(fields).map_err(at_line)?;
            is_begun = true;
            let nodes = trace.header.nodes.iter().map(String::as_str);
            spend_nodes(nodes, name, budget)?;
            continue;
        }
        let mut event = field::event(fields).map_err(at_line)?;
        event.t = event
            .t
            .saturating_add_signed(trace.header.offset_ns)
            .min(field::WHOLE_MAX);
        let events = budget.events.checked_sub(1);
        budget.events = events.ok_or_else(|| TraceError::Events(name.to_owned()))?;
        spend_nodes(event.nodes_named(), name, budget)?;
        trace.events.push(event);
    }
    if !is_begun {
        return Err(TraceError::Empty(name.to_owned()));
    }
    // It is in the times now.
    trace.header.offset_ns = 0;
    Ok(trace)
}

fn spend_nodes<'a>(
    nodes: impl Iterator<Item = &'a str>,
    name: &Path,
    budget: &mut Budget,
) -> Result<(), TraceError> {
    for node in nodes {
        if budget.nodes.contains(node) {
            continue;
        }
        if budget.nodes.len() == NODES_MAX {
            return Err(TraceError::Nodes(name.to_owned()));
        }
        budget.nodes.insert(node.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Trace, String> {
        read(text.as_bytes(), Path::new("x")).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong_with_it() {
        let refused = |text: &str| read_text(text).unwrap_err();
        assert!(refused("").starts_with("x is empty"));
        assert!(refused("[1]\n").starts_with("x: line 1: not a JSON object: "));
        assert_eq!(refused("{}\n"), "x: line 1: `trace` is missing");
        assert_eq!(
            refused("{\"trace\":2}\n"),
            "x: line 1: the format has version 2, and this program reads version 1"
        );
        for (line, told) in [
            ("{\"kind\":\"tick\"}", "`t` is missing"),
            ("{\"t\":1}", "`kind` is missing"),
            (
                "{\"t\":-1,\"kind\":\"tick\"}",
                "`t` is to be a whole number from 0 to 2^53, and is -1",
            ),
            (
                "{\"t\":1,\"kind\":\"tick\",\"node\":7}",
                "`node` is to be a text, and is 7",
            ),
            (
                "{\"t\":1,\"kind\":\"append\",\"entries\":[{\"index\":1}]}",
                "`entries` is to be a list of objects with `index`, `term` and perhaps `requests`, \
                 and is [{\"index\":1}]",
            ),
            (
                "{\"t\":1,\"kind\":\"fault\",\"links\":[[\"a\"]]}",
                "`links` is to be a list of pairs of nodes, and is [[\"a\"]]",
            ),
        ] {
            let text = format!("{{\"trace\":1}}\n\n{line}\n");
            assert_eq!(refused(&text), format!("x: line 3: {told}"));
        }
    }

    #[test]
    fn lines_and_nodes_are_bounded() {
        let long = format!("{{\"trace\":1}}\n{}\n", " ".repeat(LINE_BYTES_MAX));
        assert_eq!(
            read_text(&long),
            Err("x: line 2: it has more than 256 KiB".to_owned())
        );
        let node = |n| format!("{{\"t\":{n},\"kind\":\"tick\",\"node\":\"{n}\"}}\n");
        let many = |count| {
            let events: String = (0..count).map(node).collect();
            read_text(&format!("{{\"trace\":1}}\n{events}"))
        };
        assert_eq!(many(NODES_MAX).unwrap().nodes().len(), NODES_MAX);
        assert_eq!(many(NODES_MAX + 1), Err("x: more than 64 nodes".to_owned()));
    }

    #[test]
    fn a_line_that_its_writer_could_not_end_is_left_out() {
        let trace = read_text("{\"trace\":1}\n{\"t\":1,\"kind\":\"tick\"}\n{\"t\":2,\"ki").unwrap();
        assert_eq!(trace.events.len(), 1);
        assert_eq!(
            trace.remarks,
            ["x: line 3 ends in its middle, and was left out"]
        );
    }

    #[test]
    fn the_files_of_a_folder_are_one_run_on_one_clock() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "b.jsonl",
            "{\"trace\":1,\"nodes\":[\"b\"],\"offset_ns\":-5}\n{\"t\":10,\"kind\":\"tick\",\"node\":\"b\"}\n",
        );
        write(
            "a.jsonl",
            "{\"trace\":1,\"nodes\":[\"a\"]}\n{\"t\":7,\"kind\":\"tick\",\"node\":\"a\"}\n",
        );
        write("notes.txt", "no trace");
        let trace = open(folder.path()).unwrap();
        let order: Vec<_> = trace.events.iter().map(|event| event.t).collect();
        assert_eq!((trace.nodes(), order), (vec!["a", "b"], vec![5, 7]));
        let empty = tempfile::tempdir().unwrap();
        let told = open(empty.path()).unwrap_err().to_string();
        assert!(told.ends_with("has no *.jsonl files: no traces of nodes"));
    }
}
