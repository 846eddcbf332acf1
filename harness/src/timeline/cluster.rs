//! Nodes, links, monkeys, traffic, and what the nodes said.

use std::collections::BTreeMap;

use octopus::Monkey;
use serde_json::Value;

use super::{Log, index, seconds, text};
use crate::{
    monkey_args,
    recording::{Band, Mark, Panel, Point, Series, Span},
};

pub(super) fn panels(log: &Log<'_>) -> Vec<Panel> {
    let all = [
        nodes(log),
        health(log),
        said(log),
        monkeys(log),
        links(log),
        traffic(log),
    ];
    let drawn = all.into_iter().filter(|panel| !panel.lanes.is_empty());
    drawn.collect()
}

fn lanes(title: &str, lanes: Vec<String>, spans: Vec<Span>, series: Vec<Series>) -> Panel {
    Panel {
        title: title.into(),
        x: "seconds",
        lanes,
        spans,
        series,
        ..Panel::default()
    }
}

/// Turns changes of state, in the order of time, into what lasts between them.
fn lasting<'a>(
    changes: impl Iterator<Item = (usize, f64, &'a Value)>,
    end: f64,
    look: impl Fn(&Value) -> Option<(&'static str, f64, String)>,
) -> Vec<Span> {
    let mut now: BTreeMap<usize, (f64, &Value)> = BTreeMap::new();
    let mut over = Vec::new();
    for (lane, at, state) in changes {
        if let Some((since, old)) = now.insert(lane, (at, state)) {
            over.push((lane, since, at, old));
        }
    }
    over.extend(
        now.iter()
            .map(|(&lane, &(since, state))| (lane, since, end, state)),
    );
    let spans = over.into_iter().filter_map(|(lane, from, to, state)| {
        let (colour, strength, words) = look(state)?;
        let words = format!("{words}, {from:.6} to {to:.6} s");
        (to > from).then_some(Span {
            from,
            to,
            lane,
            colour,
            strength,
            words,
        })
    });
    spans.collect()
}

fn nodes(log: &Log<'_>) -> Panel {
    let at = |event: &Value| seconds(&event["t_us"]);
    let changes = log
        .of("node")
        .map(|event| (index(&event["node"]), at(event), event));
    let mut spans = lasting(changes, log.end, |event| {
        let state = text(&event["state"]);
        let colour = match state {
            "running" => "good",
            "frozen" => "lost",
            _ => "bad",
        };
        let words = format!(
            "node {} {state}, start {}",
            event["node"], event["incarnation"]
        );
        Some((colour, 0.75, words))
    });
    let disks = log
        .of("disk")
        .map(|event| (index(&event["node"]), at(event), event));
    spans.extend(lasting(disks, log.end, |event| {
        let full = event["full"] == true;
        full.then(|| ("other", 0.9, format!("node {}: disk full", event["node"])))
    }));
    let mark = |kind: &'static str, name, colour, mark| {
        let points = log.of(kind).map(move |event| {
            let node = index(&event["node"]);
            let words = match kind {
                "leader" => format!("node {node} leads in term {}", event["term"]),
                _ => format!("node {node} ended by itself: {}", text(&event["text"])),
            };
            Point(
                at(event),
                node as f64,
                Some(format!("{:.6} s: {words}", at(event))),
            )
        });
        Series {
            name,
            colour,
            mark,
            points: points.collect(),
        }
    };
    let series = vec![
        mark("leader", "becomes leader", "ink", Mark::Dots),
        mark("exit", "ends by itself", "ink", Mark::Crosses),
    ];
    let series = series.into_iter();
    let series = series.filter(|series| !series.points.is_empty()).collect();
    lanes(
        "Nodes: running (green), frozen (amber), killed or exited (red), disk full (blue)",
        log.lanes(),
        spans,
        series,
    )
}

/// Whether nodes were well, where a system says when they are.
fn health(log: &Log<'_>) -> Panel {
    let changes = log
        .of("health")
        .map(|event| (index(&event["node"]), seconds(&event["t_us"]), event));
    let spans = lasting(changes, log.end, |event| {
        let (colour, word) = if event["well"].as_bool()? {
            ("good", "well")
        } else {
            ("bad", "not well")
        };
        Some((colour, 0.75, format!("node {} {word}", event["node"])))
    });
    let drawn = if spans.is_empty() {
        Vec::new()
    } else {
        log.lanes()
    };
    lanes(
        "Health: well (green), not well (red)",
        drawn,
        spans,
        Vec::new(),
    )
}

fn said(log: &Log<'_>) -> Panel {
    let of_nodes = log.of("said").map(|event| {
        let (at, node) = (seconds(&event["t_us"]), index(&event["node"]));
        let words = format!("{at:.6} s [node{node}] {}", text(&event["text"]));
        Point(at, node as f64, Some(words))
    });
    // Scripts have a lane below the nodes'.
    let below = log.nodes as f64;
    let of_scripts = log.of("script").map(|event| {
        let (at, name) = (seconds(&event["t_us"]), text(&event["name"]));
        let words = format!("{at:.6} s [{name}] {}", text(&event["text"]));
        Point(at, below, Some(words))
    });
    let mut drawn = log.lanes();
    if log.of("script").next().is_some() {
        drawn.push("scripts".to_owned());
    }
    let series = Series {
        name: "a line; click to keep it",
        colour: "other",
        mark: Mark::Dots,
        points: of_nodes.chain(of_scripts).collect(),
    };
    lanes("What the nodes said", drawn, Vec::new(), vec![series])
}

/// Each act with its monkey, and when it really began and ended. The spof monkey's act is the
/// times in which it holds a node; what is only set, like a latency, lasts no time.
fn acts(log: &Log<'_>) -> Vec<(String, f64, f64, String)> {
    let mut open: BTreeMap<(usize, Option<u64>), (String, f64, String)> = BTreeMap::new();
    let mut done = Vec::new();
    for event in log.of("act") {
        let at = seconds(&event["t_us"]);
        let phase = text(&event["phase"]);
        let key = (
            index(&event["number"]),
            event["node"]
                .as_u64()
                .filter(|_| phase == "holds" || phase == "releases"),
        );
        let monkey = text(&event["monkey"]).to_owned();
        match phase {
            "begins" if monkey == "spof" => {}
            // Ends when its process does.
            "begins" if monkey == "script" => {
                open.insert(key, (monkey, at, text(&event["text"]).to_owned()));
            }
            "begins" if event["for_us"].is_null() => {
                done.push((monkey, at, at, text(&event["text"]).to_owned()));
            }
            "begins" | "holds" => {
                open.insert(key, (monkey, at, text(&event["text"]).to_owned()));
            }
            _ => {
                if let Some((monkey, since, words)) = open.remove(&key) {
                    let words = match monkey.as_str() {
                        "script" => format!("{words}\n{}", text(&event["text"])),
                        _ => words,
                    };
                    done.push((monkey, since, at, words));
                }
            }
        }
    }
    done.extend(
        open.into_values()
            .map(|(monkey, since, words)| (monkey, since, log.end, words)),
    );
    done.sort_by(|a, b| a.1.total_cmp(&b.1));
    done
}

fn colour_of(monkey: &str) -> &'static str {
    match monkey {
        "latency" | "jitter" | "lagsplit" | "bandwidth" => "lost",
        "freeze" | "murder" | "spof" | "blackout" | "fulldisk" | "restart" | "wipe" | "crash" => {
            "bad"
        }
        "script" => "ink",
        _ => "other",
    }
}

/// The monkeys that acted, and what they do.
pub(super) fn glossary(log: &Log<'_>) -> Vec<(String, String)> {
    let acted = monkeys(log).lanes.into_iter();
    let known = acted.filter_map(|name| {
        let monkey = Monkey::ALL.iter().find(|monkey| monkey.name() == name)?;
        Some((name, monkey_args::what(*monkey).to_owned()))
    });
    known.collect()
}

fn monkeys(log: &Log<'_>) -> Panel {
    let mut names: Vec<String> = Vec::new();
    let mut spans = Vec::new();
    for (monkey, from, to, words) in acts(log) {
        let lane = names
            .iter()
            .position(|name| *name == monkey)
            .unwrap_or_else(|| {
                names.push(monkey.clone());
                names.len() - 1
            });
        let words = format!("{monkey}: {words}, {from:.6} to {to:.6} s");
        spans.push(Span {
            from,
            to,
            lane,
            colour: colour_of(&monkey),
            strength: 0.6,
            words,
        });
    }
    lanes(
        "Monkeys: acts on delays (amber), links (blue), nodes (red), scripts (grey)",
        names,
        spans,
        Vec::new(),
    )
}

/// The acts that last, to be drawn behind everything.
pub(super) fn bands(log: &Log<'_>) -> Vec<Band> {
    let lasting = acts(log).into_iter().filter(|(_, from, to, _)| from < to);
    let bands = lasting.map(|(monkey, from, to, words)| Band {
        from,
        to,
        colour: colour_of(&monkey),
        words: format!("{monkey}: {words}"),
    });
    bands.collect()
}

/// The pairs of nodes in the order of the lanes.
fn pairs(log: &Log<'_>) -> Vec<(usize, usize)> {
    let all = (0..log.places).flat_map(|low| (low + 1..log.places).map(move |high| (low, high)));
    all.collect()
}

fn names_of(pairs: &[(usize, usize)], nodes: usize) -> Vec<String> {
    let names = pairs.iter().map(|&(low, high)| {
        if high < nodes {
            format!("{low} – {high}")
        } else {
            format!("{low} – client")
        }
    });
    names.collect()
}

fn links(log: &Log<'_>) -> Panel {
    let pairs = pairs(log);
    let lane = |link: &Value| {
        let pair = (index(&link["link"][0]), index(&link["link"][1]));
        pairs.iter().position(|&other| other == pair).unwrap_or(0)
    };
    let first = log
        .of("start")
        .flat_map(|start| start["links"].as_array().into_iter().flatten());
    let first = first.map(|link| (lane(link), 0.0, link));
    let later = log
        .of("link")
        .map(|event| (lane(event), seconds(&event["t_us"]), event));
    let spans = lasting(first.chain(later), log.end, |link| {
        let name = format!("{} – {}", link["link"][0], link["link"][1]);
        let delay = link["delay_ms"].as_f64().unwrap_or(0.0);
        let loses = [&link["loses"][0], &link["loses"][1]].map(|loses| *loses == true);
        let words = format!("{name}: {delay} ms, jitter {} ms", link["jitter_ms"]);
        Some(match (link["up"] == false, loses) {
            (true, _) => ("bad", 0.8, format!("{name}: down")),
            (false, [false, false]) => match link["bytes_per_s"].as_u64() {
                Some(rate) => ("lost", 0.7, format!("{words}, {rate} B/s")),
                None => ("ink", (0.05 + delay / 200.0).min(0.6), words),
            },
            (false, [low, high]) => {
                let from = [(low, 0), (high, 1)]
                    .map(|(loses, end)| loses.then(|| link["link"][end].to_string()));
                let from: Vec<String> = from.into_iter().flatten().collect();
                (
                    "other",
                    0.8,
                    format!("{words}, loses what comes from {}", from.join(" and ")),
                )
            }
        })
    });
    lanes(
        "Links: down (red), one way lost (blue), narrow (amber); the darker the slower",
        names_of(&pairs, log.nodes),
        spans,
        Vec::new(),
    )
}

fn traffic(log: &Log<'_>) -> Panel {
    let pairs = pairs(log);
    let samples: Vec<&Value> = log.of("sample").collect();
    let mut spans = Vec::new();
    for two in samples.windows(2) {
        let (from, to) = (seconds(&two[0]["t_us"]), seconds(&two[1]["t_us"]));
        for (lane, &(low, high)) in pairs.iter().enumerate() {
            let [up, down] = [(low, high), (high, low)].map(|(a, b)| {
                let at = |sample: &Value| {
                    sample["delivered"][a * log.places + b]
                        .as_f64()
                        .unwrap_or(0.0)
                };
                (at(two[1]) - at(two[0])) / 1e3 / (to - from).max(1e-6)
            });
            if up + down > 0.0 {
                let words = format!(
                    "{from:.3} to {to:.3} s: {low} → {high} {up:.1} kB/s, {high} → {low} {down:.1} kB/s"
                );
                spans.push(Span {
                    from,
                    to,
                    lane,
                    colour: "other",
                    strength: up + down,
                    words,
                });
            }
        }
    }
    let most = spans.iter().map(|span| span.strength).fold(0.0, f64::max);
    for span in &mut spans {
        span.strength = (0.1 + 0.9 * (span.strength / most).sqrt()).min(1.0);
    }
    let title = if spans.is_empty() {
        "Traffic by link: none".to_owned()
    } else {
        format!("Traffic by link, both ways: the darker the more, up to {most:.1} kB/s")
    };
    lanes(&title, names_of(&pairs, log.nodes), spans, Vec::new())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record;
    use crate::recording::Panel;

    fn spans(panel: &Panel) -> Vec<(usize, f64, f64, &'static str)> {
        panel
            .spans
            .iter()
            .map(|span| (span.lane, span.from, span.to, span.colour))
            .collect()
    }

    #[test]
    fn states_and_acts_have_their_exact_times() {
        let link = |t_us: u64, up: bool| {
            json!({"t_us": t_us, "event": "link", "link": [0, 1], "up": up, "delay_ms": 0,
                   "jitter_ms": 0, "loses": [false, false], "bytes_per_s": null})
        };
        let node = |t_us: u64, state: &str| json!({"t_us": t_us, "event": "node", "node": 1, "state": state, "incarnation": 1});
        let act = |t_us: u64, phase: &str| json!({"t_us": t_us, "event": "act", "phase": phase, "number": 0, "monkey": "link", "for_us": 1_000, "text": "link 0-1 down"});
        let set = json!({"t_us": 1_000_300, "event": "act", "phase": "begins", "number": 1, "monkey": "latency", "ms": 9, "text": "latency of link 0-1 becomes 9 ms"});
        let log = [
            json!({"t_us": 0, "event": "start", "nodes": 2, "links": [link(0, true)]}),
            node(1_000, "running"),
            act(1_000_001, "begins"),
            link(1_000_001, false),
            node(1_000_100, "frozen"),
            node(1_000_200, "running"),
            set,
            act(1_001_001, "ends"),
            link(1_001_001, true),
            json!({"t_us": 1_500_000, "event": "said", "node": 1, "text": "hello"}),
            json!({"t_us": 1_500_000, "event": "act", "phase": "begins", "number": 2, "monkey": "script", "name": "grow", "draw": 1, "text": "script grow runs with 1"}),
            json!({"t_us": 1_600_000, "event": "script", "name": "grow", "text": "added"}),
            json!({"t_us": 1_700_000, "event": "act", "phase": "ends", "number": 2, "monkey": "script", "text": "script grow is done: added"}),
            json!({"t_us": 1_700_000, "event": "health", "node": 1, "well": false}),
            json!({"t_us": 1_800_000, "event": "health", "node": 1, "well": null}),
            json!({"t_us": 2_000_000, "event": "end"}),
        ];
        let recording = record(&log);
        let panel = |title: &str| {
            recording
                .panels
                .iter()
                .find(|panel| panel.title.starts_with(title))
                .unwrap()
        };
        let frozen = (1, 1.0001, 1.0002, "lost");
        assert!(
            spans(panel("Nodes")).contains(&frozen),
            "{:?}",
            spans(panel("Nodes"))
        );
        assert!(spans(panel("Links")).contains(&(0, 1.000_001, 1.001_001, "bad")));
        assert_eq!(
            spans(panel("Monkeys")),
            [
                (0, 1.000_001, 1.001_001, "other"),
                (1, 1.000_3, 1.000_3, "lost"),
                (2, 1.5, 1.7, "ink")
            ]
        );
        assert!(panel("Monkeys").spans[2].words.contains("is done: added"));
        assert_eq!(spans(panel("Health")), [(1, 1.7, 1.8, "bad")]);
        let of_script = panel("What").series[0].points[1].1;
        assert!((of_script - 2.0).abs() < 1e-9, "below two nodes");
        assert_eq!(recording.bands.len(), 2, "what is set is no band");
        assert_eq!(
            (recording.bands[0].from, recording.bands[0].to),
            (1.000_001, 1.001_001)
        );
        let line = &panel("What").series[0].points[0];
        assert_eq!(line.2.as_deref(), Some("1.500000 s [node1] hello"));
    }
}
