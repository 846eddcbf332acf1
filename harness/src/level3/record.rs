//! What is recorded of a run for `--events` and `--report`: every query with its hits and its time.

use serde_json::json;

use super::{oracle::Expected, queries::Answered};
use crate::recording::{Mark, Panel, Point, Recording, Series};

/// The record of the answers to `queries`.
pub(super) fn record(answers: &[Answered], queries: &[&str], expected: &Expected) -> Recording {
    let hits = |answer: &Answered| expected.hits[answer.place].len();
    let ms = |answer: &Answered| answer.time.as_secs_f64() * 1e3;
    let events = answers.iter().map(|answer| {
        json!({
            "t_us": answer.asked.as_micros() as u64, "event": "query",
            "query": answer.place + 1, "text": queries[answer.place], "hits": hits(answer),
            "latency_us": answer.time.as_micros() as u64, "right": answer.right,
        })
    });
    let panel = |title: &str, x, logarithmic, at: &dyn Fn(&Answered) -> f64| {
        let series = [
            (true, "right", "good"),
            (false, "wrong or incomplete", "bad"),
        ];
        let series = series.map(|(right, name, colour)| {
            let answers = answers.iter().filter(|answer| answer.right == right);
            let points = answers.map(|answer| {
                let (number, ms, hits) = (answer.place + 1, ms(answer), hits(answer));
                let text = queries[answer.place];
                let words = format!("query {number} {text:?}: {ms:.3} ms, {hits} hits");
                Point(at(answer), ms, Some(words))
            });
            Series {
                name,
                colour,
                mark: Mark::Dots,
                points: points.collect(),
            }
        });
        Panel {
            title: title.to_owned(),
            x,
            x_end: None,
            y: "milliseconds",
            logarithmic,
            series: series.into(),
            ..Panel::default()
        }
    };
    let by_query = |answer: &Answered| (answer.place + 1) as f64;
    let by_hits = |answer: &Answered| hits(answer) as f64;
    Recording {
        panels: vec![
            panel("Latency by query", "query", false, &by_query),
            panel("Latency by number of hits", "hits", true, &by_hits),
        ],
        events: events.collect(),
        ..Recording::default()
    }
}
