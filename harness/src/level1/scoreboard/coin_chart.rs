//! The chart of coins over time: of the round that is played, or of one that is over.

use super::{super::player_name, words::clock};
use crate::web::{
    chart::{Chart, LINES_MAX, Line, Shape, nice_step},
    utc,
};

/// The most spaces between the times below the chart.
const TIME_TICKS: f64 = 5.0;

/// The spaces between times that read well, in seconds: up to half a day.
const TIME_STEPS_S: [u64; 15] = [
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 14_400, 43_200,
];

/// Everybody's colour: by name, players before bots, so that it stays when ranks change.
pub struct Colours<'a>(Vec<&'a str>);

impl<'a> Colours<'a> {
    /// From the names, each as often as it comes.
    pub fn of(names: impl Iterator<Item = &'a str>, more: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<_> = names.chain(more).collect();
        names.sort_by_key(|name| (player_name::is_bot(name), *name));
        names.dedup();
        Self(names)
    }

    /// The colour of a name, for [`Line::colour`].
    pub fn get(&self, name: &str) -> usize {
        let place = self.0.iter().position(|other| *other == name);
        place.unwrap_or(self.0.len())
    }
}

/// Coins over time; of each line the name, the coins before the first time, and the times.
pub fn coin_chart<'a>(
    (start, end): (f64, f64),
    present: f64,
    from_start: bool,
    colours: &Colours<'_>,
    lines: impl Iterator<Item = (&'a str, u64, &'a [u64])>,
) -> Chart {
    // The axis counts from the round's begin, or is the time of day.
    let zero = if from_start { start } else { 0.0 };
    let lines = lines
        // A legend of who has nothing would hide the others.
        .filter(|(_, before, times)| *before > 0 || !times.is_empty())
        .take(LINES_MAX * 4)
        .map(|(name, before, times)| {
            let landed = times.iter().zip(before + 1..);
            let mut points = vec![(start - zero, before as f64)];
            points.extend(landed.map(|(&ms, coins)| (ms as f64 / 1000.0 - zero, coins as f64)));
            if let Some(&(x, y)) = points.last() {
                points.push(((present - zero).max(x), y));
            }
            Line {
                name: name.to_owned(),
                colour: colours.get(name),
                points,
                shape: Shape::Steps,
            }
        });
    Chart {
        title: "Coins over time".into(),
        x: (start - zero, end - zero),
        x_ticks: time_ticks(start - zero, end - zero, from_start),
        from_zero: true,
        lines: lines.collect(),
    }
}

/// Round places in a span of seconds, labelled as a round's clock or as a time of day.
fn time_ticks(from: f64, until: f64, from_start: bool) -> Vec<(f64, String)> {
    let least = (until - from) / TIME_TICKS;
    let step = TIME_STEPS_S.into_iter().find(|&step| step as f64 >= least);
    let days = |least: f64| nice_step(least / 86_400.0) as u64 * 86_400;
    let step = step.unwrap_or_else(|| days(least));
    let first = (from.max(0.0).ceil() as u64).next_multiple_of(step);
    let places = (0..).map(|index| first + index * step);
    places
        .take_while(|&place| place as f64 <= until)
        .map(|place| {
            let label = match (from_start, step) {
                (true, _) => clock(place),
                (false, ..86_400) => utc(place)[11..16].to_owned(),
                (false, _) => utc(place)[..10].to_owned(),
            };
            (place as f64, label)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_of_a_chart_has_round_numbers() {
        let labels = |from, until, from_start| -> Vec<String> {
            let ticks = time_ticks(from, until, from_start).into_iter();
            ticks.map(|(_, label)| label).collect()
        };
        assert_eq!(
            labels(0.0, 90.0, true),
            ["0:00", "0:20", "0:40", "1:00", "1:20"]
        );
        assert_eq!(labels(0.0, 900.0, true), ["0:00", "5:00", "10:00", "15:00"]);
        let day = 1_700_006_400.0;
        assert_eq!(
            labels(day + 1.0, day + 3600.0, false),
            ["00:20", "00:40", "01:00"]
        );
        assert_eq!(labels(day, day + 600_000.0, false).len(), 4);
        assert_eq!(labels(day, day, false), ["00:00"]);
    }
}
