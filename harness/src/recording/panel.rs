//! A chart as plain data.

use serde::Serialize;

/// One chart: series over a common x axis.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The x axis with its unit.
    pub x: &'static str,
    /// Where the x axis ends at least, so that panels over the same time are in line; it begins at
    /// 0 unless it is logarithmic.
    pub x_end: Option<f64>,
    /// The y axis with its unit.
    pub y: &'static str,
    /// Whether both axes are logarithmic; values below 1 in x and 0.001 in y are drawn there.
    pub logarithmic: bool,
    /// Whether the y axis alone is logarithmic.
    pub logarithmic_y: bool,
    /// Names of rows from the top down, instead of a y axis: y is then the number of a row.
    pub lanes: Vec<String>,
    /// What lasts, in the rows.
    pub spans: Vec<Span>,
    /// The part of the x axis that is shown, if it is not that of the other panels.
    pub within: Option<(f64, f64)>,
    /// A horizontal line with its name: a limit.
    pub limit: Option<(f64, &'static str)>,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// A dot a point.
    Dots,
    /// A cross a point.
    Crosses,
    /// A line that keeps its value until the next point, broken where y is no number.
    Steps,
    /// A bar a point, stacked on those of the series before.
    Bars,
}

/// Points that belong together.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: &'static str,
    /// A colour by meaning: `good`, `bad`, `lost`, `other`.
    pub colour: &'static str,
    /// How it is drawn.
    pub mark: Mark,
    /// In the order of x.
    pub points: Vec<Point>,
}

/// A value, and what is said of it under the pointer.
#[derive(Clone, Debug, Serialize)]
pub struct Point(
    /// x
    pub f64,
    /// y
    pub f64,
    /// A few words; none for a point that says all by its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub Option<String>,
);

/// Something that lasts, in a row of a panel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Where it begins, on the x axis.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The row.
    pub lane: usize,
    /// A colour by meaning, as of a series.
    pub colour: &'static str,
    /// How strong the colour is, from 0 to 1.
    pub strength: f64,
    /// What is said of it under the pointer.
    pub words: String,
}

/// Something that lasts and is drawn behind every panel over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Band {
    /// When it begins, in seconds.
    pub from: f64,
    /// When it ends; a moment is drawn as a line.
    pub to: f64,
    /// A colour by meaning, as of a series.
    pub colour: &'static str,
    /// What it is.
    pub words: String,
}
