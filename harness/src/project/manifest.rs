//! `ctf3.toml`: which level a folder plays, how its program is built and run, and what it is made of.

use std::path::{Component, Path};

use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

use crate::ladder::LEVELS;

/// What a project says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The level it plays, 0 to 4.
    #[serde(deserialize_with = "level")]
    pub level: u8,
    /// What it is written in; for people.
    pub language: Option<String>,
    /// A command for the shell that builds the program, run in the project's folder.
    pub build: Option<String>,
    /// The program: a file in the folder.
    pub run: String,
    /// Files whose change is a reason to judge the program again.
    #[serde(default)]
    pub watch: Vec<String>,
}

/// Why a manifest cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// It is no TOML, or has other fields, or fields of other types.
    #[error("line {line}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// One line.
        message: String,
    },
    /// There is no such level.
    #[error("`level` is {0}; there are 0 to {last}", last = LEVELS - 1)]
    Level(u8),
    /// A path that does not stay in the folder.
    #[error("`{field}` names {path:?}; a path within the folder is needed, such as \"./solution\"")]
    Path {
        /// The field.
        field: &'static str,
        /// What it says.
        path: String,
    },
}

impl Manifest {
    /// The manifest's name in a project's folder.
    pub const FILE: &str = "ctf3.toml";

    /// Reads a manifest.
    ///
    /// ```
    /// use harness::project::Manifest;
    ///
    /// let manifest = Manifest::parse("level = 0\nrun = './highlight.py'").unwrap();
    /// assert_eq!(manifest.level, 0);
    /// let error = Manifest::parse("level = 0\nruns = './highlight.py'").unwrap_err();
    /// assert!(error.to_string().starts_with("line 2: unknown field `runs`"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            ManifestError::Syntax {
                line: before.matches('\n').count() + 1,
                message: error.message().replace('\n', " "),
            }
        })?;
        if manifest.level >= LEVELS {
            return Err(ManifestError::Level(manifest.level));
        }
        let watched = manifest.watch.iter().map(|path| ("watch", path));
        for (field, path) in std::iter::once(("run", &manifest.run)).chain(watched) {
            if !stays_inside(path) {
                let path = path.clone();
                return Err(ManifestError::Path { field, path });
            }
        }
        Ok(manifest)
    }
}

/// A number of a level, whatever else somebody may write there.
fn level<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let value = toml::Value::deserialize(from)?;
    let number = value.as_integer();
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| {
            D::Error::custom(format!(
                "`level` is {value}; it is a number, from 0 to {}",
                LEVELS - 1
            ))
        })
}

/// Whether a path names something below the folder that it is relative to.
fn stays_inside(path: &str) -> bool {
    let mut components = Path::new(path).components().peekable();
    let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let names_something = Path::new(path).file_name().is_some();
    components.peek().is_some() && names_something && components.all(is_inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_a_line_with_their_place() {
        let told = |text: &str| Manifest::parse(text).unwrap_err().to_string();
        assert!(told("level = 0").contains("missing field `run`"));
        for level in ["'level0'", "-1", "[0]", "99999999999"] {
            let text = told(&format!("run = 'a'\nlevel = {level}"));
            assert!(text.starts_with("line 2: `level` is "), "{text}");
            assert!(text.ends_with("it is a number, from 0 to 4"), "{text}");
        }
        assert!(told("level = 0\nrun = \n").starts_with("line 2: "));
        assert!(told("level = 7\nrun = 'a'").contains("`level` is 7; there are 0 to 4"));
        for path in ["", "/bin/sh", "../x", "a/../../x", "."] {
            let text = told(&format!("level = 0\nrun = '{path}'"));
            assert!(text.contains("within the folder"), "{path:?}: {text}");
        }
        for text in [
            "",
            "level",
            "[",
            "level = 0\nrun = 'a'\nwatch = 'a'",
            "\u{0}",
            "= =",
        ] {
            assert!(!told(text).contains('\n'), "{text:?}");
        }
    }
}
