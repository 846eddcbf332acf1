//! The history: lists with charts, and a result whole.

use maud::{Markup, html};
use serde_json::Value;

use super::{charts, frame::frame, level_of, results_table};
use crate::{
    ladder,
    logbook::{Entry, Kept},
    report::{plain, score},
};

/// Results, of all levels or of one.
pub(in super::super) fn history(list: &[Entry], level: Option<u8>) -> Markup {
    frame(
        "History",
        &html! {
            h1 { "History" }
            nav {
                @if level.is_some() { a href="/history" { "all levels" } } @else { b { "all levels" } }
                @for number in 0..ladder::LEVELS {
                    @if level == Some(number) { b { "level " (number) } }
                    @else { a href={"/history?level=" (number)} { "level " (number) } }
                }
            }
            @for chart in charts::scores(list) {
                p.quiet { (chart.title) }
                (chart.svg())
            }
            (results_table(list))
        },
    )
}

/// A result with all that is known of it, and others of the same program.
pub(in super::super) fn result(kept: &Kept, others: &[Entry]) -> Markup {
    let (entry, result) = (&kept.entry, &kept.result);
    let title = format!("Level {}: {}", level_of(entry), entry.case);
    let failure = &result["failure"];
    frame(
        &title,
        &html! {
            h1 { (title) }
            p.status { b.(entry.verdict) { (entry.verdict) } " · "
                (score(entry.score, entry.unit.as_deref())) " · "
                (charts::when(entry.at_ms)) " UTC" }
            p { code { (entry.solution) } }
            @if let Some(message) = failure["message"].as_str() {
                h2 { (failure["kind"].as_str().unwrap_or("failure")) }
                pre.said { (message) }
                (lines("The last that it said", &failure["said"]))
                (lines("What to try next", &failure["next"]))
            }
            @if kept.recording.is_some() {
                p { a href={"/results/" (entry.id) "/report"} { "The report of the run, with charts" } }
            }
            @if let Some(replay) = result["replay"].as_str() {
                h2 { "Again" } pre.said { code { (replay) } }
            }
            (map("Figures", &result["figures"], true))
            (map("Settings", &result["settings"], false))
            (map("Run", &kept.run, false))
            @if others.len() > 1 {
                h2 { "The same program before and after" }
                @for chart in charts::scores(others) { p.quiet { (chart.title) } (chart.svg()) }
                (results_table(others))
            }
        },
    )
}

fn lines(title: &str, lines: &Value) -> Markup {
    let lines = lines.as_array().into_iter().flatten();
    let lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
    html! {
        @if !lines.is_empty() { h3 { (title) } pre.said { (lines.join("\n")) } }
    }
}

fn map(title: &str, map: &Value, is_open: bool) -> Markup {
    html! {
        @if let Some(map) = map.as_object().filter(|map| !map.is_empty()) {
            details open[is_open] {
                summary { (title) }
                div.wide { table { tbody { @for (name, value) in map {
                    tr { th scope="row" { (name) } td { (plain(value)) } }
                } } } }
            }
        }
    }
}
