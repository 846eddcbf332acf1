//! The documents that are judged: those named, and those in the folders named.
//!
//! Of a folder the files are taken that git would: hidden ones and those that `.gitignore`, `.ignore`
//! or `.level0ignore` name are left out, and no link is followed.

use super::error::{Problem, ProseError};
use ignore::WalkBuilder;
use ignore::overrides::{Override, OverrideBuilder};
use std::path::{Path, PathBuf};

/// Lists files that are not to be judged, in the form of `.gitignore`.
const IGNORE_FILE: &str = ".level0ignore";

/// Which files of a folder are judged.
#[derive(Clone, Default, Debug)]
pub struct Selection {
    /// Patterns in the form of `.gitignore`: files that match one are taken, those that match one
    /// with `!` before it are left out; the last that matches decides.
    pub globs: Vec<String>,
    /// Hidden files too.
    pub hidden: bool,
    /// Files that ignore files name, too.
    pub ignored: bool,
}

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    /// Nothing for standard input.
    pub path: Option<PathBuf>,
    /// It was named, and not found in a folder.
    pub named: bool,
}

impl Selection {
    pub(crate) fn overrides(&self) -> Result<Override, ProseError> {
        let wrong = |error: ignore::Error| ProseError::Glob {
            message: error.to_string().replace(char::is_control, " "),
        };
        let mut builder = OverrideBuilder::new(".");
        for glob in &self.globs {
            builder.add(glob).map_err(wrong)?;
        }
        builder.build().map_err(wrong)
    }

    /// The documents at `paths` in the order of the names; standard input if there are none, and for
    /// `-`. They are found as they are asked for.
    pub(crate) fn documents<'s>(
        &'s self,
        paths: &'s [PathBuf],
        overrides: &'s Override,
    ) -> Box<dyn Iterator<Item = Result<Document, Problem>> + 's> {
        let stdin = || {
            Ok(Document {
                path: None,
                named: true,
            })
        };
        if paths.is_empty() {
            return Box::new(std::iter::once(stdin()));
        }
        Box::new(
            paths
                .iter()
                .flat_map(move |path| -> Box<dyn Iterator<Item = _>> {
                    if path.as_os_str() == "-" {
                        Box::new(std::iter::once(stdin()))
                    } else if path.is_dir() {
                        Box::new(self.walk(path, overrides))
                    } else {
                        Box::new(std::iter::once(Ok(Document {
                            path: Some(path.clone()),
                            named: true,
                        })))
                    }
                }),
        )
    }

    fn walk(
        &self,
        folder: &Path,
        overrides: &Override,
    ) -> impl Iterator<Item = Result<Document, Problem>> {
        let mut walk = WalkBuilder::new(folder);
        if !self.ignored {
            walk.add_custom_ignore_filename(IGNORE_FILE);
        }
        let walk = walk
            .hidden(!self.hidden)
            .ignore(!self.ignored)
            .git_ignore(!self.ignored)
            .git_global(!self.ignored)
            .git_exclude(!self.ignored)
            .parents(!self.ignored)
            .overrides(overrides.clone())
            .sort_by_file_name(Ord::cmp)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        walk.filter_map(|entry| match entry {
            // A pipe or a device in a folder would be waited for.
            Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                Some(Ok(Document {
                    path: Some(entry.into_path()),
                    named: false,
                }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(Problem::Walk {
                message: error.to_string().replace(char::is_control, "\u{FFFD}"),
            })),
        })
    }
}
