//! The picture of a search (level 3): how far it is, what its nodes are doing, and how long each
//! query took.

use maud::{Markup, html};
use serde_json::Value;

use super::{super::watching::Search, charts::scaled};
use crate::{
    level3::Answer,
    web::chart::{Chart, Line, Shape},
};

/// Colours of the answers, in the order of [`Answer::ALL`].
const COLOURS: [usize; 3] = [2, 6, 7];

/// Labels below the chart.
const LABELS: u64 = 5;

/// How a search stands.
pub(super) fn search(search: &Search) -> Markup {
    let answered: u64 = search.counts.iter().sum();
    html! {
        p {
            @match search.phase.as_str() {
                "starting" => "The servers start.",
                "indexing" => "The nodes read the tree.",
                _ => {
                    (answered) " of " (search.of) " queries answered"
                    @for (how, count) in Answer::ALL.into_iter().zip(search.counts).skip(1) {
                        @if count > 0 { ", " (count) " " (how.word()) }
                    }
                }
            }
        }
        @if !search.nodes.is_empty() {
            ul.nodes { @for node in &search.nodes { (self::node(node)) } }
        }
        @if !search.answers.is_empty() { (latencies(search)) }
    }
}

fn node(node: &Value) -> Markup {
    let state = node["state"].as_str().unwrap_or_default();
    html! {
        li.(state) {
            b { "node " (node["node"]) }
            " " (state)
            @if let (true, Some(mb)) = (state != "exited", node["resident_mb"].as_f64()) {
                ", " (format!("{mb:.0}")) " MB"
            }
        }
    }
}

/// A dot for each answer, by the number of its query.
fn latencies(search: &Search) -> Markup {
    let most = search
        .answers
        .iter()
        .map(|answer| answer.1)
        .fold(0.0, f64::max);
    let (factor, unit) = scaled(most, "milliseconds");
    let lines = Answer::ALL.into_iter().zip(COLOURS).map(|(how, colour)| {
        let of_kind = search.answers.iter().filter(|answer| answer.2 == how);
        Line {
            name: how.word().to_owned(),
            colour,
            points: of_kind
                .map(|&(query, ms, _)| (query, ms * factor))
                .collect(),
            shape: Shape::Dots,
        }
    });
    let step = search.of.div_ceil(LABELS).max(1);
    let ticks = (0..=LABELS)
        .map(|tick| tick * step)
        .filter(|at| *at <= search.of);
    let chart = Chart {
        title: format!("How long each query took, in {unit}"),
        x: (0.0, search.of as f64),
        x_ticks: ticks.map(|at| (at as f64, at.to_string())).collect(),
        from_zero: true,
        lines: lines.filter(|line| !line.points.is_empty()).collect(),
    };
    html! { h2 { (chart.title) } (chart.svg()) }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::watching::Watching, check},
        *,
    };

    #[test]
    fn a_search_is_drawn_by_what_it_tells_and_nothing_it_says_is_markup() {
        let mut watching = Watching::new("mine".into(), 3, 5);
        let told = |watching: &mut Watching, is: &str| {
            watching.hear(&format!(r#"{{"live":"search","is":{is}}}"#));
            search(watching.search.as_ref().unwrap()).into_string()
        };
        let page = told(&mut watching, r#"{"phase":"indexing","of":50,"nodes":[]}"#);
        check(&page, &["read the tree"], &["<svg"]);
        let page = told(
            &mut watching,
            r#"{"phase":"asking","of":50,
            "nodes":[{"node":1,"state":"running","resident_mb":12.3},
                     {"node":"<b>","state":"\"><i>"}, {"node":3,"state":"exited","resident_mb":9}],
            "answers":[{"query":1,"ms":0.25,"answer":"right"},
                       {"query":2,"ms":0.5,"answer":"partial"},{"query":"x"}]}"#,
        );
        check(
            &page,
            &[
                "2 of 50 queries answered, 1 partial",
                "<b>node 1</b> running, 12 MB",
                "<b>node 3</b> exited</li>",
                "in µs",
                ">partial</li>",
                "class=\"dots c6 d0\"",
            ],
            &["<i>", "<b><b>", "wrong", "NaN"],
        );
    }
}
