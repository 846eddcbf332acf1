//! The run that goes on: nodes and links, queues, the chain, or a search, drawn from what it tells.

use std::f64::consts::TAU;

use maud::{Markup, html};
use serde_json::Value;

use super::{
    super::watching::{Phase, Watching},
    App,
    frame::frame,
    live_search, sentence,
};
use crate::{
    ladder,
    web::chart::{Chart, Line, Shape},
};

/// The middle of the picture of a network, and how far from it nodes are.
const MIDDLE: f64 = 200.0;
const RADIUS: f64 = 150.0;

/// From which delay on a link is slow, in milliseconds: well above what it has by itself.
const SLOW_MS: u64 = 60;

/// How far along a link its delay stands.
const LABEL_AT: f64 = 0.28;

/// The most nodes of a picture.
const NODES_MAX: usize = 50;

/// The page.
pub(in super::super) fn live(app: &App) -> Markup {
    let last = app.runner.last();
    frame(
        "Live",
        &html! {
            div #run { (run(last.as_deref())) }
            p #link .quiet {}
        },
    )
}

/// The part of the page that changes.
pub(in super::super) fn run(run: Option<&Watching>) -> Markup {
    let Some(run) = run else {
        return html! { h1 { "Live" } p { "Nothing was run yet. Choose a level in the "
        a href="/" { "overview" } "." } };
    };
    let stages = ladder::of_level(run.level);
    let place = usize::from(run.stage).saturating_sub(1);
    html! {
        h1 { (run.project) ", level " (run.level) ", stage " (run.stage) " of " (stages.len()) }
        @if let Some(stage) = stages.get(place) { p { b { (stage.title) ": " } (sentence(stage.idea)) } }
        @match &run.phase {
            Phase::Running => {
                p.status { "running for " (run.since.elapsed().as_secs()) " s" }
                form.stop method="post" action="/stop" { button { "Stop" } }
            }
            Phase::Stopping => p.status { "is being stopped" },
            Phase::Over(words) => {
                p.status data-over="yes" { "over: " b { (words) } }
                p { a href={"/levels/" (run.level)} { "Back to the stages" }
                    @for id in &run.kept { " · " a href={"/results/" (id)} { "the result" } } }
            }
        }
        @for result in &run.results {
            @let verdict = result["verdict"].as_str().unwrap_or_default();
            p { b.(verdict) { (verdict) } " " (result["case"].as_str().unwrap_or_default()) }
        }
        @if let Some(view) = &run.network { (network(view)) }
        @if !run.queues.is_empty() { (queues(run)) }
        @if !run.chain.is_empty() { (chain(run)) }
        @if let Some(search) = &run.search { (live_search::search(search)) }
        h2 { "What it says" }
        pre.log { @for line in &run.lines { (line) "\n" } }
    }
}

/// Where a node is in the picture.
fn place(node: usize, nodes: usize) -> (f64, f64) {
    let angle = TAU * node as f64 / nodes as f64 - TAU / 4.0;
    (MIDDLE + RADIUS * angle.cos(), MIDDLE + RADIUS * angle.sin())
}

fn network(view: &Value) -> Markup {
    let texts = |name: &str, most: usize| -> Vec<&str> {
        let all = view[name].as_array().into_iter().flatten();
        let all: Vec<&str> = all.filter_map(Value::as_str).collect();
        all[all.len().saturating_sub(most)..].to_vec()
    };
    let nodes = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let nodes = &nodes[..nodes.len().min(NODES_MAX)];
    let links = view["links"].as_array().into_iter().flatten();
    html! {
        p { (texts("facts", 20).join(" · ")) }
        svg.network viewBox="0 0 400 400" role="img" aria-label="nodes and links" {
            @for link in links.clone() { (link_line(link, nodes.len())) }
            @for link in links { (link_delay(link, nodes.len())) }
            @for (number, state) in nodes.iter().enumerate() {
                @let (x, y) = place(number, nodes.len());
                @let leads = view["leader"].as_u64() == Some(number as u64);
                @let state = state.as_str().unwrap_or_default();
                circle.(state).leads[leads] cx=(x.round()) cy=(y.round()) r="24" {
                    title { "node " (number) ": " (state) @if leads { ", leads" } }
                }
                text x=(x.round()) y=(y.round()) { (number) @if leads { "★" } }
            }
        }
        @let news = texts("news", 8);
        @if !news.is_empty() { pre { (news.join("\n")) } }
    }
}

/// Where a link begins and ends; none if it makes no sense.
fn ends(link: &Value, nodes: usize) -> Option<[(f64, f64); 2]> {
    let end = |at: usize| Some(place(link["link"][at].as_u64()? as usize, nodes));
    Some([end(0)?, end(1)?])
}

fn link_line(link: &Value, nodes: usize) -> Markup {
    let Some([(x1, y1), (x2, y2)]) = ends(link, nodes) else {
        return html! {};
    };
    let loses = link["loses"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|lost| *lost == true);
    let delay_ms = link["delay_ms"].as_u64().unwrap_or_default();
    let state = if link["up"] == false || loses {
        "down"
    } else if delay_ms >= SLOW_MS {
        "slow"
    } else {
        "link"
    };
    html! {
        line.(state) x1=(x1.round()) y1=(y1.round()) x2=(x2.round()) y2=(y2.round()) {
            title { "link " (link["link"][0]) "-" (link["link"][1]) ": " (state) ", " (delay_ms) " ms" }
        }
    }
}

/// The milliseconds of a link, on it and above all lines: near its first end, as many cross in the
/// middle.
fn link_delay(link: &Value, nodes: usize) -> Markup {
    let Some([(x1, y1), (x2, y2)]) = ends(link, nodes) else {
        return html! {};
    };
    let along = |from: f64, to: f64| (from + (to - from) * LABEL_AT).round();
    html! {
        text.delay x=(along(x1, x2)) y=(along(y1, y2)) {
            (link["delay_ms"].as_u64().unwrap_or_default())
        }
    }
}

/// How many requests each backend held.
fn queues(run: &Watching) -> Markup {
    let backends = run
        .queues
        .iter()
        .map(|(_, held)| held.len())
        .max()
        .unwrap_or_default();
    let mut lines: Vec<Line> = (0..backends)
        .map(|backend| Line {
            name: format!("at backend {backend}"),
            colour: backend,
            points: run
                .queues
                .iter()
                .filter_map(|(at, held)| Some((*at, *held.get(backend)?)))
                .collect(),
            shape: Shape::Steps,
        })
        .collect();
    lines.push(Line {
        name: format!("{} fit", run.queue_room),
        colour: 7,
        points: vec![(0.0, run.queue_room), (run.queue_end_s, run.queue_room)],
        shape: Shape::Steps,
    });
    let ticks = (0..=4).map(|quarter| run.queue_end_s * f64::from(quarter) / 4.0);
    let chart = Chart {
        title: "Requests that each backend holds".into(),
        x: (0.0, run.queue_end_s),
        x_ticks: ticks.map(|at| (at, format!("{at} s"))).collect(),
        from_zero: true,
        lines,
    };
    html! { h2 { (chart.title) } (chart.svg()) }
}

/// The coins that landed, and what was refused.
fn chain(run: &Watching) -> Markup {
    html! {
        h2 { "The chain" }
        ol.coins { @for event in &run.chain {
            @let text = |name: &str| event[name].as_str().unwrap_or_default();
            @match text("event") {
                "landed" => li title=(text("commit")) { "● " (text("name")) " " (event["balance"]) },
                "refused" => li.failed title=(text("message")) { "✗ " (text("rule")) },
                _ => li { "a fresh chain" },
            }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn a_run_is_drawn_by_what_it_tells_and_nothing_it_says_is_markup() {
        let mut watching = Watching::new("<mine>".into(), 4, 2);
        watching.print("<script>alert(1)</script>");
        watching.hear(
            r#"{"live":"network","is":{"facts":["1 s of 30s"],"nodes":["running","<frozen"],
            "leader":0,"news":["<b>"],"links":[{"link":[0,1],"up":false,"delay_ms":20,
            "loses":[false,false]},{"link":"x"}]}}"#,
        );
        let page = run(Some(&watching)).into_string();
        check(
            &page,
            &[
                "class=\"down\"",
                "0★",
                "1 s of 30s",
                "&lt;script&gt;",
                "action=\"/stop\"",
            ],
            &["<script", "<mine>", "<b><", "\"<frozen"],
        );
        let mut flooded = Watching::new("p".into(), 2, 1);
        flooded.hear(r#"{"live":"queues","is":{"at_s":1,"of_s":20,"room":6,"held":[2,5]}}"#);
        flooded.hear(r#"{"live":"chain","is":{"event":"landed","name":"ada","balance":3}}"#);
        flooded.phase = Phase::Over("passed".into());
        let page = run(Some(&flooded)).into_string();
        let parts = ["at backend 1", "6 fit", "● ada 3", "over: "];
        check(&page, &parts, &["NaN"]);
    }
}
