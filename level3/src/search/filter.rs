//! Which files a search looks at, by their paths.

use globset::{Glob, GlobBuilder, GlobMatcher};
use memchr::memmem::Finder;
use thiserror::Error;

use super::language;
use super::query::{FilePattern, FileRule};

/// Longer patterns are refused, in bytes.
const MAX_BYTES: usize = 1000;

/// Deeper braces are refused: the crate that compiles them recurses, and panics at some depth.
const MAX_BRACES: usize = 10;

/// Why a pattern of paths was refused.
#[derive(Debug, Error)]
pub enum FilterError {
    /// It is no pattern.
    #[error("bad path pattern: {0}")]
    Glob(globset::Error),
    /// It is too long.
    #[error("the path pattern is too costly: it exceeds the budget of {MAX_BYTES} bytes")]
    TooLong,
    /// It is too deep.
    #[error("the path pattern is too costly: braces may be nested {MAX_BRACES} deep")]
    TooDeep,
}

/// Which files to search.
pub(super) struct FileFilter(Vec<Rule>);

/// One of the patterns must fit, or none of them.
struct Rule {
    any: Vec<Matcher>,
    negated: bool,
}

enum Matcher {
    /// Compared with the whole path if there is a slash in it, and otherwise with the file's name.
    Glob {
        glob: GlobMatcher,
        whole: bool,
    },
    /// Somewhere in the path.
    Part(Finder<'static>),
    /// Somewhere in the path, in any case: what to look for is in small letters.
    PartOfAnyCase(String),
    Language(String),
}

impl FileFilter {
    /// Compiles the rules, all of which must hold.
    pub(super) fn new(rules: &[FileRule]) -> Result<Self, FilterError> {
        let rule = |rule: &FileRule| {
            let any = rule.any.iter().map(Matcher::new);
            Ok(Rule {
                any: any.collect::<Result<_, _>>()?,
                negated: rule.negated,
            })
        };
        let rules = rules.iter().map(rule);
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// Whether it admits every file.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file is to be searched.
    pub(super) fn admits(&self, path: &str) -> bool {
        let fits = |rule: &Rule| rule.any.iter().any(|matcher| matcher.fits(path));
        self.0.iter().all(|rule| fits(rule) != rule.negated)
    }
}

impl Matcher {
    fn new(pattern: &FilePattern) -> Result<Self, FilterError> {
        match pattern {
            FilePattern::Glob { text, ignore_case } => Self::glob(text, *ignore_case),
            FilePattern::Part { text, .. } if text.len() > MAX_BYTES => Err(FilterError::TooLong),
            FilePattern::Part { text, ignore_case } => {
                // The path is seen as if it began with a slash, so that `/lib` is a folder's start.
                Ok(if *ignore_case {
                    Self::PartOfAnyCase(text.to_lowercase())
                } else {
                    Self::Part(Finder::new(text).into_owned())
                })
            }
            FilePattern::Language(name) => Ok(Self::Language(name.clone())),
        }
    }

    /// `*` does not match a slash, `**` does.
    fn glob(text: &str, ignore_case: bool) -> Result<Self, FilterError> {
        if text.len() > MAX_BYTES {
            return Err(FilterError::TooLong);
        }
        if depth(text) > MAX_BRACES {
            return Err(FilterError::TooDeep);
        }
        let glob: Glob = GlobBuilder::new(text.trim_start_matches('/'))
            .literal_separator(true)
            .case_insensitive(ignore_case)
            .build()
            .map_err(FilterError::Glob)?;
        Ok(Self::Glob {
            glob: glob.compile_matcher(),
            whole: text.contains('/'),
        })
    }

    fn fits(&self, path: &str) -> bool {
        match self {
            Self::Glob { glob, whole: true } => glob.is_match(path),
            Self::Glob { glob, whole: false } => {
                glob.is_match(path.rsplit('/').next().unwrap_or(path))
            }
            Self::Part(part) => {
                let behind_slash = part.needle().strip_prefix(b"/");
                behind_slash.is_some_and(|front| path.as_bytes().starts_with(front))
                    || part.find(path.as_bytes()).is_some()
            }
            Self::PartOfAnyCase(part) => {
                let path = path.to_lowercase();
                let behind_slash = part.strip_prefix('/');
                behind_slash.is_some_and(|front| path.starts_with(front)) || path.contains(part)
            }
            Self::Language(name) => language::of(path) == Some(name),
        }
    }
}

/// How many braces are open at once, at most.
fn depth(pattern: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in pattern.bytes() {
        match byte {
            b'{' => open += 1,
            b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pattern: FilePattern, negated: bool) -> Result<FileFilter, FilterError> {
        let any = vec![pattern];
        FileFilter::new(&[FileRule { any, negated }])
    }

    fn glob(text: &str) -> FilePattern {
        let text = text.to_owned();
        FilePattern::Glob {
            text,
            ignore_case: false,
        }
    }

    fn part(text: &str, ignore_case: bool) -> FilePattern {
        let text = text.to_owned();
        FilePattern::Part { text, ignore_case }
    }

    #[test]
    fn patterns_without_a_slash_look_at_the_name() {
        let admits = |pattern: &str, path: &str| filter(glob(pattern), false).unwrap().admits(path);
        assert!(admits("*.c", "kernel/sched/core.c"));
        assert!(!admits("kernel/*.c", "kernel/sched/core.c"));
        assert!(admits("kernel/**/*.c", "kernel/sched/core.c"));
        assert!(admits("/kernel/**", "kernel/fork.c"));
        assert!(!admits("*.c", "core.h"));
        assert!(filter(glob("["), false).is_err());
    }

    #[test]
    fn parts_are_anywhere_in_the_path() {
        let admits = |part: FilePattern, path: &str| filter(part, false).unwrap().admits(path);
        assert!(admits(part("sched", false), "kernel/sched/core.c"));
        assert!(admits(part("kernel/", false), "kernel/sched/core.c"));
        assert!(admits(part("/kernel/", false), "kernel/sched/core.c"));
        assert!(!admits(part("/core/", false), "kernel/sched/core.c"));
        assert!(admits(part("makefile", true), "lib/Makefile"));
        assert!(!admits(part("makefile", false), "lib/Makefile"));
        let language = FilePattern::Language("c".to_owned());
        assert!(admits(language.clone(), "a/b.h"));
        assert!(!filter(language, true).unwrap().admits("a/b.h"));
    }

    #[test]
    fn patterns_that_cost_too_much_are_refused() {
        let nested = format!("{}a{}", "{".repeat(250), "}".repeat(250));
        assert!(matches!(
            filter(glob(&nested), false),
            Err(FilterError::TooDeep)
        ));
        let long = "a".repeat(10_000);
        assert!(matches!(
            filter(glob(&long), false),
            Err(FilterError::TooLong)
        ));
        assert!(
            filter(glob("*.{c,h,{cc,hh}}"), false)
                .unwrap()
                .admits("a.hh")
        );
    }
}
