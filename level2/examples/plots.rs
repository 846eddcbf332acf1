//! Draws the two plots of DESIGN.md from worlds in virtual time.
//!
//! ```console
//! $ cargo run --release -p level2 --example plots level2/docs
//! ```
//!
//! `share.svg`: what 20 clients of different appetite get, beside what water filling would give them.
//! `waiting.svg`: how long steady clients wait beside two floods, against their part of the capacity.

#![allow(clippy::unwrap_used, reason = "an example, run by hand")]

#[path = "../tests/world/mod.rs"]
mod world;

use std::fmt::Write;
use std::path::Path;

use world::traffic::{Pace, Traffic};
use world::{Request, SECOND, World, play};

/// Answers a second that two backends of two slots and 75 ms can give.
const CAPACITY: f64 = 4.0 / 0.075;

/// Length of each run, in seconds.
const SECONDS: u64 = 120;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "level2/docs".into());
    let folder = Path::new(&folder);
    std::fs::write(folder.join("share.svg"), share()).unwrap();
    std::fs::write(folder.join("waiting.svg"), waiting()).unwrap();
    println!("wrote share.svg and waiting.svg to {}", folder.display());
}

/// Share against demand.
fn share() -> String {
    let demands: Vec<f64> = (1..=20).map(|n| 0.3 * f64::from(n)).collect();
    let mut script: Vec<Request> = Vec::new();
    for (client, demand) in demands.iter().enumerate() {
        let one = Traffic::new(client as u64, SECONDS).steady(1, *demand, Pace::Poisson, 0.0);
        script.extend(one.script().into_iter().map(|request| Request {
            client: format!("client {client}"),
            ..request
        }));
    }
    script.sort_by_key(|request| request.at);
    let world = World {
        end: SECONDS * SECOND,
        ..World::contest(None)
    };
    let tally = play(&world, &script);
    let rate = |client: usize| {
        let name = format!("client {client}");
        let sent = script.iter().filter(|r| r.client == name).count() as f64;
        let got = tally.by_client.get(&name).copied().unwrap_or(0) as f64;
        (sent / SECONDS as f64, got / SECONDS as f64)
    };
    let points: Vec<(f64, f64)> = (0..demands.len()).map(rate).collect();
    let level = water_level(&points.iter().map(|point| point.0).collect::<Vec<_>>());
    let ideal: Vec<(f64, f64)> = (0..=65)
        .map(|n| f64::from(n) * 0.1)
        .map(|demand| (demand, demand.min(level)))
        .collect();
    let mut plot = Plot::new(
        6.5,
        4.5,
        "asked for, requests/s",
        "answered, requests/s",
        1.0,
        1.0,
    );
    plot.line(&ideal, "#888", "water filling");
    plot.dots(&points, "#c33", "20 clients");
    plot.finish()
}

/// The level up to which every demand is met.
fn water_level(demands: &[f64]) -> f64 {
    let (mut low, mut high) = (0.0, CAPACITY);
    for _ in 0..60 {
        let level = f64::midpoint(low, high);
        let given: f64 = demands.iter().map(|demand| demand.min(level)).sum();
        if given < CAPACITY {
            low = level;
        } else {
            high = level;
        }
    }
    low
}

/// Waiting against load.
fn waiting() -> String {
    let (mut median, mut p99) = (Vec::new(), Vec::new());
    for step in 1..=19 {
        let load = f64::from(step) * 0.05;
        let script = Traffic::new(step as u64, SECONDS)
            .steady(20, load * CAPACITY / 20.0, Pace::Poisson, 0.0)
            .floods(2, Pace::Poisson)
            .script();
        let world = World {
            end: SECONDS * SECOND,
            ..World::contest(None)
        };
        let tally = play(&world, &script);
        median.push((100.0 * load, tally.wait(0.5) as f64 / 1e6));
        p99.push((100.0 * load, tally.wait(0.99) as f64 / 1e6));
    }
    let mut plot = Plot::new(
        100.0,
        750.0,
        "load of 20 steady clients, % of the capacity, beside two floods",
        "waiting, ms",
        20.0,
        150.0,
    );
    plot.line(&p99, "#c33", "99th percentile");
    plot.line(&median, "#36c", "median");
    plot.finish()
}

/// A plot in the making: a frame, lines, dots.
struct Plot {
    body: String,
    most: (f64, f64),
    labels: usize,
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 50.0;
const BOTTOM: f64 = 45.0;

impl Plot {
    fn new(most_x: f64, most_y: f64, x: &str, y: &str, step_x: f64, step_y: f64) -> Self {
        let mut plot = Self {
            body: String::new(),
            most: (most_x, most_y),
            labels: 0,
        };
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - 10.0);
        plot.push(format_args!(
            "<path d=\"M{LEFT} 10V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>"
        ));
        let middle = f64::midpoint(LEFT, right);
        plot.push(format_args!(
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x}</text>",
            HEIGHT - 8.0
        ));
        plot.push(format_args!(
            "<text transform=\"rotate(-90)\" x=\"{}\" y=\"12\" text-anchor=\"middle\">{y}</text>",
            -f64::midpoint(10.0, bottom)
        ));
        let mut tick = 0.0;
        while tick <= most_x {
            let at = plot.at((tick, 0.0)).0;
            plot.push(format_args!(
                "<text x=\"{at:.0}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
                bottom + 15.0
            ));
            tick += step_x;
        }
        let mut tick = step_y;
        while tick <= most_y {
            let at = plot.at((0.0, tick)).1;
            plot.push(format_args!(
                "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{tick}</text>",
                LEFT - 5.0,
                at + 4.0
            ));
            tick += step_y;
        }
        plot
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").unwrap();
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (width, height) = (WIDTH - 10.0 - LEFT, HEIGHT - BOTTOM - 10.0);
        (
            LEFT + x / self.most.0 * width,
            10.0 + (1.0 - y / self.most.1) * height,
        )
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, label: &str) {
        let path: Vec<String> = points
            .iter()
            .map(|point| self.at(*point))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.push(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.join(" ")
        ));
        self.label(colour, label);
    }

    fn dots(&mut self, points: &[(f64, f64)], colour: &str, label: &str) {
        for point in points {
            let (x, y) = self.at(*point);
            self.push(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            ));
        }
        self.label(colour, label);
    }

    fn label(&mut self, colour: &str, label: &str) {
        let y = 22.0 + 15.0 * self.labels as f64;
        self.labels += 1;
        self.push(format_args!(
            "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{label}</text>",
            LEFT + 12.0
        ));
    }

    fn finish(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"11\" fill=\"#888\">\n{}</svg>\n",
            self.body
        )
    }
}
