//! What level 4's client saw: answers, failures, latencies, and a violation of the history.

use std::collections::HashMap;

use serde_json::Value;

use super::{Log, index, seconds, text};
use crate::{
    level4::percentile,
    recording::{Band, Mark, Panel, Point, Series, Span},
};

/// What the ends of requests are called: a level's attempts at a query, or operations of a history.
struct Words {
    rates: &'static str,
    latencies: &'static str,
    trouble: &'static str,
    lost: &'static str,
    bad: &'static str,
}

const OF_QUERIES: Words = Words {
    rates: "Requests by their end",
    latencies: "From the first request of a query to its answer; failures from their own",
    trouble: "Requests without an answer, by node: lost (amber), unreadable or never answered (red)",
    lost: "lost or nobody there",
    bad: "unreadable or never answered",
};

const OF_OPERATIONS: Words = Words {
    rates: "What clients asked, by how it ended",
    latencies: "How long each operation took",
    trouble: "Operations without an answer, by the node that was asked: not done, or nobody knows (amber), \
              open at the end (red)",
    lost: "not done, or nobody knows",
    bad: "open at the end",
};

fn words(log: &Log<'_>) -> &'static Words {
    let mut requests = log.of("request");
    match requests.next() {
        Some(request) if request["what"].is_string() => &OF_OPERATIONS,
        _ => &OF_QUERIES,
    }
}

/// How many requests around a violation are drawn with it.
const NEIGHBOURS: usize = 300;

/// Nothing, for a run without requests.
pub(super) fn panels(log: &Log<'_>) -> Vec<Panel> {
    if log.of("request").next().is_none() {
        return Vec::new();
    }
    let answers = answers(log);
    let zoomed = violation(log).map(|(_, panel)| panel);
    let mut panels: Vec<Panel> = zoomed.into_iter().collect();
    panels.extend([
        rates(log),
        latencies(log, &answers),
        quantiles(log, &answers),
        trouble(log),
    ]);
    panels
}

/// When each answer came, how long it took from the first request of its query in milliseconds,
/// and the request.
fn answers<'a>(log: &Log<'a>) -> Vec<(f64, f64, &'a Value)> {
    let mut first: HashMap<u64, f64> = HashMap::new();
    let mut answers = Vec::new();
    for request in log.of("request") {
        let (from, to) = (seconds(&request["t_us"]), seconds(&request["end_us"]));
        let query = request["query"].as_u64().unwrap_or(0);
        let since = *first.entry(query).or_insert(from);
        if request["status"] == "answered" {
            answers.push((to, (to - since) * 1e3, request));
        }
    }
    answers.sort_by(|a, b| a.0.total_cmp(&b.0));
    answers
}

fn told(request: &Value) -> String {
    let status = text(&request["status"]);
    let what = match request["what"].as_str() {
        Some(what) => format!(
            "{what} (operation {}, process {})",
            request["query"], request["process"]
        ),
        None => format!("query {} attempt {}", request["query"], request["attempt"]),
    };
    let reply = match &request["reply"] {
        Value::Null => String::new(),
        reply => format!(
            " {}",
            reply.to_string().chars().take(200).collect::<String>()
        ),
    };
    let end = match request["end_us"].as_u64() {
        Some(_) => format!("{:.6} s", seconds(&request["end_us"])),
        None => "the end of the run".into(),
    };
    let number = request["number"]
        .as_u64()
        .map_or_else(String::new, |number| format!(", number {number}"));
    let why = request["why"]
        .as_str()
        .map_or_else(String::new, |why| format!(": {why}"));
    format!(
        "{what} at node {}, {:.6} s to {end}: {status}{reply}{number}{why}",
        request["node"],
        seconds(&request["t_us"])
    )
}

/// The time of one bar, in seconds.
fn bin(log: &Log<'_>) -> f64 {
    (log.end / 100.0).max(0.01)
}

fn rates(log: &Log<'_>) -> Panel {
    let (bin, words) = (bin(log), words(log));
    let series = |name, colour, statuses: &'static [&'static str]| {
        // What never ended belongs to the last bar.
        let mut counts = vec![0.0; ((log.end / bin).ceil() as usize).max(1)];
        let last = counts.len() - 1;
        for request in log
            .of("request")
            .filter(|request| statuses.contains(&text(&request["status"])))
        {
            let at = request["end_us"]
                .as_u64()
                .map_or(log.end, |_| seconds(&request["end_us"]));
            counts[((at / bin) as usize).min(last)] += 1.0 / bin;
        }
        let points = counts.into_iter().enumerate();
        let points = points.map(|(place, rate)| Point(place as f64 * bin, rate, None));
        Series {
            name,
            colour,
            mark: Mark::Bars,
            points: points.collect(),
        }
    };
    Panel {
        title: words.rates.into(),
        x: "seconds",
        y: "a second",
        series: vec![
            series("answered", "good", &["answered"]),
            series(words.lost, "lost", &["lost", "unsent"]),
            series(words.bad, "bad", &["bad", "open"]),
        ],
        ..Panel::default()
    }
}

fn latencies(log: &Log<'_>, answers: &[(f64, f64, &Value)]) -> Panel {
    let words = words(log);
    let dots = answers
        .iter()
        .map(|&(at, ms, request)| Point(at, ms, Some(format!("{ms:.3} ms: {}", told(request)))));
    let failed = |name, colour, statuses: &'static [&'static str]| {
        let requests = log
            .of("request")
            .filter(|request| statuses.contains(&text(&request["status"])));
        let points = requests.map(|request| {
            let from = seconds(&request["t_us"]);
            let to = request["end_us"]
                .as_u64()
                .map_or(log.end, |_| seconds(&request["end_us"]));
            Point(to, (to - from) * 1e3, Some(told(request)))
        });
        Series {
            name,
            colour,
            mark: Mark::Crosses,
            points: points.collect(),
        }
    };
    let answered = Series {
        name: "answered",
        colour: "other",
        mark: Mark::Dots,
        points: dots.collect(),
    };
    Panel {
        title: words.latencies.into(),
        x: "seconds",
        y: "milliseconds",
        logarithmic_y: true,
        series: vec![
            answered,
            failed(words.lost, "lost", &["lost", "unsent"]),
            failed(words.bad, "bad", &["bad", "open"]),
        ],
        ..Panel::default()
    }
}

fn quantiles(log: &Log<'_>, answers: &[(f64, f64, &Value)]) -> Panel {
    let bin = bin(log);
    let mut bins: Vec<Vec<u64>> = vec![Vec::new(); (log.end / bin) as usize + 1];
    for (at, ms, _) in answers {
        bins[(at / bin) as usize].push((ms * 1e3).round() as u64);
    }
    for bin in &mut bins {
        bin.sort_unstable();
    }
    let series = [
        ("p50", "good", 50.0),
        ("p90", "lost", 90.0),
        ("p99", "bad", 99.0),
    ];
    let series = series.map(|(name, colour, percent)| {
        let points = bins.iter().enumerate().map(|(place, sorted)| {
            // No answer, no quantile: the line has a gap there.
            let ms = percentile(sorted, percent).map_or(f64::NAN, |us| us as f64 / 1e3);
            Point(place as f64 * bin, ms, None)
        });
        Series {
            name,
            colour,
            mark: Mark::Steps,
            points: points.collect(),
        }
    });
    Panel {
        title: "Latency of the answers of each moment".into(),
        x: "seconds",
        y: "milliseconds",
        logarithmic_y: true,
        series: series.into(),
        ..Panel::default()
    }
}

/// A request on the lane of its node.
fn span(log: &Log<'_>, request: &Value) -> Span {
    let (colour, strength) = match text(&request["status"]) {
        "answered" => ("ink", 0.25),
        "lost" | "unsent" => ("lost", 0.7),
        _ => ("bad", 0.7),
    };
    Span {
        from: seconds(&request["t_us"]),
        to: request["end_us"]
            .as_u64()
            .map_or(log.end, |_| seconds(&request["end_us"])),
        lane: index(&request["node"]),
        colour,
        strength,
        words: told(request),
    }
}

fn trouble(log: &Log<'_>) -> Panel {
    let requests = log
        .of("request")
        .filter(|request| request["status"] != "answered");
    Panel {
        title: words(log).trouble.into(),
        x: "seconds",
        lanes: log.lanes(),
        spans: requests.map(|request| span(log, request)).collect(),
        ..Panel::default()
    }
}

/// How many seconds there are between a request and the nearest of several.
fn away(request: &Span, several: &[Span]) -> f64 {
    let gaps = several
        .iter()
        .map(|other| (other.from - request.to).max(request.from - other.to));
    gaps.fold(f64::INFINITY, f64::min).max(0.0)
}

/// The interval of a violation, and a panel of its requests and those beside them.
pub(super) fn violation(log: &Log<'_>) -> Option<(Band, Panel)> {
    let violation = &log.of("end").last()?["history"]["violation"];
    let message = violation["message"].as_str()?;
    let queries = violation["queries"].as_array()?;
    let proves = |request: &Value| queries.contains(&request["query"]);
    let involved: Vec<Span> = log
        .of("request")
        .filter(|request| proves(request))
        .map(|request| span(log, request))
        .collect();
    let from = involved
        .iter()
        .map(|span| span.from)
        .fold(f64::INFINITY, f64::min);
    let to = involved.iter().map(|span| span.to).fold(0.0, f64::max);
    let room = ((to - from) * 0.3).max(1e-4);
    let within = ((from - room).max(0.0), to + room);
    let near = log.of("request").filter(|request| {
        let span = span(log, request);
        !proves(request) && span.to >= within.0 && span.from <= within.1
    });
    let mut lanes = Lanes::default();
    let mut spans = Vec::new();
    for request in log.of("request").filter(|request| proves(request)) {
        let mut proof = span(log, request);
        (proof.colour, proof.strength) = ("bad", 0.9);
        let number = match (request["number"].as_u64(), request["what"].as_str()) {
            (Some(number), _) => format!("number {number}"),
            (None, Some(what)) => what.chars().take(24).collect(),
            (None, None) => "no number".into(),
        };
        proof.lane = lanes.own(format!("{number}, n{}", request["node"]));
        spans.push(proof);
    }
    // Those near a request of the proof, where there are too many between them.
    let mut near: Vec<Span> = near.map(|request| span(log, request)).collect();
    near.sort_by(|a, b| away(a, &involved).total_cmp(&away(b, &involved)));
    near.truncate(NEIGHBOURS);
    near.sort_by(|a, b| a.from.total_cmp(&b.from));
    for mut other in near {
        other.lane = lanes.of(format!("node {}", other.lane), other.from, other.to);
        spans.push(other);
    }
    let band = Band {
        from,
        to,
        colour: "bad",
        words: format!("violation: {message}"),
    };
    let panel = Panel {
        title: format!("The violation: {message}"),
        x: "seconds",
        lanes: lanes.names,
        spans,
        within: Some(within),
        series: vec![
            legend("these contradict each other", "bad"),
            legend("others at about that time", "ink"),
        ],
        ..Panel::default()
    };
    Some((band, panel))
}

/// What a colour of a panel without points means.
fn legend(name: &'static str, colour: &'static str) -> Series {
    Series {
        name,
        colour,
        mark: Mark::Dots,
        points: Vec::new(),
    }
}

/// Rows in which nothing overlaps.
#[derive(Default)]
struct Lanes {
    names: Vec<String>,
    free: Vec<f64>,
}

impl Lanes {
    fn own(&mut self, name: String) -> usize {
        self.names.push(name);
        self.free.push(f64::INFINITY);
        self.names.len() - 1
    }

    fn of(&mut self, name: String, from: f64, to: f64) -> usize {
        let mut rows = self.names.iter().zip(&self.free);
        let lane = rows.position(|(other, &free)| *other == name && free <= from);
        let lane = lane.unwrap_or_else(|| self.own(name));
        self.free[lane] = to;
        lane
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::record;

    fn request(query: u64, t_us: u64, end_us: Option<u64>, status: &str) -> Value {
        let number = (status == "answered").then_some(query);
        json!({"t_us": t_us, "event": "request", "query": query, "attempt": 1, "node": query % 2,
               "end_us": end_us, "status": status, "number": number})
    }

    #[test]
    fn failures_are_marks_and_a_violation_has_its_requests() {
        let violation = json!({"message": "number 7 was given twice", "queries": [7, 8]});
        let log = [
            json!({"t_us": 0, "event": "start", "nodes": 2, "links": []}),
            request(7, 100_000, Some(102_000), "answered"),
            request(8, 101_000, Some(103_000), "answered"),
            request(9, 102_500, Some(500_000), "lost"),
            request(10, 110_000, None, "open"),
            json!({"t_us": 1_000_000, "event": "end", "history": {"violation": violation}}),
        ];
        let recording = record(&log);
        let proof = &recording.panels[0];
        assert_eq!(proof.title, "The violation: number 7 was given twice");
        let times: Vec<_> = proof
            .spans
            .iter()
            .map(|span| (span.from, span.to, span.colour))
            .collect();
        assert_eq!(
            times,
            [
                (0.1, 0.102, "bad"),
                (0.101, 0.103, "bad"),
                (0.1025, 0.5, "lost")
            ]
        );
        assert_eq!(proof.lanes, ["number 7, n1", "number 8, n0", "node 1"]);
        let band = recording.bands.last().unwrap();
        assert_eq!((band.from, band.to), (0.1, 0.103));
        let dots = &recording.panels[2].series;
        assert_eq!(
            dots.iter()
                .map(|series| series.points.len())
                .collect::<Vec<_>>(),
            [2, 1, 1]
        );
        let words = dots[0].points[0].2.as_deref().unwrap();
        assert!(
            words.contains("query 7 attempt 1 at node 1") && words.contains("number 7"),
            "{words}"
        );
        // The one without an answer is there until the end.
        assert!((dots[2].points[0].0 - 1.0).abs() < 1e-9);
        assert_eq!(recording.panels[4].spans.len(), 2);
        let quantiles = &recording.panels[3].series[0].points;
        assert!((quantiles[10].1 - 2.0).abs() < 1e-9 && quantiles[11].1.is_nan());
    }
}
