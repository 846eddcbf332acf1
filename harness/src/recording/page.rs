//! The page: one file, without a network, whose script draws the panels.

use anyhow::Result;
use serde_json::{Value, json};

use super::Panel;

const PAGE: &str = include_str!("page.html");

/// The page for a case's result and its panels.
pub(super) fn render(result: &Value, panels: &[Panel]) -> Result<String> {
    let data = serde_json::to_string(&json!({ "result": result, "panels": panels }))?;
    // Inside a script element only the end tag has a meaning, and it begins with this.
    Ok(PAGE.replacen("/*DATA*/null", &data.replace('<', "\\u003c"), 1))
}
