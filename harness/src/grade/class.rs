//! The results of a class: by student and level, with the points that follow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Outcome, Record};
use crate::{ladder, report::score};

/// All that was judged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Class {
    pub title: String,
    pub levels: Vec<u8>,
    /// Whether stages were judged, and not the contest.
    pub has_stages: bool,
    pub students: Vec<Student>,
}

/// A student and the runs of each level.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Student {
    pub name: String,
    pub levels: BTreeMap<u8, Vec<Record>>,
}

/// What a level's runs come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub passed: usize,
    pub runs: usize,
    pub points: u32,
    pub points_all: u32,
    /// The middle one of those that passed.
    pub score: Option<f64>,
    pub unit: Option<String>,
    /// The worst of all outcomes; none without runs.
    pub outcome: Option<Outcome>,
}

impl Class {
    /// A class in which nothing is judged yet; names come once, in their order.
    pub fn new(title: String, levels: Vec<u8>, has_stages: bool) -> Self {
        Self {
            title,
            levels,
            has_stages,
            students: Vec::new(),
        }
    }

    /// The place of a student, who is new or not.
    pub fn student(&mut self, name: &str) -> &mut Student {
        let found = self
            .students
            .iter()
            .position(|student| student.name == name);
        let place = found.unwrap_or_else(|| {
            self.students.push(Student {
                name: name.to_owned(),
                levels: BTreeMap::new(),
            });
            self.students.len() - 1
        });
        &mut self.students[place]
    }
}

impl Student {
    /// What a level's runs come to.
    pub fn summary(&self, level: u8) -> Summary {
        let records = self.levels.get(&level).map_or(&[][..], Vec::as_slice);
        let points = |record: &Record| match record.run.stage {
            // A run of the contest is worth a point.
            None => 1,
            Some(stage) => {
                let stages = ladder::of_level(level);
                let place = usize::from(stage).saturating_sub(1);
                stages.get(place).map_or(0, |stage| stage.points)
            }
        };
        let passed: Vec<&Record> = records
            .iter()
            .filter(|record| record.outcome == Outcome::Passed)
            .collect();
        let mut scores: Vec<f64> = passed.iter().filter_map(|record| record.score).collect();
        scores.sort_by(f64::total_cmp);
        let worst = [
            Outcome::Error,
            Outcome::Failed,
            Outcome::Undecided,
            Outcome::Passed,
        ];
        Summary {
            passed: passed.len(),
            runs: records.len(),
            points: passed.iter().map(|record| points(record)).sum(),
            points_all: records.iter().map(points).sum(),
            score: scores.get(scores.len() / 2).copied(),
            unit: passed.first().and_then(|record| record.unit.clone()),
            outcome: worst
                .into_iter()
                .find(|outcome| records.iter().any(|record| record.outcome == *outcome)),
        }
    }

    /// Points of all levels, had and to be had.
    pub fn points(&self, levels: &[u8]) -> (u32, u32) {
        let summaries = levels.iter().map(|&level| self.summary(level));
        summaries.fold((0, 0), |(points, all), summary| {
            (points + summary.points, all + summary.points_all)
        })
    }
}

impl Summary {
    /// In a few words: `2/3 · 1.234 ms`.
    pub fn shown(&self) -> String {
        if self.runs == 0 {
            return "–".to_owned();
        }
        let counted = format!("{}/{}", self.passed, self.runs);
        if self.score.is_none() {
            return counted;
        }
        format!("{counted} · {}", score(self.score, self.unit.as_deref()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::record::Run;
    use super::*;

    /// A record with a score if it is passed.
    pub fn record(student: &str, level: u8, stage: Option<u8>, outcome: Outcome) -> Record {
        let run = Run {
            student: student.to_owned(),
            level,
            stage,
            seed: 1,
        };
        let mut record = Record::new(run, "digest", outcome);
        if outcome == Outcome::Passed {
            record.score = Some(0.0015);
            record.unit = Some("s".to_owned());
        }
        record
    }

    #[test]
    fn a_level_comes_to_what_its_runs_come_to() {
        let mut class = Class::new("c".into(), vec![0, 2], false);
        let ada = class.student("Ada");
        let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::Undecided];
        let records = outcomes.map(|outcome| record("Ada", 0, None, outcome));
        ada.levels.insert(0, records.to_vec());
        let summary = ada.summary(0);
        assert_eq!(summary.shown(), "1/3 · 1.500 ms");
        assert_eq!(summary.outcome, Some(Outcome::Failed));
        assert_eq!(ada.points(&[0, 2]), (1, 3));
        assert_eq!(ada.summary(2).shown(), "–");
        assert_eq!(class.student("Ada").levels.len(), 1);
    }

    #[test]
    fn stages_have_the_points_of_their_ladder() {
        let mut class = Class::new("c".into(), vec![0], true);
        let ada = class.student("Ada");
        let stages = [
            (1, Outcome::Passed),
            (2, Outcome::Passed),
            (3, Outcome::Failed),
        ];
        let records = stages.map(|(stage, outcome)| record("Ada", 0, Some(stage), outcome));
        ada.levels.insert(0, records.to_vec());
        assert_eq!(ada.points(&[0]), (20, 40));
    }
}
