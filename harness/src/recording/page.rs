//! The page: one file, without a network, whose script draws the panels.

use serde_json::Value;

use crate::web;

const PAGE: &str = include_str!("page.html");

/// The page for a case's result as JSON and for what is drawn of its recording
/// ([`Recording::drawn`](super::Recording::drawn)).
pub fn render(result: &Value, mut drawn: Value) -> String {
    drawn["result"] = result.clone();
    // Inside a script element only the end tag has a meaning, and it begins with this.
    let data = drawn.to_string().replace('<', "\\u003c");
    PAGE.replacen("/*STYLE*/", web::STYLE, 1)
        .replacen("/*DATA*/null", &data, 1)
}
