//! What the charts show: scores over time, and panels of two runs laid over each other.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    logbook::Entry,
    web::{
        chart::{Chart, LINES_MAX, Line, Shape},
        utc,
    },
};

/// The most columns into which many points are gathered, each of which shows its middle one.
const COLUMNS: usize = 60;

/// The most labels below a chart.
const LABELS: usize = 5;

/// A moment, UTC.
pub(super) fn when(at_ms: i64) -> String {
    utc(at_ms.max(0) as u64 / 1000)
}

/// By how much values of a unit are multiplied so that the largest is not too small to be told from
/// others, and has no more digits than there is room for beside a chart; and the unit then.
pub(super) fn scaled(most: f64, unit: &str) -> (f64, String) {
    match unit {
        "s" | "seconds" if most < 0.005 => (1e6, "µs".to_owned()),
        "s" | "seconds" if most < 5.0 => (1e3, "ms".to_owned()),
        "milliseconds" if most < 5.0 => (1e3, "µs".to_owned()),
        _ => (1.0, unit.to_owned()),
    }
}

/// Scores over time, the oldest left: a chart for each level and stage with two or more.
pub(super) fn scores(list: &[Entry]) -> Vec<Chart> {
    let mut groups: BTreeMap<(u8, Option<u8>), Vec<&Entry>> = BTreeMap::new();
    for entry in list.iter().rev() {
        if let (Some(level), Some(_)) = (entry.level, entry.score) {
            groups.entry((level, entry.stage)).or_default().push(entry);
        }
    }
    let charts = groups.into_iter().filter(|(_, entries)| entries.len() > 1);
    charts
        .map(|((level, stage), entries)| {
            let stage = stage.map_or_else(String::new, |stage| format!(", stage {stage}"));
            scores_of(&format!("Level {level}{stage}"), &entries)
        })
        .collect()
}

fn scores_of(title: &str, entries: &[&Entry]) -> Chart {
    let scores = entries.iter().filter_map(|entry| entry.score);
    let most = scores.fold(0.0, f64::max);
    let unit = entries[0].unit.as_deref().unwrap_or("points");
    let (factor, unit) = scaled(most, unit);
    let mut lines: Vec<Line> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let point = (place as f64, entry.score.unwrap_or_default() * factor);
        let name = super::short(&entry.solution);
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name,
                colour: lines.len() % LINES_MAX,
                points: vec![point],
                shape: Shape::Straight,
            }),
        }
    }
    let step = entries.len().div_ceil(LABELS).max(1);
    let labelled = entries.iter().enumerate().step_by(step);
    Chart {
        title: format!("{title}: {unit} of the last {} runs", entries.len()),
        x: (0.0, entries.len().saturating_sub(1) as f64),
        x_ticks: labelled
            .map(|(place, entry)| (place as f64, when(entry.at_ms)[5..16].to_owned()))
            .collect(),
        from_zero: true,
        lines,
    }
}

/// A series of a recording: its name, its shape, and its points.
struct Series<'a> {
    name: &'a str,
    shape: Shape,
    points: Vec<(f64, f64)>,
}

fn series(panel: &Value) -> Vec<Series<'_>> {
    let all = panel["series"].as_array().into_iter().flatten();
    all.filter_map(|series| {
        let points = series["points"].as_array()?.iter();
        let points: Vec<(f64, f64)> = points
            .filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)))
            .collect();
        let mark = series["mark"].as_str()?;
        let points = match mark {
            "dots" | "crosses" => middles(points),
            _ => points,
        };
        Some(Series {
            name: series["name"].as_str()?,
            shape: match mark {
                "steps" | "bars" => Shape::Steps,
                _ => Shape::Straight,
            },
            points,
        })
    })
    .filter(|series| series.points.len() > 1)
    .collect()
}

/// Many points as one for each column: the middle one of those in it.
fn middles(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let most = points.iter().map(|point| point.0).fold(0.0, f64::max);
    if points.len() <= COLUMNS || most <= 0.0 {
        return points;
    }
    let mut columns: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (x, y) in points {
        let column = (x / most * COLUMNS as f64).floor().max(0.0) as usize;
        columns.entry(column.min(COLUMNS - 1)).or_default().push(y);
    }
    let middle = |(column, mut values): (usize, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        let x = (column as f64 + 0.5) * most / COLUMNS as f64;
        (x, values[values.len() / 2])
    };
    columns.into_iter().map(middle).collect()
}

/// The panels that two recordings have both, each with the lines of both.
pub(super) fn overlaid(a: &Value, b: &Value) -> Vec<(String, Chart)> {
    let panels = |recording: &Value| recording["panels"].as_array().cloned().unwrap_or_default();
    let others = panels(b);
    let mut charts = Vec::new();
    for panel in panels(a) {
        let is_plain = panel["logarithmic"] != true && panel["lanes"] == serde_json::json!([]);
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let other = others.iter().find(|other| other["title"] == panel["title"]);
        if let Some(other) = other.filter(|_| is_plain)
            && let Some(chart) = both(&title, &panel, other)
        {
            charts.push((title, chart));
        }
    }
    charts
}

fn both(title: &str, a: &Value, b: &Value) -> Option<Chart> {
    let runs = [("A", series(a)), ("B", series(b))];
    let points = || {
        let all = runs.iter().flat_map(|(_, series)| series);
        all.flat_map(|series| series.points.iter().copied())
    };
    let end = points().map(|point| point.0).reduce(f64::max)?;
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    let unit = a["y"].as_str().unwrap_or_default();
    let (factor, unit) = scaled(most, unit);
    let x = a["x"].as_str().unwrap_or_default();
    let mut lines = Vec::new();
    for (run, series) in runs {
        for series in series {
            let points = series.points.iter();
            lines.push(Line {
                name: format!("{run}: {}", series.name),
                colour: lines.len(),
                points: points.map(|&(x, y)| (x, y * factor)).collect(),
                shape: series.shape,
            });
        }
    }
    let places = (0..=4).map(|quarter| end * f64::from(quarter) / 4.0);
    let label = |at: f64| format!("{}", (at * 10.0).round() / 10.0);
    let unit_of_x = if x == "seconds" { " s" } else { "" };
    Some(Chart {
        title: format!("{title}: {unit} over {x}"),
        x: (0.0, end),
        x_ticks: places.map(|at| (at, label(at) + unit_of_x)).collect(),
        from_zero: true,
        lines,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(id: i64, score: Option<f64>, solution: &str) -> Entry {
        Entry {
            id,
            at_ms: 1_700_000_000_000 + id,
            level: Some(0),
            stage: None,
            case: "c".into(),
            solution: solution.into(),
            verdict: "passed".into(),
            score,
            unit: Some("s".into()),
        }
    }

    #[test]
    fn scores_are_drawn_from_the_oldest_a_line_for_each_solution() {
        let list = [
            entry(4, Some(0.001), "/h/a/x"),
            entry(3, Some(0.002), "/h/b/x"),
            entry(2, None, "/h/a/x"),
            entry(1, Some(0.004), "/h/a/x"),
        ];
        let [chart] = scores(&list).try_into().unwrap();
        assert!(
            chart.title.contains("µs of the last 3 runs"),
            "{}",
            chart.title
        );
        assert_eq!(chart.lines.len(), 2);
        assert_eq!(chart.lines[0].points, [(0.0, 4000.0), (2.0, 1000.0)]);
        assert!(scores(&list[3..]).is_empty());
    }

    #[test]
    fn panels_of_the_same_title_are_laid_over_each_other() {
        let recording = |ms: f64| {
            let points: Vec<_> = (0..1000)
                .map(|x| json!([f64::from(x) / 100.0, ms, "w"]))
                .collect();
            json!({"panels": [
                {"title": "Latency", "x": "seconds", "y": "milliseconds", "logarithmic": false,
                 "lanes": [], "series": [{"name": "mice", "mark": "dots", "points": points}]},
                {"title": "Rows", "lanes": ["a"], "series": []},
            ]})
        };
        let charts = overlaid(&recording(50.0), &recording(70.0));
        assert_eq!(charts.len(), 1);
        let lines = &charts[0].1.lines;
        assert_eq!((&*lines[0].name, &*lines[1].name), ("A: mice", "B: mice"));
        assert_eq!(lines[0].points.len(), COLUMNS);
        assert!((lines[1].points[3].1 - 70.0).abs() < 1e-9);
        for nonsense in [
            json!(null),
            json!({"panels": 3}),
            json!({"panels": [{}, 7]}),
        ] {
            assert!(overlaid(&nonsense, &nonsense).is_empty());
        }
    }

    #[test]
    fn moments_are_told_to_the_second() {
        assert_eq!(when(1_700_000_000_000), "2023-11-14 22:13:20");
        assert_eq!(when(i64::MAX), "9999-12-31 23:59:59");
    }
}
