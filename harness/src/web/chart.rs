//! Charts as SVG: lines over time, drawn by the server, coloured by the page's style sheet.

use std::fmt::Write;

use maud::{Markup, html};

/// The size of the drawing, in its own units; the page scales it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;

/// Room for the numbers of the axes.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 34.0;

/// Half a letter's width, in the size that phones show.
const HALF_LETTER: f64 = 5.5;

/// The most points of a line: more than there are columns of pixels show nothing more.
const POINTS_MAX: usize = 600;

/// The most lines that can be told apart by colour and dash.
pub const LINES_MAX: usize = COLOURS * DASHES;

/// The colours that the style sheet has: `c0` and so on.
const COLOURS: usize = 10;

/// The dashes that it has: `d0`, which is none, and so on.
const DASHES: usize = 3;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows, for who cannot see it.
    pub title: String,
    /// Where the x axis begins and ends.
    pub x: (f64, f64),
    /// What is written below the x axis, and where.
    pub x_ticks: Vec<(f64, String)>,
    /// Whether the y axis begins at 0.
    pub from_zero: bool,
    /// In the order of the legend.
    pub lines: Vec<Line>,
}

/// One player's line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The player.
    pub name: String,
    /// Which colour and dash it has, wherever it stands: equal numbers look alike.
    pub colour: usize,
    /// Places in the order of x.
    pub points: Vec<(f64, f64)>,
    /// How its points are drawn.
    pub shape: Shape,
}

/// How the points of a line are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Joined by straight lines.
    Straight,
    /// Joined by steps: y keeps its value until the next point, as a number of coins does.
    Steps,
    /// Each by itself.
    Dots,
}

/// How a line is drawn: classes of the style sheet.
fn style(line: &Line) -> String {
    format!(
        "c{} d{}",
        line.colour % COLOURS,
        line.colour / COLOURS % DASHES
    )
}

/// A class of the style sheet for what the path is made of.
fn stroke(line: &Line) -> &'static str {
    match line.shape {
        Shape::Dots => "dots",
        Shape::Straight | Shape::Steps => "line",
    }
}

impl Chart {
    /// The drawing with its legend.
    pub fn svg(&self) -> Markup {
        let lines = &self.lines[..self.lines.len().min(LINES_MAX)];
        let scale = Scale::of(self, lines);
        html! {
            div.chart {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    @for &y in &scale.y_ticks {
                        @let at = scale.y(y);
                        line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(shown(at)) y2=(shown(at)) {}
                        text.tick x=(LEFT - 6.0) y=(shown(at + 4.0)) text-anchor="end" { (y) }
                    }
                    @for (x, label) in &self.x_ticks {
                        @let (at, anchor) = placed(scale.x(*x), label);
                        text.tick x=(shown(at)) y=(HEIGHT - 6.0) text-anchor=(anchor) { (label) }
                    }
                    @for line in lines {
                        path.(stroke(line)).(style(line)) d=(scale.path(line)) {
                            title { (line.name) }
                        }
                        @if let Some(&(x, y)) = line.points.last().filter(|_| line.shape != Shape::Dots) {
                            circle.(style(line)) cx=(shown(scale.x(x))) cy=(shown(scale.y(y)))
                                r="3" {}
                        }
                    }
                }
                ul.legend {
                    @for line in lines {
                        li.(style(line)) { (line.name) }
                    }
                    @if self.lines.len() > LINES_MAX {
                        li.more { "and " (self.lines.len() - LINES_MAX) " more" }
                    }
                }
            }
        }
    }
}

/// Where a label below the x axis stands, so that all of it is inside the drawing.
fn placed(at: f64, label: &str) -> (f64, &'static str) {
    let half = HALF_LETTER * label.chars().count() as f64;
    if at + half > WIDTH {
        (WIDTH - 2.0, "end")
    } else if at < half {
        (2.0, "start")
    } else {
        (at, "middle")
    }
}

/// From values to places in the drawing.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    y_ticks: Vec<f64>,
}

impl Scale {
    fn of(chart: &Chart, lines: &[Line]) -> Self {
        let values = lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.1));
        let (least, most) = values
            .filter(|value| value.is_finite())
            .fold(None, |range: Option<(f64, f64)>, value| {
                let (least, most) = range.unwrap_or((value, value));
                Some((least.min(value), most.max(value)))
            })
            .unwrap_or((0.0, 1.0));
        let least = if chart.from_zero { 0.0 } else { least };
        let step = nice_step((most - least).max(1.0) / 4.0);
        let first = (least / step).floor();
        let last = (most / step).ceil().max(first + 1.0);
        let count = (last - first) as usize;
        let y_ticks = (0..=count).map(|index| (first + index as f64) * step);
        Self {
            x: (chart.x.0, chart.x.1.max(chart.x.0)),
            y: (first * step, last * step),
            y_ticks: y_ticks.collect(),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let width = self.x.1 - self.x.0;
        let share = if width > 0.0 {
            (value - self.x.0) / width
        } else {
            0.0
        };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.y.0) / (self.y.1 - self.y.0);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&self, line: &Line) -> String {
        let mut text = String::new();
        let skip = line.points.len().div_ceil(POINTS_MAX).max(1);
        let last = line.points.len().saturating_sub(1);
        for (index, &(x, y)) in line.points.iter().enumerate() {
            if index % skip != 0 && index != last {
                continue;
            }
            let (x, y) = (shown(self.x(x)), shown(self.y(y)));
            // Writing to a string cannot fail.
            let _ = match line.shape {
                Shape::Dots => write!(text, "M{x} {y}h0"),
                _ if text.is_empty() => write!(text, "M{x} {y}"),
                Shape::Steps => write!(text, "H{x}V{y}"),
                Shape::Straight => write!(text, "L{x} {y}"),
            };
        }
        text
    }
}

/// A tenth of a unit is less than a pixel.
fn shown(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

/// The first of 1, 2, 5, 10, 20, … that is no less.
pub fn nice_step(least: f64) -> f64 {
    let mut step = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if step * factor >= least {
                return step * factor;
            }
        }
        step *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chart(lines: Vec<Line>) -> Chart {
        Chart {
            title: "Coins <over> time".into(),
            x: (0.0, 100.0),
            x_ticks: vec![(50.0, "50 s".into())],
            from_zero: true,
            lines,
        }
    }

    fn line(name: &str, points: &[(f64, f64)]) -> Line {
        Line {
            name: name.into(),
            colour: 0,
            points: points.to_vec(),
            shape: Shape::Steps,
        }
    }

    #[test]
    fn coins_climb_in_steps_inside_the_drawing() {
        let svg = chart(vec![line("ada", &[(0.0, 0.0), (50.0, 1.0), (100.0, 2.0)])]).svg();
        let svg = svg.into_string();
        assert!(svg.contains("d=\"M56 226H336V121"), "{svg}");
        assert!(svg.contains("Coins &lt;over&gt; time"), "{svg}");
        assert!(svg.contains(">ada</li>"), "{svg}");
    }

    #[test]
    fn dots_stand_by_themselves() {
        let dots = Line {
            shape: Shape::Dots,
            ..line("ada", &[(0.0, 0.0), (50.0, 1.0)])
        };
        let svg = chart(vec![dots]).svg().into_string();
        assert!(
            svg.contains("class=\"dots c0 d0\" d=\"M56 226h0M336 16h0\""),
            "{svg}"
        );
        assert!(!svg.contains("<circle"), "{svg}");
    }

    #[test]
    fn labels_at_the_edges_are_whole() {
        let mut drawn = chart(vec![line("ada", &[(0.0, 0.0), (100.0, 1.0)])]);
        drawn.x_ticks = vec![
            (0.0, "11-26 11:08".into()),
            (50.0, "11-26 11:09".into()),
            (100.0, "11-26 11:10".into()),
        ];
        let svg = drawn.svg().into_string();
        for anchor in [
            "start\">11-26 11:08",
            "middle\">11-26 11:09",
            "end\">11-26 11:10",
        ] {
            assert!(svg.contains(anchor), "{anchor}: {svg}");
        }
    }

    #[test]
    fn many_lines_and_many_points_stay_small() {
        let points: Vec<_> = (0..100_000)
            .map(|index| (f64::from(index) / 1000.0, f64::from(index)))
            .collect();
        let svg = chart(vec![line("x", &points); 100]).svg().into_string();
        assert!(svg.len() < LINES_MAX * POINTS_MAX * 16, "{}", svg.len());
        assert!(svg.contains("and 70 more"));
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        assert!(chart(Vec::new()).svg().into_string().contains("<svg"));
        assert!(
            chart(vec![line("ada", &[])])
                .svg()
                .into_string()
                .contains("ada")
        );
    }

    proptest! {
        #[test]
        fn every_value_has_a_place(
            x in any::<(f64, f64)>(),
            points in prop::collection::vec((0.0..1e9_f64, -1e9..1e9_f64), 0..20),
            from_zero: bool,
        ) {
            prop_assume!(x.0.is_finite() && x.1.is_finite() && (x.1 - x.0).is_finite());
            let chart = Chart { x, from_zero, ..chart(vec![line("a", &points)]) };
            let svg = chart.svg().into_string();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", svg);
        }
    }
}
