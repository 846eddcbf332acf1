//! The pages, as HTML. Everything that a player, a program or a file says is escaped by the template.

mod charts;
mod compare;
mod frame;
mod history;
mod levels;
mod live;
mod live_search;

use maud::{Markup, html};

pub(super) use compare::compare;
pub(super) use frame::{SCRIPT, trouble};
pub(super) use history::{history, result};
pub(super) use levels::{level, overview};
pub(super) use live::{live, run};

use super::routes::App;
use crate::{grade::Scoreboard, logbook::Entry, report::score};
use frame::frame;

/// The scoreboard of a class, the best first.
pub(super) fn class(class: &Scoreboard) -> Markup {
    frame(
        &class.title,
        &html! {
            h1 { (class.title) }
            div.wide { table.class {
                thead { tr {
                    th.number { "rank" }
                    th { "student" }
                    th.number { "points" }
                    @for level in &class.levels { th { "level " (level) } }
                } }
                tbody { @for row in &class.rows { tr {
                    td.number { (row.rank) }
                    th scope="row" { bdi { (row.name) } }
                    td.number { (row.points) " of " (row.points_all) }
                    @for cell in &row.cells { td {
                        (cell.shown) " "
                        @for run in &cell.runs {
                            a.run.(run.outcome) href={"/class/runs/" (run.page)}
                                title=(run.shown) { (run.mark) }
                        }
                    } }
                } } }
            } }
        },
    )
}

/// A list of results; with a form to compare two, if there are two.
fn results_table(list: &[Entry]) -> Markup {
    html! {
        @if list.is_empty() {
            p.quiet { "Nothing was judged yet, or it was run with --no-history." }
        } @else {
            form action="/compare" {
                div.wide { table.results {
                    thead { tr {
                        th { "when" } th { "level" } th { "case" } th { "solution" } th { "verdict" }
                        th.number { "score" } th { "compare" }
                    } }
                    tbody { @for entry in list { tr {
                        td.time { a href={"/results/" (entry.id)} { (charts::when(entry.at_ms)) } }
                        td.level { (level_of(entry)) }
                        td.case { (entry.case) }
                        td.solution title=(entry.solution) { (short(&entry.solution)) }
                        td.verdict.(entry.verdict) { (entry.verdict) }
                        td.number { (score(entry.score, entry.unit.as_deref())) }
                        td.pick {
                            label { input type="radio" name="a" value=(entry.id); " A" }
                            " "
                            label { input type="radio" name="b" value=(entry.id); " B" }
                        }
                    } } }
                } }
                @if list.len() > 1 { p { button { "Compare A and B" } } }
            }
        }
    }
}

/// `4, stage 2`, or that it was no level.
fn level_of(entry: &Entry) -> String {
    match (entry.level, entry.stage) {
        (Some(level), Some(stage)) => format!("{level}, stage {stage}"),
        (Some(level), None) => level.to_string(),
        (None, _) => "network".to_owned(),
    }
}

/// A sentence in which backticks are around code.
fn sentence(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A program by the end of its path.
fn short(solution: &str) -> String {
    let parts: Vec<&str> = solution.rsplitn(3, '/').collect();
    match parts.as_slice() {
        [name, folder, _] => format!("{folder}/{name}"),
        _ => solution.to_owned(),
    }
}

/// Whether a page has these parts, and none of those.
#[cfg(test)]
fn check(page: &str, parts: &[&str], signs: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part}: {page}");
    }
    for sign in signs {
        assert!(!page.contains(sign), "{sign}: {page}");
    }
}
