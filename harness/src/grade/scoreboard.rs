//! The results of a grading for who shows them elsewhere: ranks, points, and the pages of runs.

use std::path::Path;

use anyhow::{Context, Result};

use super::{class::Class, page, record::Record, room::read_left};

/// The most bytes of a class's results, and of a page.
const RESULTS_MOST: u64 = 256 << 20;
const PAGE_MOST: u64 = 64 << 20;

/// A class, the best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoreboard {
    /// What the roster calls it.
    pub title: String,
    /// The levels that were judged.
    pub levels: Vec<u8>,
    /// The students.
    pub rows: Vec<Row>,
}

/// A student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// From 1; who has as many points has the same.
    pub rank: usize,
    /// As the roster has it.
    pub name: String,
    /// Points of all levels.
    pub points: u32,
    /// Points that were to be had.
    pub points_all: u32,
    /// A cell for each level.
    pub cells: Vec<Cell>,
}

/// A student's runs of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What they come to: `2/3 · 1.2 ms`.
    pub shown: String,
    /// Each of them.
    pub runs: Vec<RunMark>,
}

/// A run of a student's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMark {
    /// Which: `level 4, stage 2, seed 7: failed`.
    pub shown: String,
    /// `passed`, `failed`, `undecided` or `error`.
    pub outcome: &'static str,
    /// A sign for that.
    pub mark: &'static str,
    /// The name of its page: letters, digits, dashes and an ending.
    pub page: String,
}

impl Scoreboard {
    /// What a grading left in a folder.
    ///
    /// # Errors
    /// There is nothing, or it cannot be understood.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("grades.json");
        let shown = path.display();
        let text = read_left(&path, RESULTS_MOST)
            .with_context(|| format!("{shown}: no results of `harness grade`"))?;
        let class: Class = serde_json::from_slice(&text)
            .with_context(|| format!("{shown}: not what `harness grade` writes"))?;
        Ok(Self::of(&class))
    }

    fn of(class: &Class) -> Self {
        let mut rows: Vec<Row> = class
            .students
            .iter()
            .map(|student| {
                let (points, points_all) = student.points(&class.levels);
                let cells = class.levels.iter().map(|&level| Cell {
                    shown: student.summary(level).shown(),
                    runs: student
                        .levels
                        .get(&level)
                        .into_iter()
                        .flatten()
                        .map(mark)
                        .collect(),
                });
                Row {
                    rank: 0,
                    name: student.name.clone(),
                    points,
                    points_all,
                    cells: cells.collect(),
                }
            })
            .collect();
        // Stable: who has as many points stays in the roster's order.
        rows.sort_by_key(|row| std::cmp::Reverse(row.points));
        for place in 0..rows.len() {
            let is_even = place > 0 && rows[place].points == rows[place - 1].points;
            rows[place].rank = if is_even {
                rows[place - 1].rank
            } else {
                place + 1
            };
        }
        Self {
            title: class.title.clone(),
            levels: class.levels.clone(),
            rows,
        }
    }

    /// The page of a run, or its charts, by name; none if the name is no such page's.
    pub fn run_page(folder: &Path, name: &str) -> Option<String> {
        let stem = name.strip_suffix(".html")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if stem.is_empty() || !stem.chars().all(is_plain) {
            return None;
        }
        let page = read_left(&folder.join("runs").join(name), PAGE_MOST)?;
        String::from_utf8(page).ok()
    }
}

fn mark(record: &Record) -> RunMark {
    let outcome = record.outcome.word();
    RunMark {
        shown: format!("{}: {outcome}", record.run.shown()),
        outcome,
        mark: page::mark(record.outcome),
        page: record.run.key() + ".html",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{class::tests::record, record::Outcome};
    use super::*;

    #[test]
    fn the_best_are_first_and_equals_have_one_rank() {
        let mut class = Class::new("c".into(), vec![0], false);
        for (name, outcome) in [
            ("Ada", Outcome::Failed),
            ("Bob", Outcome::Passed),
            ("Cy", Outcome::Failed),
        ] {
            let records = vec![record(name, 0, None, outcome)];
            class.student(name).levels.insert(0, records);
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("grades.json"),
            serde_json::to_string(&class).unwrap(),
        )
        .unwrap();
        let board = Scoreboard::load(folder.path()).unwrap();
        let ranks: Vec<_> = board
            .rows
            .iter()
            .map(|row| (row.rank, &*row.name))
            .collect();
        assert_eq!(ranks, [(1, "Bob"), (2, "Ada"), (2, "Cy")]);
        assert_eq!(board.rows[0].cells[0].runs[0].mark, "✓");
        assert!(Scoreboard::load(&folder.path().join("no")).is_err());
    }

    #[test]
    fn only_pages_of_runs_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        std::fs::write(folder.path().join("secret.html"), "s").unwrap();
        std::fs::write(folder.path().join("runs/ada-1.html"), "page").unwrap();
        let page = |name: &str| Scoreboard::run_page(folder.path(), name);
        assert_eq!(page("ada-1.html").unwrap(), "page");
        for name in [
            "../secret.html",
            "ada-1",
            ".html",
            "ada-2.html",
            "/etc/passwd",
        ] {
            assert_eq!(page(name), None, "{name}");
        }
    }
}
