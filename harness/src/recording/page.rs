//! The page: one file, without a network, whose script draws the panels.

use anyhow::Result;
use serde_json::{Value, json};

use super::Recording;

const PAGE: &str = include_str!("page.html");

/// The page for a case's result and what was recorded.
pub(super) fn render(result: &Value, recording: &Recording) -> Result<String> {
    let data = serde_json::to_string(&json!({
        "result": result,
        "panels": recording.panels,
        "bands": recording.bands,
        "time": recording.time,
        "summary": recording.summary,
    }))?;
    // Inside a script element only the end tag has a meaning, and it begins with this.
    Ok(PAGE.replacen("/*DATA*/null", &data.replace('<', "\\u003c"), 1))
}
