//! Original case files: the JSON that the contest's servers used, one loader for all levels.
//!
//! Fields: `id`, `level`, `input` (level 0: the document; 2: the seed text; 3: an array of flags;
//! 4: an integer), `output` for levels 0 and 3, and the reference solution's figure. Others are
//! ignored.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::input_file;

/// The most bytes of a case file.
const FILE_MOST: u64 = 256 << 20;

/// One original case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The case's name, such as `level0-HhC91MrU7B`.
    pub id: String,
    /// What is given to the solution, or what it is generated from.
    pub input: Value,
    /// The expected answer, where the level has one.
    pub output: Option<Value>,
    /// The 2014 reference solution's figure: seconds for levels 0 and 3, points for 2 and 4.
    pub reference: Option<f64>,
}

#[derive(Deserialize)]
struct Raw {
    id: Option<String>,
    level: Option<u8>,
    input: Option<Value>,
    output: Option<Value>,
    wall_clock_time: Option<f64>,
    score: Option<f64>,
    #[serde(rename = "raw_results")]
    results: Option<Results>,
}

#[derive(Deserialize)]
struct Results {
    #[serde(rename = "Total")]
    total: Option<f64>,
}

impl Case {
    /// Reads a case file of the given level.
    ///
    /// # Errors
    /// One that names the file: it cannot be read, is no JSON, belongs to another level, or has
    /// no `input`.
    pub fn load(path: &Path, level: u8) -> Result<Self> {
        let shown = path.display();
        let text = input_file::read(path, FILE_MOST)
            .with_context(|| format!("cannot read case {shown}"))?;
        Self::parse(&text, level, path).with_context(|| format!("bad case file {shown}"))
    }

    fn parse(text: &[u8], level: u8, path: &Path) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(text)?;
        let id = raw
            .id
            .or_else(|| Some(path.file_stem()?.to_string_lossy().into_owned()));
        // The originals carry the level in a field, in the name, or both.
        let named = id.as_deref().and_then(|id| id.strip_prefix("level"));
        let named = named
            .and_then(|rest| rest.get(..1))
            .and_then(|digit| digit.parse().ok());
        if let Some(found) = raw.level.or(named) {
            ensure!(
                found == level,
                "it is a case of level {found}, not of level {level}"
            );
        }
        let Some(input) = raw.input else {
            bail!("it has no `input`")
        };
        let reference = match level {
            0 | 3 => raw.wall_clock_time,
            2 => raw.score,
            4 => raw.results.and_then(|results| results.total),
            _ => None,
        };
        Ok(Self {
            id: id.unwrap_or_default(),
            input,
            output: raw.output,
            reference,
        })
    }

    /// The input as text (levels 0 and 2).
    pub fn input_text(&self) -> Result<&str> {
        self.input
            .as_str()
            .with_context(|| format!("case {}: `input` is not a text", self.id))
    }

    /// The input as flags (level 3).
    pub fn input_flags(&self) -> Result<Vec<&str>> {
        let flags = self
            .input
            .as_array()
            .map(|flags| flags.iter().map(Value::as_str).collect());
        flags
            .flatten()
            .with_context(|| format!("case {}: `input` is not an array of flags", self.id))
    }

    /// The input as an integer seed (level 4).
    pub fn input_seed(&self) -> Result<i64> {
        self.input
            .as_i64()
            .with_context(|| format!("case {}: `input` is not an integer", self.id))
    }

    /// The expected output as text (level 0).
    pub fn output_text(&self) -> Result<&str> {
        let output = self.output.as_ref().and_then(Value::as_str);
        output.with_context(|| format!("case {}: `output` is missing or not a text", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, level: u8) -> Result<Case> {
        Case::parse(text.as_bytes(), level, Path::new("some/level4-x.json"))
    }

    #[test]
    fn each_level_has_its_reference() {
        let text = r#"{"id": "levelX", "input": 7, "wall_clock_time": 1.5, "score": 2.5,
            "raw_results": {"Total": 3.5, "Pretty": "…"}, "termsig": null}"#;
        let reference = |level| parse(text, level).unwrap().reference;
        assert_eq!(reference(0), Some(1.5));
        assert_eq!(reference(1), None);
        assert_eq!(reference(2), Some(2.5));
        assert_eq!(reference(3), Some(1.5));
        assert_eq!(reference(4), Some(3.5));
    }

    #[test]
    fn a_case_of_another_level_is_refused() {
        let by_field = parse(r#"{"id": "c", "level": 2, "input": "s"}"#, 0).unwrap_err();
        assert!(
            by_field.to_string().contains("case of level 2"),
            "{by_field}"
        );
        let by_name = parse(r#"{"input": 1}"#, 0).unwrap_err();
        assert!(by_name.to_string().contains("case of level 4"), "{by_name}");
    }

    #[test]
    fn inputs_are_typed() {
        assert_eq!(
            parse(r#"{"input": -5}"#, 4).unwrap().input_seed().unwrap(),
            -5
        );
        let flags = parse(r#"{"id": "a", "input": ["--seed", "49"]}"#, 3).unwrap();
        assert_eq!(flags.input_flags().unwrap(), ["--seed", "49"]);
        assert!(flags.input_text().is_err());
        assert!(parse(r#"{"id": "a"}"#, 0).is_err());
    }
}
