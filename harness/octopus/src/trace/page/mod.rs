//! The page of a trace: one file, without a network, that draws a run in space and time. Two traces
//! are drawn one above the other, on one axis.
//!
//! The events travel as columns of numbers ([`columns`]), packed, inside the page. What makes a page
//! too large is left out step by step ([`thin`]), and the page says what.

mod columns;
mod thin;

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::Trace;

/// The largest page, in bytes.
pub const PAGE_BYTES: usize = 15 << 20;

const PAGE: &str = include_str!("page.html");
/// The harness's own style sheet: colours by meaning, in light and dark.
const STYLE: &str = include_str!("../../../../src/web/style.css");
const OWN_STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 9] = [
    include_str!("data.js"),
    include_str!("state.js"),
    include_str!("cause.js"),
    include_str!("arrows.js"),
    include_str!("draw.js"),
    include_str!("view.js"),
    include_str!("panels.js"),
    include_str!("search.js"),
    include_str!("main.js"),
];

/// A page, and what it leaves out.
#[derive(Clone, Debug)]
pub struct Page {
    /// The whole file.
    pub html: String,
    /// What was left out so that it is no larger than [`PAGE_BYTES`], in words; the page says it too.
    pub left_out: Option<&'static str>,
}

/// Draws traces with their names; one above the other if they are two.
pub fn page(traces: &[(&str, &Trace)]) -> Page {
    page_within(traces, PAGE_BYTES)
}

fn page_within(traces: &[(&str, &Trace)], most: usize) -> Page {
    let mut last = 0;
    loop {
        let left_out = thin::words(last);
        let runs: Vec<_> = traces
            .iter()
            .map(|(name, trace)| columns::run(name, trace, &thin::keep(&trace.events, last)))
            .collect();
        let html = fill(&packed(&json!({"runs": runs, "left_out": left_out})));
        if html.len() <= most || last == thin::STEPS {
            return Page { html, left_out };
        }
        last += 1;
    }
}

fn packed(data: &serde_json::Value) -> String {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packer
        .write_all(data.to_string().as_bytes())
        .and_then(|()| packer.finish());
    // Memory takes whatever is written to it.
    BASE64.encode(packed.unwrap_or_default())
}

/// Nothing in Base64 ends an element.
fn fill(data: &str) -> String {
    PAGE.replacen("/*STYLE*/", STYLE, 1)
        .replacen("/*OWN STYLE*/", OWN_STYLE, 1)
        .replacen("/*SCRIPT*/", &SCRIPTS.concat(), 1)
        .replacen("/*DATA*/", data, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Event;

    fn busy(count: u64) -> Trace {
        let event = |at: u64| {
            let mut event = Event::new(
                at * 1000,
                if at.is_multiple_of(2) { "send" } else { "tick" },
            );
            event.node = Some((at % 3).to_string());
            event.id = Some(at.to_string());
            event.text = Some(format!("{}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            event
        };
        Trace {
            events: (0..count).map(event).collect(),
            ..Trace::default()
        }
    }

    #[test]
    fn a_page_is_whole_and_asks_for_nothing() {
        let trace = busy(10);
        let page = page(&[("</script>", &trace)]);
        for placeholder in [
            "/*STYLE*/",
            "/*SCRIPT*/",
            "/*DATA*/",
            "https://",
            "src=",
            "@import",
        ] {
            assert!(!page.html.contains(placeholder), "{placeholder}");
        }
        assert_eq!(page.html.matches("</script>").count(), 2);
        assert_eq!(page.left_out, None);
    }

    #[test]
    fn a_page_that_would_be_too_large_is_thinned_and_says_so() {
        let trace = busy(20_000);
        let whole = page(&[("x", &trace)]).html.len();
        let thinned = page_within(&[("x", &trace)], whole - 100_000);
        assert!(thinned.html.len() <= whole - 100_000);
        assert!(thinned.left_out.is_some());
    }
}
