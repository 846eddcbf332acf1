//! The generator behind the traffic of 2014: npm's `seed-random`, which is David Bau's ARC4 generator.
//!
//! The text of the seed is folded into a key with a running "smear"; the key schedules an RC4 state
//! whose first 256 bytes are thrown away; a double takes six bytes, then one more at a time until it
//! has at least 52 significant bits, and is halved while it has more than 53. Every step works on
//! whole numbers below 2^53 or divides by a power of two, so the draws equal JavaScript's bit for bit.

/// The number of different bytes, and the length of the cipher's state.
const WIDTH: usize = 256;
/// Bytes that every double starts from.
const CHUNKS: usize = 6;
/// A double needs at least this numerator: 2^52.
const SIGNIFICANCE: f64 = 4_503_599_627_370_496.0;

/// A stream of doubles in [0, 1), determined by a text.
#[derive(Clone)]
pub struct SeedRandom {
    state: [u8; WIDTH],
    i: u8,
    j: u8,
}

impl SeedRandom {
    /// Starts the stream of `seed`. JavaScript sees a text as UTF-16 units, and so does the key.
    pub fn new(seed: &str) -> Self {
        let mut key = mix_key(seed);
        if key.is_empty() {
            key.push(0);
        }
        let mut state: [u8; WIDTH] = std::array::from_fn(|i| i as u8);
        let mut j = 0_u8;
        for i in 0..WIDTH {
            j = j.wrapping_add(key[i % key.len()]).wrapping_add(state[i]);
            state.swap(i, usize::from(j));
        }
        let mut generator = Self { state, i: 0, j: 0 };
        for _ in 0..WIDTH {
            generator.next_byte();
        }
        generator
    }

    /// The next draw, at least 0 and less than 1.
    pub fn next_double(&mut self) -> f64 {
        let mut numerator = 0.0;
        let mut denominator = 1.0;
        for _ in 0..CHUNKS {
            numerator = numerator * 256.0 + f64::from(self.next_byte());
            denominator *= 256.0;
        }
        let mut last = 0_u32;
        while numerator < SIGNIFICANCE {
            numerator = (numerator + f64::from(last)) * 256.0;
            denominator *= 256.0;
            last = u32::from(self.next_byte());
        }
        while numerator >= 2.0 * SIGNIFICANCE {
            numerator /= 2.0;
            denominator /= 2.0;
            last >>= 1;
        }
        (numerator + f64::from(last)) / denominator
    }

    /// One step of RC4.
    fn next_byte(&mut self) -> u8 {
        self.i = self.i.wrapping_add(1);
        self.j = self.j.wrapping_add(self.state[usize::from(self.i)]);
        self.state.swap(usize::from(self.i), usize::from(self.j));
        let sum = self.state[usize::from(self.i)].wrapping_add(self.state[usize::from(self.j)]);
        self.state[usize::from(sum)]
    }
}

/// Folds a text into at most 256 bytes: later units are mixed over the first ones.
fn mix_key(seed: &str) -> Vec<u8> {
    let mut key: Vec<u8> = Vec::new();
    let mut smear = 0_u32;
    for (position, unit) in seed.encode_utf16().enumerate() {
        let slot = position % WIDTH;
        let old = key.get(slot).copied().unwrap_or(0);
        smear ^= u32::from(old) * 19;
        let mixed = smear.wrapping_add(u32::from(unit)) as u8;
        match key.get_mut(slot) {
            Some(byte) => *byte = mixed,
            None => key.push(mixed),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_in_the_unit_interval_and_depend_on_the_seed() {
        let mut a = SeedRandom::new("one");
        let draws: Vec<f64> = (0..10_000).map(|_| a.next_double()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
        let other = SeedRandom::new("two").next_double();
        assert!((draws[0] - other).abs() > f64::EPSILON);
    }

    #[test]
    fn a_key_longer_than_the_state_folds_over_itself() {
        let long = "x".repeat(300);
        let key = mix_key(&long);
        assert_eq!(key.len(), WIDTH);
        assert_eq!(
            key[100], b'x',
            "the part that nothing was folded over is the text itself"
        );
        assert_ne!(key[0], b'x');
    }

    /// First and second draws as `seed-random` 2.2.0 gives them under node.
    #[test]
    fn draws_equal_those_of_the_package() {
        let long = "x".repeat(300);
        for (seed, first, second) in [
            (
                long.as_str(),
                0.952_495_823_023_581,
                0.937_853_010_296_681_7,
            ),
            ("é€😀", 0.849_007_478_825_199_4, 0.822_825_204_218_916),
            (
                &"abc".repeat(100),
                0.998_936_186_953_418_8,
                0.456_184_755_839_214_03,
            ),
        ] {
            let mut random = SeedRandom::new(seed);
            let draws: [f64; 2] = [random.next_double(), random.next_double()];
            assert!((draws[0] - first).abs() < 1e-15, "{seed}: {draws:?}");
            assert!((draws[1] - second).abs() < 1e-15, "{seed}: {draws:?}");
        }
    }

    #[test]
    fn an_empty_seed_is_a_seed() {
        let draw = SeedRandom::new("").next_double();
        assert!((0.0..1.0).contains(&draw));
    }
}
