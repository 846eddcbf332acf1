//! The judgement of one case, and the verdict that follows from it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::{Cause, Failure};
use crate::{noise::Noise, solution::Solution};

/// What a score is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds; less is better, a ratio is reference / ours.
    S,
    /// Points; more is better, a ratio is ours / reference.
    Points,
    /// Accepted gitcoins.
    Coins,
}

impl Unit {
    /// Its name, as documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::S => "s",
            Self::Points => "points",
            Self::Coins => "coins",
        }
    }
}

/// What a judge can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was asked for was there.
    Passed,
    /// It was not, and that is the solution's doing.
    Failed,
    /// The judge could not find out: it gave up, or the machine was too busy with other things to
    /// blame the solution for being slow. Not a pass.
    Undecided,
}

impl Verdict {
    /// The word for people.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Undecided => "UNDECIDED",
        }
    }
}

/// Which stage of its level's ladder a result is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageMark {
    /// Its number, from 1.
    pub number: u8,
    /// How many stages the level has.
    pub total: u8,
}

/// The judgement of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseResult {
    /// The level, 0 to 4; none for a program that plays no level.
    pub level: Option<u8>,
    /// The case's name.
    pub case: String,
    /// The solution's command line.
    pub solution: Vec<String>,
    /// SHA-256 of the solution's file in hex, if it could be read.
    pub solution_sha256: Option<String>,
    /// The solution's figure, in [`unit`](Self::unit)s.
    pub score: Option<f64>,
    /// The reference solution's figure, in the same unit.
    pub reference: Option<f64>,
    /// How many times better than the reference.
    pub ratio: Option<f64>,
    /// What score and reference are counted in; none where there is no score.
    pub unit: Option<Unit>,
    /// Everything else that was measured; names end in their unit.
    pub figures: Map<String, Value>,
    /// In what respect the case was easier than the contest, or judged by less: `no monkeys`.
    pub remarks: Vec<String>,
    /// The ladder's stage that was judged, if one was.
    pub stage: Option<StageMark>,
    /// Settings that the flags do not tell, such as a seed that was drawn.
    pub chosen: Vec<(&'static str, Value)>,
    /// What else the machine had to do meanwhile.
    pub noise: Option<Noise>,
    /// Why the case is not passed.
    pub failure: Option<Failure>,
}

impl CaseResult {
    /// A result without figures; passed unless [`fail`](Self::fail)ed later.
    pub fn new(level: u8, case: impl Into<String>, solution: &Solution, unit: Unit) -> Self {
        Self {
            level: Some(level),
            solution_sha256: solution.sha256.clone(),
            unit: Some(unit),
            ..Self::of_program(case, solution.shown())
        }
    }

    /// The result of a program that plays no level, and has no score.
    pub fn of_program(case: impl Into<String>, command: Vec<String>) -> Self {
        Self {
            level: None,
            case: case.into(),
            solution: command,
            solution_sha256: None,
            score: None,
            reference: None,
            ratio: None,
            unit: None,
            figures: Map::new(),
            remarks: Vec::new(),
            stage: None,
            chosen: Vec::new(),
            noise: None,
            failure: None,
        }
    }

    /// Sets the score and, if the case has a reference, the ratio to it.
    #[must_use]
    pub fn scored(mut self, score: f64, reference: Option<f64>) -> Self {
        self.score = Some(score);
        self.reference = reference;
        self.ratio = reference.map(|reference| match self.unit {
            Some(Unit::S) | None => reference / score,
            Some(Unit::Points | Unit::Coins) => score / reference,
        });
        self
    }

    /// Adds a figure; the name ends in its unit, as in `wall_best_s`.
    #[must_use]
    pub fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }

    /// Says in what respect the case was easier than the contest, so that a pass is seen for what
    /// it is: a few words, such as `no monkeys`.
    #[must_use]
    pub fn remark(mut self, words: impl Into<String>) -> Self {
        self.remarks.push(words.into());
        self
    }

    /// Sets what a flag comes to in this case: the seed that was drawn, the file out of several.
    /// `flag` is its long name. The command that replays the case has it with this value.
    #[must_use]
    pub fn setting(mut self, flag: &'static str, value: impl Into<Value>) -> Self {
        self.chosen.push((flag, value.into()));
        self
    }

    /// What else the machine had to do while the case was judged.
    #[must_use]
    pub fn under(self, noise: Noise) -> Self {
        Self {
            noise: Some(noise),
            ..self
        }
    }

    /// Marks the case as not passed.
    #[must_use]
    pub fn fail(self, failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..self
        }
    }

    /// What follows from all that.
    pub fn verdict(&self) -> Verdict {
        let noisy = self.noise.as_ref().is_some_and(Noise::is_noisy);
        match self.failure.as_ref().map(|failure| failure.cause) {
            None => Verdict::Passed,
            Some(Cause::Solution) => Verdict::Failed,
            Some(Cause::Slowness) if !noisy => Verdict::Failed,
            Some(Cause::Slowness | Cause::Unknown) => Verdict::Undecided,
        }
    }

    /// Whether the case is passed.
    pub fn passed(&self) -> bool {
        self.verdict() == Verdict::Passed
    }

    /// `level 2`, or `network` for a program that plays no level.
    pub(super) fn world(&self) -> String {
        self.level
            .map_or_else(|| "network".to_owned(), |level| format!("level {level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_slowness_can_cause_is_undecided_on_a_noisy_machine() {
        let result = CaseResult::of_program("c", Vec::new());
        let quiet = Noise::measured(Some(1.0), Some(60.0), Some(0.1));
        let noisy = Noise::measured(Some(80.0), Some(10.0), Some(30.0));
        let verdict = |failure: Failure, noise: &Noise| {
            result.clone().under(noise.clone()).fail(failure).verdict()
        };
        let slow = || Failure::slow("time_limit", "killed");
        let wrong = || Failure::new("wrong_output", "wrong");
        assert_eq!(verdict(slow(), &quiet), Verdict::Failed);
        assert_eq!(verdict(slow(), &noisy), Verdict::Undecided);
        assert_eq!(verdict(wrong(), &noisy), Verdict::Failed);
        let unknown = Failure::undecided("search", "given up");
        assert_eq!(verdict(unknown, &quiet), Verdict::Undecided);
        assert_eq!(result.clone().fail(slow()).verdict(), Verdict::Failed);
        assert_eq!(result.under(noisy).verdict(), Verdict::Passed);
    }
}
