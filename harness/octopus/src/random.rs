//! Seeded randomness that is the same on every machine: one ChaCha stream for each actor, so that
//! switching an actor off changes no other, and draws whose transcendental functions come from
//! `libm` rather than from the platform.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// The generator of one actor: stream number `actor` of the seed.
pub fn stream(seed: u64, actor: u64) -> ChaCha12Rng {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(actor);
    rng
}

/// Uniform in (0, 1): 53 random bits, never 0 and never 1.
fn open_unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Exponential with mean 1.
pub fn exponential(rng: &mut impl Rng) -> f64 {
    -libm::log(open_unit(rng))
}

/// Normal with mean 0 and standard deviation 1 (Box and Muller, 1958; one of the pair is dropped
/// so that every draw takes the same amount of the stream).
pub fn normal(rng: &mut impl Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(open_unit(rng)));
    radius * libm::cos(2.0 * std::f64::consts::PI * open_unit(rng))
}

/// Uniform in `0..bound`, from one draw. The bias is below `bound` / 2^64.
///
/// # Panics
/// If `bound` is 0: there is nothing to choose from.
pub fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    assert!(bound > 0, "a choice needs something to choose from");
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// One of the elements, uniformly; `None` if there are none.
pub fn choose<T: Copy>(rng: &mut impl Rng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[below(rng, from.len() as u64) as usize])
}

/// The elements in a random order (Fisher and Yates).
pub fn shuffled<T>(rng: &mut impl Rng, mut items: Vec<T>) -> Vec<T> {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last as u64 + 1) as usize);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / DRAWS as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / DRAWS as f64;
        (mean, variance)
    }

    #[test]
    fn exponential_has_mean_and_variance_one() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let (mean, variance) = moments(|| exponential(&mut rng));
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let (mean, variance) = moments(|| normal(&mut rng));
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn shuffles_reach_every_order_equally() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            *seen
                .entry(shuffled(&mut rng, vec![0, 1, 2, 3]))
                .or_insert(0_u32) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }

    #[test]
    fn choosing_from_nothing_is_nothing() {
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        assert_eq!(choose::<u8>(&mut rng, &[]), None);
        assert!((0..100).all(|_| below(&mut rng, 3) < 3));
    }
}
