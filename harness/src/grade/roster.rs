//! `roster.toml`: whose solutions are graded, and where they are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::input_file;

/// The most bytes of a roster.
const FILE_MOST: u64 = 4 << 20;

/// The most entries of a roster.
const ENTRIES_MOST: usize = 10_000;

/// The most characters of a student's name.
const NAME_MOST: usize = 200;

/// A class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roster {
    /// What the page is called.
    #[serde(default)]
    pub title: Option<String>,
    /// Variables for build commands, such as where a cache is.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What was handed in.
    #[serde(default, rename = "submission")]
    pub submissions: Vec<Submission>,
}

/// What a student has handed in: one or more projects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Submission {
    /// Whose it is. The same name may come again.
    pub student: String,
    /// A folder, an archive, or a bare repository; relative to the roster.
    pub source: PathBuf,
    /// What of a repository, instead of its `HEAD`.
    #[serde(default)]
    pub revision: Option<String>,
}

/// What kind of source there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    Repository,
    /// With the flag by which `tar` unpacks it, or without one.
    Tar(&'static str),
    Zip,
}

/// Endings of archives.
const ARCHIVES: [(&str, Kind); 9] = [
    (".tar", Kind::Tar("")),
    (".tar.gz", Kind::Tar("-z")),
    (".tgz", Kind::Tar("-z")),
    (".tar.bz2", Kind::Tar("-j")),
    (".tbz2", Kind::Tar("-j")),
    (".tar.xz", Kind::Tar("-J")),
    (".txz", Kind::Tar("-J")),
    (".tar.zst", Kind::Tar("--zstd")),
    (".zip", Kind::Zip),
];

impl Roster {
    /// Reads a roster. Sources become absolute.
    ///
    /// # Errors
    /// A line that says where and what.
    pub fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = input_file::read_text(path, FILE_MOST)
            .with_context(|| format!("{shown}: cannot be read"))?;
        let mut roster = Self::parse(&text).with_context(|| format!("{shown}"))?;
        let path = std::path::absolute(path)?;
        let home = path.parent().unwrap_or(&path);
        for submission in &mut roster.submissions {
            submission.source = home.join(&submission.source);
        }
        Ok(roster)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut roster: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            let message = error.message().replace('\n', " ");
            let message = message.replace(
                "expected a sequence",
                "there may be several: write [[submission]]",
            );
            anyhow::anyhow!("line {line}: {message}")
        })?;
        ensure!(
            !roster.submissions.is_empty(),
            "there is no [[submission]] in it"
        );
        ensure!(
            roster.submissions.len() <= ENTRIES_MOST,
            "more than {ENTRIES_MOST} submissions"
        );
        for name in roster.environment.keys() {
            ensure!(
                !name.is_empty() && !name.contains(['=', '\0']),
                "`environment`: {name:?} cannot be a variable's name"
            );
        }
        for (name, value) in &roster.environment {
            ensure!(
                !value.contains('\0'),
                "`environment`: {name} has a NUL in it"
            );
        }
        for (submission, number) in roster.submissions.iter_mut().zip(1..) {
            // Whoever typed it saw no blanks around it.
            submission.student = submission.student.trim().to_owned();
            let length = submission.student.chars().count();
            ensure!(
                (1..=NAME_MOST).contains(&length),
                "submission {number}: `student` must have 1 to {NAME_MOST} characters"
            );
            ensure!(
                !submission.source.as_os_str().is_empty(),
                "submission {number}: `source` is empty"
            );
            let revision = submission.revision.as_deref().unwrap_or("HEAD");
            ensure!(
                !revision.is_empty() && !revision.starts_with('-'),
                "submission {number}: `revision` is {revision:?}"
            );
        }
        Ok(roster)
    }
}

impl Submission {
    /// What its source is.
    ///
    /// # Errors
    /// It is not there, or of no known kind.
    pub fn kind(&self) -> Result<Kind> {
        let shown = self.source.display();
        let metadata =
            std::fs::metadata(&self.source).with_context(|| format!("{shown}: cannot be read"))?;
        if metadata.is_dir() {
            let is_bare =
                self.source.join("HEAD").is_file() && self.source.join("objects").is_dir();
            return Ok(if is_bare {
                Kind::Repository
            } else {
                Kind::Folder
            });
        }
        let name = self.source.to_string_lossy().to_lowercase();
        let known = ARCHIVES.iter().find(|(ending, _)| name.ends_with(ending));
        let (_, kind) = known.with_context(|| {
            let endings: Vec<&str> = ARCHIVES.iter().map(|(ending, _)| *ending).collect();
            format!(
                "{shown}: neither a folder nor an archive ({})",
                endings.join(", ")
            )
        })?;
        Ok(*kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_names_students_and_sources() {
        let text = "title = 'Autumn'\nenvironment = {GOFLAGS = '-mod=mod'}\n\
                    [[submission]]\nstudent = 'Ada'\nsource = 'ada.tar.gz'\n\
                    [[submission]]\nstudent = 'Bob'\nsource = 'bob.git'\nrevision = 'v1'\n";
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("roster.toml");
        std::fs::write(&path, text).unwrap();
        let roster = Roster::load(&path).unwrap();
        assert_eq!(roster.title.as_deref(), Some("Autumn"));
        let [ada, bob] = roster.submissions.as_slice() else {
            panic!("{roster:?}");
        };
        assert_eq!(ada.source, home.path().join("ada.tar.gz"));
        assert!(
            ada.kind()
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
        std::fs::write(&ada.source, "").unwrap();
        assert_eq!(ada.kind().unwrap(), Kind::Tar("-z"));
        std::fs::create_dir_all(bob.source.join("objects")).unwrap();
        assert_eq!(bob.kind().unwrap(), Kind::Folder);
        std::fs::write(bob.source.join("HEAD"), "").unwrap();
        assert_eq!(bob.kind().unwrap(), Kind::Repository);
    }

    #[test]
    fn mistakes_are_told_in_a_line() {
        let told = |text: &str| format!("{:#}", Roster::parse(text).unwrap_err());
        assert!(told("").contains("no [[submission]]"));
        assert!(told("[[submission]]\nstudent = 'a'").contains("missing field `source`"));
        assert!(told("\nx = 1").starts_with("line 2: "));
        let empty = told("[[submission]]\nstudent = 'a'\nsource = ''");
        assert!(empty.contains("submission 1: `source` is empty"), "{empty}");
        let single = told("[submission]\nstudent = 'a'\nsource = 'x'");
        assert!(single.contains("write [[submission]]"), "{single}");
        let odd = told("environment = {'A=B' = 'x'}\n[[submission]]\nstudent = 'a'\nsource = 'x'");
        assert!(odd.contains("\"A=B\" cannot be"), "{odd}");
        let blank = told("[[submission]]\nstudent = ' '\nsource = 'x'");
        assert!(blank.contains("submission 1: `student`"), "{blank}");
        let flag = "[[submission]]\nstudent = 'a'\nsource = 'x'\nrevision = '--output=x'";
        assert!(told(flag).contains("`revision`"));
    }
}
