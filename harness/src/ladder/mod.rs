//! The ladder of a level: stages from a first success to the original task and beyond, each with
//! one idea, flags that make the level's world as easy as that, and demands of its own.
//!
//! A stage is judged by the level's own judge, run with the stage's flags. What the judge finds
//! wrong counts, unless the stage forgives it (a score that is too low, where scores are not the
//! point yet); then the figures have to meet the stage's demands. `passed` means the stage, and a
//! ladder's points are no score.

mod stages;

use anyhow::{Result, bail};
use clap::{ArgMatches, Command, parser::ValueSource};
use serde_json::Value;

use crate::report::{CaseResult, Failure, StageMark};

pub use stages::of_level;

/// How many levels there are.
pub const LEVELS: u8 = 5;

/// One step of a ladder.
#[derive(Debug)]
pub struct Stage {
    /// A few words: `a moved head`.
    pub title: &'static str,
    /// The one idea, a sentence or two.
    pub idea: &'static str,
    /// What somebody reads who has failed it: what that probably means, and where to go from there.
    pub failed: &'static str,
    /// What it is worth on the ladder.
    pub points: u32,
    /// Whether the ladder is complete without it.
    pub is_optional: bool,
    /// Flags of the level's command, as on the command line, with `=` before a value.
    flags: &'static [&'static str],
    /// Kinds of failures that do not count here.
    forgives: &'static [&'static str],
    demands: &'static [Demand],
}

/// What a figure has to be.
#[derive(Debug)]
struct Demand {
    figure: &'static str,
    bound: Bound,
    /// In words: `no backend overflows`.
    text: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Demand {
    fn is_met(&self, result: &CaseResult) -> bool {
        let figure = result.figures.get(self.figure).and_then(Value::as_f64);
        figure.is_some_and(|value| match self.bound {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        })
    }
}

/// A stage that is being judged.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    level: u8,
    stage: &'static Stage,
    mark: StageMark,
}

impl Attempt {
    /// The stage of that number, from 1.
    ///
    /// # Errors
    /// The level has no such stage; the message lists those that it has.
    pub fn new(level: u8, number: u8) -> Result<Self> {
        let stages = of_level(level);
        let place = usize::from(number).checked_sub(1);
        let Some(stage) = place.and_then(|place| stages.get(place)) else {
            let list = stages.iter().zip(1..);
            let list: Vec<String> = list
                .map(|(stage, number)| format!("{number} ({})", stage.title))
                .collect();
            bail!(
                "--stage {number}: level {level} has the stages {}",
                list.join(", ")
            );
        };
        let total = stages.len() as u8;
        Ok(Self {
            level,
            stage,
            mark: StageMark { number, total },
        })
    }

    /// The stage.
    pub const fn stage(&self) -> &'static Stage {
        self.stage
    }

    /// Its number.
    pub const fn number(&self) -> u8 {
        self.mark.number
    }

    /// The flags that the stage adds to a command line, which has been parsed to `matches`. A seed
    /// that the user gives is kept.
    ///
    /// # Errors
    /// The user gives a flag that the stage has to set itself.
    pub fn flags(&self, command: &Command, matches: &ArgMatches) -> Result<Vec<&'static str>> {
        let mut added = Vec::new();
        for flag in self.stage.flags {
            let name = name_of(flag);
            let argument = command.get_arguments().find(|a| a.get_long() == Some(name));
            let is_given = argument.is_some_and(|argument| {
                matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
            });
            match (is_given, name) {
                (false, _) => added.push(*flag),
                (true, "seed") => {}
                (true, _) => bail!(
                    "--stage {} of level {} sets --{name} itself: leave it out",
                    self.mark.number,
                    self.level
                ),
            }
        }
        Ok(added)
    }

    /// What a result of the level's judge is worth at this stage.
    pub fn judge(&self, mut result: CaseResult) -> CaseResult {
        result.stage = Some(self.mark);
        let stage = self.stage;
        let is_forgiven = |failure: &Failure| stage.forgives.contains(&failure.kind);
        let mut failure = result.failure.take();
        if failure.as_ref().is_none_or(is_forgiven) {
            let unmet = stage
                .demands
                .iter()
                .filter(|demand| !demand.is_met(&result));
            let unmet: Vec<&str> = unmet.map(|demand| demand.text).collect();
            failure = if unmet.is_empty() {
                None
            } else {
                let mut message = format!("this stage demands that {}", unmet.join("; "));
                let said = failure.map(|failure| {
                    message.extend(["\n", failure.message.as_str()]);
                    failure.said
                });
                Some(Failure::slow("stage_demands", message).said(said.unwrap_or_default()))
            };
        }
        match failure {
            None => result,
            Some(mut failure) => {
                let lesson = format!(
                    "stage {}, {}: {}",
                    self.mark.number, stage.title, stage.failed
                );
                failure.next.insert(0, lesson);
                result.fail(failure)
            }
        }
    }
}

/// The long name in `--name=value`.
fn name_of(flag: &str) -> &str {
    let name = flag.strip_prefix("--").unwrap_or(flag);
    name.split_once('=').map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overflowing(overflows: u64) -> CaseResult {
        CaseResult::of_program("c", Vec::new())
            .figure("overflows", overflows)
            .figure("mice_served", 10)
            .figure("backends_busy_percent", 80.0)
    }

    #[test]
    fn a_stage_forgives_what_it_is_not_about_and_nothing_else() {
        let survive = Attempt::new(2, 2).unwrap();
        let low_score = || Failure::slow("demands_unmet", "not met: the score");
        let passed = survive.judge(overflowing(0).fail(low_score()));
        assert!(passed.passed());
        assert_eq!(passed.stage.unwrap().number, 2);
        let wrong = Failure::new("wrong_output", "wrong");
        let failed = survive.judge(overflowing(0).fail(wrong)).failure.unwrap();
        assert_eq!(failed.kind, "wrong_output");
        assert!(
            failed.next[0].starts_with("stage 2, survive: "),
            "{failed:?}"
        );
    }

    #[test]
    fn a_demand_that_is_not_met_fails_the_stage_in_its_own_words() {
        let survive = Attempt::new(2, 2).unwrap();
        let failure = survive.judge(overflowing(3)).failure.unwrap();
        assert_eq!(failure.kind, "stage_demands");
        assert!(
            failure.message.contains("no backend overflows"),
            "{failure:?}"
        );
        // A figure that is missing meets nothing.
        let nothing = CaseResult::of_program("c", Vec::new());
        assert!(!survive.judge(nothing).passed());
    }

    #[test]
    fn a_stage_that_is_not_there_names_those_that_are() {
        let error = Attempt::new(1, 9).unwrap_err().to_string();
        assert!(error.contains("2 (a moved head)"), "{error}");
        assert!(Attempt::new(0, 0).is_err());
    }
}
