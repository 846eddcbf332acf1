//! Statistics of latencies that a few unusual ones do not spoil.
//!
//! A backend answers some requests at once (a check, an error, something out of a cache) and a few late
//! (a thread that was not woken in time). [`Run`] keeps mean and spread; [`Floor`] finds what a request
//! costs that does not wait, and is no extreme: one quick answer in ten changes nothing.

use super::Seconds;

/// Latencies of a [`Run`] that are remembered: the backend of an hour ago is another backend.
const RUN: usize = 256;

/// A latency below this part of the usual is of another kind.
pub const OTHER_KIND: f64 = 1.0 / 8.0;

/// Latencies in a block of which the [`Floor`] takes the [`QUICK`]-th.
const BLOCK: u32 = 32;

/// Rank in its block of the latency that is believed: those shorter are of another kind.
const QUICK: usize = 4;

/// By how much the floor rises in a block, unless the block shows that it need not.
const DRIFT: f64 = 1.016;

/// The latest latencies of a kind, with their mean and spread.
#[derive(Clone, Debug, Default)]
pub struct Run {
    latest: Vec<f32>,
    /// The oldest in a full run.
    oldest: usize,
    /// All that were added, those that are forgotten too.
    count: u32,
    sum: f64,
    squares: f64,
}

impl Run {
    /// Takes in a latency.
    pub fn add(&mut self, latency: Seconds) {
        let value = latency as f32;
        if self.latest.len() < RUN {
            self.latest.push(value);
        } else {
            let old = f64::from(std::mem::replace(&mut self.latest[self.oldest], value));
            self.oldest = (self.oldest + 1) % RUN;
            self.sum -= old;
            self.squares -= old * old;
        }
        let value = f64::from(value);
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.squares += value * value;
    }

    /// How many it was given.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The mean of the latest; 0 while there is none.
    pub fn mean(&self) -> Seconds {
        self.sum / self.latest.len().max(1) as f64
    }

    /// Standard deviation of the latest, as a part of their mean.
    pub fn spread(&self) -> f64 {
        let count = self.latest.len().max(1) as f64;
        let mean = self.mean().max(f64::MIN_POSITIVE);
        (self.squares / count - mean * mean).max(0.0).sqrt() / mean
    }

    /// The same without those of another kind.
    pub fn typical_spread(&self) -> f64 {
        self.sample(OTHER_KIND * self.median(), false).spread()
    }

    fn median(&self) -> Seconds {
        let mut sorted = self.latest.clone();
        let middle = sorted.len() / 2;
        if sorted.is_empty() {
            return 0.0;
        }
        let (_, median, _) = sorted.select_nth_unstable_by(middle, f32::total_cmp);
        Seconds::from(*median)
    }

    /// Those that are no shorter than the cut; of these the shorter half, or all.
    fn sample(&self, cut: Seconds, half: bool) -> Sample {
        let values = self.latest.iter().copied();
        let mut values: Vec<f32> = values
            .filter(|&value| Seconds::from(value) >= cut)
            .collect();
        if half && !values.is_empty() {
            let half = values.len().div_ceil(2);
            values.select_nth_unstable_by(half - 1, f32::total_cmp);
            values.truncate(half);
        }
        let count = values.len() as u32;
        let values = values.into_iter().map(f64::from);
        let mean = values.clone().sum::<f64>() / f64::from(count.max(1));
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Sample {
            count,
            mean,
            variance: squares / f64::from(count.max(2) - 1),
        }
    }
}

/// What a run says, without latencies of another kind.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many are left.
    pub count: u32,
    /// Their mean; 0 if there is none.
    pub mean: Seconds,
    variance: f64,
}

impl Sample {
    /// Standard deviation, as a part of the mean.
    pub fn spread(self) -> f64 {
        self.variance.sqrt() / self.mean.max(f64::MIN_POSITIVE)
    }

    /// Standard error of the difference of two means. Where requests are `mixed`, both are taken to be as
    /// irregular as the more irregular: a few quick requests in a row do not look irregular.
    pub fn error(self, other: Self, mixed: bool) -> Seconds {
        let share = |count: u32| f64::from(count.max(1)).recip();
        if mixed || self.count.min(other.count) < 3 {
            let variance = self.variance.max(other.variance);
            return (variance * (share(self.count) + share(other.count))).sqrt();
        }
        (self.variance * share(self.count) + other.variance * share(other.count)).sqrt()
    }
}

/// Two runs made comparable: without what is of another kind than the slower one's median.
///
/// Where requests are `mixed`, only the shorter half of each: waiting shows there as well, and the dear
/// ones, of which chance brings now more and now fewer, would hide it.
pub fn compare(a: &Run, b: &Run, mixed: bool) -> (Sample, Sample) {
    let cut = OTHER_KIND * a.median().max(b.median());
    (a.sample(cut, mixed), b.sample(cut, mixed))
}

/// What a request costs that does not wait: about the tenth percentile of a block of latencies, and the
/// least of all blocks, which drifts up slowly.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    value: Seconds,
    /// Shortest latencies of the current block, ascending, and how many it has.
    shortest: [Seconds; QUICK],
    count: u32,
}

impl Floor {
    /// The floor; infinite in the first block.
    pub fn value(self) -> Seconds {
        self.value
    }

    /// What is known now to be without waiting.
    pub fn raise(&mut self, latency: Seconds) {
        self.value = self.value.max(latency);
    }

    /// Takes in a latency.
    pub fn add(&mut self, latency: Seconds) {
        let place = self.shortest.partition_point(|&other| other <= latency);
        if place < QUICK {
            self.shortest[place..].rotate_right(1);
            self.shortest[place] = latency;
        }
        self.count += 1;
        if self.count == BLOCK {
            *self = Self {
                value: (self.value * DRIFT).min(self.shortest[QUICK - 1]),
                ..Self::default()
            };
        }
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            value: Seconds::INFINITY,
            shortest: [Seconds::INFINITY; QUICK],
            count: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_mean_and_the_spread_of_its_latencies() {
        let mut run = Run::default();
        for value in [1.0, 3.0, 1.0, 3.0] {
            run.add(value);
        }
        assert!((run.mean() - 2.0).abs() < 1e-12);
        assert!((run.spread() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_long_run_forgets() {
        let mut run = Run::default();
        for n in 0..400 {
            run.add(if n < 100 { 1.0 } else { 5.0 });
        }
        assert_eq!(run.count(), 400);
        assert!((run.mean() - 5.0).abs() < 1e-9, "{}", run.mean());
        assert!(run.spread() < 1e-6, "{}", run.spread());
    }

    #[test]
    fn runs_are_compared_by_latencies_of_one_kind() {
        let run = |values: &[Seconds]| {
            let mut run = Run::default();
            for &value in values {
                run.add(value);
            }
            run
        };
        let plain = run(&[0.075, 0.08, 0.07]);
        let (left, right) = compare(&plain, &run(&[0.000_3, 0.075, 0.000_3, 0.000_3]), false);
        assert_eq!((left.count, right.count), (3, 1));
        let (left, right) = compare(&plain, &run(&[0.000_3, 0.000_4]), false);
        assert_eq!((left.count, right.count), (3, 0));
        // Where most are quick, the slow ones belong to the mix.
        let mixture = run(&[0.025, 0.025, 0.025, 0.275, 0.025]);
        let (all, _) = compare(&mixture, &mixture, false);
        assert_eq!(all.count, 5);
        assert!((all.mean - 0.075).abs() < 1e-6, "{}", all.mean);
        let (half, _) = compare(&mixture, &mixture, true);
        assert_eq!(half.count, 3);
        assert!((half.mean - 0.025).abs() < 1e-6, "{}", half.mean);
    }

    #[test]
    fn quick_answers_now_and_then_do_not_lower_the_floor() {
        let mut floor = Floor::default();
        for n in 0..640 {
            floor.add(if n % 11 == 0 { 0.000_3 } else { 0.075 });
        }
        assert!((floor.value() - 0.075).abs() < 1e-9, "{}", floor.value());
    }

    #[test]
    fn the_floor_remembers_what_a_request_cost_before_it_had_to_wait() {
        let mut floor = Floor::default();
        for n in 0..1_000 {
            floor.add(if n < 100 { 0.075 } else { 0.75 });
        }
        assert!(floor.value() < 0.125, "{}", floor.value());
    }
}
