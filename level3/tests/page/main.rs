//! The page in a real browser, used as people use it: with keys, clicks and their eyes.
//!
//! Skipped, with a message, where no Chromium is installed. Pictures are left in the target folder
//! for people to look at.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "../common/browser.rs"]
mod browser;
#[path = "../common/mod.rs"]
mod common;

mod file;
mod history;
mod results;
mod roots;
mod sites;

use std::time::Duration;

use browser::Browser;
use common::{Cluster, write_tree};
use tempfile::TempDir;

/// A tree that has been indexed, and a browser to look at it with.
struct Fixture {
    browser: Browser,
    cluster: Cluster,
    tree: TempDir,
}

impl Fixture {
    /// Starts all of it, if there is a browser.
    fn start<P: AsRef<std::path::Path>, B: AsRef<[u8]>>(
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Option<Self> {
        let browser = Browser::start()?;
        let tree = tempfile::tempdir().unwrap();
        write_tree(tree.path(), files);
        let cluster = Cluster::start(3, |config| {
            config.editor_url = Some("editor://open/{path}:{line}".to_owned());
            config.colour_time_limit = Duration::from_mins(10);
        });
        cluster.master.index(tree.path());
        Some(Self {
            browser,
            cluster,
            tree,
        })
    }

    /// An address of the master.
    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.cluster.master.address)
    }

    /// Opens a page of the master.
    fn open(&mut self, target: &str) {
        let url = self.url(target);
        self.browser.open(&url);
    }

    /// Ends the test: the page's scripts must not have failed.
    fn end(self) {
        assert_eq!(self.browser.complaints, Vec::<String>::new());
    }
}

/// A file of so many lines, of which every tenth has the needle.
fn long_file(lines: usize) -> String {
    let line = |at: usize| {
        let text = if at.is_multiple_of(10) {
            "needle"
        } else {
            "other"
        };
        format!("int {text}_{at}(void); /* line {at} */\n")
    };
    (1..=lines).map(line).collect()
}
