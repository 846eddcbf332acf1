//! Two runs side by side: what they were judged with, what was measured, and their charts.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::{charts, frame::frame, level_of};
use crate::{
    logbook::Kept,
    report::{plain, score},
};

/// Two results.
pub(in super::super) fn compare(a: &Kept, b: &Kept) -> Markup {
    let nothing = Value::Null;
    let recording = |kept: &Kept| kept.recording.clone().unwrap_or_else(|| nothing.clone());
    let overlaid = charts::overlaid(&recording(a), &recording(b));
    frame(
        "Two runs",
        &html! {
            h1 { "Two runs" }
            div.wide { table {
                thead { tr {
                    th {}
                    @for (name, kept) in [("A", a), ("B", b)] {
                        th { a href={"/results/" (kept.entry.id)} { (name) } }
                    }
                } }
                tbody {
                    (row("when", &[a, b].map(|kept| charts::when(kept.entry.at_ms))))
                    (row("level", &[a, b].map(|kept| level_of(&kept.entry))))
                    (row("case", &[a, b].map(|kept| kept.entry.case.clone())))
                    (row("solution", &[a, b].map(|kept| kept.entry.solution.clone())))
                    (row("verdict", &[a, b].map(|kept| kept.entry.verdict.clone())))
                    (row("score", &[a, b].map(|kept| {
                        score(kept.entry.score, kept.entry.unit.as_deref())
                    })))
                }
            } }
            h2 { "Figures" }
            (maps(&a.result["figures"], &b.result["figures"]))
            @for (title, chart) in &overlaid {
                h2 { (title) }
                p.quiet { (chart.title) }
                (chart.svg())
            }
            @if overlaid.is_empty() {
                p.quiet { "These two have no charts to lay over each other." }
            }
            h2 { "Settings" }
            (maps(&a.result["settings"], &b.result["settings"]))
        },
    )
}

fn row(name: &str, values: &[String; 2]) -> Markup {
    let differs = values[0] != values[1];
    html! { tr {
        th scope="row" { (name) }
        @for value in values { td.differs[differs] { (value) } }
    } }
}

/// Two objects, a row for each field of either.
fn maps(a: &Value, b: &Value) -> Markup {
    let fields = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys().cloned())
            .collect()
    };
    let mut names = fields(a);
    let known: BTreeSet<String> = names.iter().cloned().collect();
    names.extend(fields(b).into_iter().filter(|name| !known.contains(name)));
    html! { div.wide { table {
        thead { tr { th {} th { "A" } th { "B" } } }
        tbody { @for name in &names { (row(name, &[plain(&a[name]), plain(&b[name])])) } }
    } } }
}
