//! Which files a search looks at, by their paths.

use globset::{Glob, GlobBuilder, GlobMatcher};

/// Which files to search: a pattern with a slash is compared with the whole path, one without
/// with the file's name.
pub struct PathFilter {
    matcher: GlobMatcher,
    whole: bool,
}

impl PathFilter {
    /// Compiles a pattern. `*` does not match a slash, `**` does.
    pub fn new(pattern: &str) -> Result<Self, globset::Error> {
        let glob: Glob = GlobBuilder::new(pattern.trim_start_matches('/'))
            .literal_separator(true)
            .build()?;
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
}
