//! The report as one HTML page that needs nothing else: the result and the event log are put into
//! a template, whose script draws them on one time axis.

use anyhow::Result;
use serde_json::{Value, json};

const TEMPLATE: &str = include_str!("page.html");

/// Where the data goes.
const PLACE: &str = "/*DATA*/null";

/// The page for a result, its summary, and its events in the order of time.
pub(super) fn render(result: &Value, summary: &str, events: &[Value]) -> Result<String> {
    let data = json!({ "result": result, "summary": summary, "events": events });
    // Text that ends the script element early would break the page, whoever wrote it.
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    Ok(TEMPLATE.replacen(PLACE, &data, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_in_the_page_and_cannot_leave_the_script() {
        let events = [json!({"t_us": 1, "event": "act", "text": "</script><b>"})];
        let page = render(&json!({"score": 7}), "Final stats", &events).unwrap();
        assert!(page.contains("\"summary\":\"Final stats\""));
        assert!(page.contains("\\u003c/script>\\u003cb>"));
        assert_eq!(page.matches("</script>").count(), 1);
        for outside in ["http://", "https://", "src=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
