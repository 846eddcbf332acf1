//! What one run of a grading gave, as it is kept: every text of it bounded, whoever wrote it.

use std::{io::Write, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{fetch::Refused, room::read_left};

/// The most characters of a text.
const TEXT_MOST: usize = 4000;

/// The most lines of a list.
const LINES_MOST: usize = 20;

/// The most bytes of figures or settings as JSON.
const MAP_MOST: usize = 64 << 10;

/// The most bytes of a record's file.
const FILE_MOST: u64 = 1 << 20;

/// Which run it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Whose.
    pub student: String,
    /// The level.
    pub level: u8,
    /// The stage of its ladder; none for the contest itself.
    pub stage: Option<u8>,
    /// The seed.
    pub seed: u64,
}

impl Run {
    /// The name of its files: letters, digits and dashes, whatever the student is called.
    pub fn key(&self) -> String {
        let plain = self.student.chars().map(|c| {
            let lower = c.to_ascii_lowercase();
            if lower.is_ascii_alphanumeric() {
                lower
            } else {
                '-'
            }
        });
        let plain: String = plain.take(30).collect();
        // Two names may look the same as letters and digits.
        let digest = hex::encode(Sha256::digest(&self.student));
        let stage = self
            .stage
            .map_or_else(String::new, |k| format!("-stage{k}"));
        format!(
            "{}-{}-level{}{stage}-seed{}",
            plain.trim_matches('-'),
            &digest[..8],
            self.level,
            self.seed
        )
    }

    /// For people: `level 4, stage 2, seed 7`.
    pub fn shown(&self) -> String {
        let stage = self
            .stage
            .map_or_else(String::new, |k| format!(", stage {k}"));
        format!("level {}{stage}, seed {}", self.level, self.seed)
    }
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// The machine had other things to do, each time.
    Undecided,
    /// The judge itself could not do its work.
    Error,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
            Self::Error => "error",
        }
    }
}

/// What one run gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub run: Run,
    /// Of the submission, and of how it was judged: a run of the same is not done again.
    pub digest: String,
    /// What the program is written in, by its manifest.
    pub language: Option<String>,
    pub outcome: Outcome,
    /// How often it was judged until the machine was quiet.
    pub attempts: u32,
    pub score: Option<f64>,
    pub unit: Option<String>,
    /// Why it is not passed, as the judge says it.
    pub kind: Option<String>,
    pub message: Option<String>,
    pub place: Option<String>,
    pub said: Vec<String>,
    pub next: Vec<String>,
    pub remarks: Vec<String>,
    pub figures: Map<String, Value>,
    pub settings: Map<String, Value>,
    /// When it was judged, as RFC 3339 says it.
    pub at: String,
    /// The page with charts, beside the record.
    pub charts: Option<String>,
}

impl Record {
    /// A record of a run now, without anything in it.
    pub fn new(run: Run, digest: &str, outcome: Outcome) -> Self {
        Self {
            run,
            digest: digest.to_owned(),
            language: None,
            outcome,
            attempts: 1,
            score: None,
            unit: None,
            kind: None,
            message: None,
            place: None,
            said: Vec::new(),
            next: Vec::new(),
            remarks: Vec::new(),
            figures: Map::new(),
            settings: Map::new(),
            at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            charts: None,
        }
    }

    /// What a submission gets that cannot be judged.
    pub fn refused(run: Run, digest: &str, refused: &Refused) -> Self {
        Self {
            kind: Some(refused.kind.to_owned()),
            message: Some(bounded(&refused.message)),
            said: refused.said.iter().map(|line| bounded(line)).collect(),
            ..Self::new(run, digest, Outcome::Failed)
        }
    }

    /// What the judge's own document says; none if it has no result.
    pub fn judged(run: Run, digest: &str, document: &Value) -> Option<Self> {
        let result = document["results"].get(0)?;
        let outcome = match result["verdict"].as_str()? {
            "passed" => Outcome::Passed,
            "undecided" => Outcome::Undecided,
            _ => Outcome::Failed,
        };
        let text = |value: &Value| value.as_str().map(bounded);
        let texts = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(text).take(LINES_MOST).collect()
        };
        let map = |value: &Value| {
            let map = value.as_object().cloned().unwrap_or_default();
            let length = serde_json::to_string(&map).map_or(usize::MAX, |text| text.len());
            if length <= MAP_MOST { map } else { Map::new() }
        };
        let failure = &result["failure"];
        Some(Self {
            score: result["score"].as_f64(),
            unit: text(&result["unit"]),
            kind: text(&failure["kind"]),
            message: text(&failure["message"]),
            place: text(&failure["where"]),
            said: texts(&failure["said"]),
            next: texts(&failure["next"]),
            remarks: texts(&result["remarks"]),
            figures: map(&result["figures"]),
            settings: map(&result["settings"]),
            ..Self::new(run, digest, outcome)
        })
    }

    /// Reads a record; none if there is none, or none that can be understood.
    pub fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&read_left(path, FILE_MOST)?).ok()
    }

    /// Keeps a record: whole, or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let home = path.parent().unwrap_or(path);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(home)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.persist(path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A text as far as it is kept, without what does more than print.
pub(super) fn bounded(text: &str) -> String {
    let is_kept = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let shown = text
        .chars()
        .map(|c| if is_kept(c) { c } else { '\u{fffd}' });
    let mut shown: String = shown.take(TEXT_MOST).collect();
    if text.chars().nth(TEXT_MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> Run {
        Run {
            student: "Ada".into(),
            level: 0,
            stage: None,
            seed: 7,
        }
    }

    #[test]
    fn files_have_tame_names() {
        let named = |student: &str| {
            Run {
                student: student.into(),
                ..run()
            }
            .key()
        };
        let key = named("../../Ada <Lovelace>");
        assert!(key.starts_with("ada--lovelace-"), "{key}");
        assert!(key.ends_with("-level0-seed7"), "{key}");
        assert_ne!(named("Ada-"), named("Ada?"));
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_a_broken_one_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.json");
        let record = Record::new(run(), "d", Outcome::Undecided);
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path), Some(record));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Record::load(&path), None);
    }

    #[test]
    fn whatever_the_judge_was_told_is_bounded() {
        let document = json!({"results": [{
            "verdict": "failed", "score": 1.5, "unit": "s",
            "figures": {"x": "y".repeat(100_000)},
            "failure": {"kind": "k", "message": "a\u{1b}[2J".repeat(10_000), "said": vec!["x"; 1000]},
        }]});
        let record = Record::judged(run(), "d", &document).unwrap();
        let message = record.message.unwrap();
        assert_eq!(message.chars().count(), TEXT_MOST + 1);
        assert!(!message.contains('\u{1b}'));
        assert_eq!(record.said.len(), LINES_MOST);
        assert!(record.figures.is_empty());
        assert!(Record::judged(run(), "d", &json!({"results": []})).is_none());
    }
}
