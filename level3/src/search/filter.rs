//! Which files a search looks at, by their paths.

use globset::{Glob, GlobBuilder, GlobMatcher};
use thiserror::Error;

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

/// Which files to search: a pattern with a slash is compared with the whole path, one without
/// with the file's name.
pub struct PathFilter {
    matcher: GlobMatcher,
    whole: bool,
}

impl PathFilter {
    /// Compiles a pattern. `*` does not match a slash, `**` does.
    pub fn new(pattern: &str) -> Result<Self, FilterError> {
        if pattern.len() > MAX_BYTES {
            return Err(FilterError::TooLong);
        }
        if depth(pattern) > MAX_BRACES {
            return Err(FilterError::TooDeep);
        }
        let glob: Glob = GlobBuilder::new(pattern.trim_start_matches('/'))
            .literal_separator(true)
            .build()
            .map_err(FilterError::Glob)?;
        Ok(Self {
            matcher: glob.compile_matcher(),
            whole: pattern.contains('/'),
        })
    }

    /// Whether a file is to be searched.
    pub fn admits(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.matcher.is_match(if self.whole { path } else { name })
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

    #[test]
    fn patterns_without_a_slash_look_at_the_name() {
        let admits = |pattern: &str, path: &str| PathFilter::new(pattern).unwrap().admits(path);
        assert!(admits("*.c", "kernel/sched/core.c"));
        assert!(!admits("kernel/*.c", "kernel/sched/core.c"));
        assert!(admits("kernel/**/*.c", "kernel/sched/core.c"));
        assert!(admits("/kernel/**", "kernel/fork.c"));
        assert!(!admits("*.c", "core.h"));
        assert!(PathFilter::new("[").is_err());
    }

    #[test]
    fn patterns_that_cost_too_much_are_refused() {
        let nested = format!("{}a{}", "{".repeat(250), "}".repeat(250));
        assert!(matches!(
            PathFilter::new(&nested),
            Err(FilterError::TooDeep)
        ));
        let long = "a".repeat(10_000);
        assert!(matches!(PathFilter::new(&long), Err(FilterError::TooLong)));
        assert!(PathFilter::new("*.{c,h,{cc,hh}}").unwrap().admits("a.hh"));
    }
}
