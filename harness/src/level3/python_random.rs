//! CPython 2.7's `random`: the Mersenne twister and the few methods that the generator of 2014 used.
//!
//! Sources: Matsumoto and Nishimura, "Mersenne Twister" (1998) with the 2002 initialisation, and the
//! documented behaviour of the methods. Everything above [`PythonRandom::random`] uses only it, so
//! two outputs of the twister make one draw.

use std::collections::HashSet;

/// Words of the twister's state.
const N: usize = 624;
/// The middle word that a new word is made from.
const M: usize = 397;
/// The twist matrix.
const MATRIX: u32 = 0x9908_b0df;
/// `sample` takes from a copied list up to this size, whatever is sampled.
const SAMPLE_SET_SIZE: usize = 21;

/// A stream of draws, determined by an integer.
pub struct PythonRandom {
    state: [u32; N],
    next: usize,
}

impl PythonRandom {
    /// Python's `random.seed(seed)` for an integer: its absolute value, in 32-bit words.
    pub fn new(seed: i64) -> Self {
        let magnitude = seed.unsigned_abs();
        let (low, high) = (magnitude as u32, (magnitude >> 32) as u32);
        if high == 0 {
            Self::by_array(&[low])
        } else {
            Self::by_array(&[low, high])
        }
    }

    /// The 2002 initialisation by an array of words.
    fn by_array(key: &[u32]) -> Self {
        let mut state = [0_u32; N];
        state[0] = 19_650_218;
        for i in 1..N {
            state[i] = scrambled(state[i - 1], 1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        for step in 0..N.max(key.len()) {
            let j = step % key.len();
            state[i] = (state[i] ^ scrambled(state[i - 1], 1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i = following(i, &mut state);
        }
        for _ in 1..N {
            state[i] = (state[i] ^ scrambled(state[i - 1], 1_566_083_941)).wrapping_sub(i as u32);
            i = following(i, &mut state);
        }
        state[0] = 0x8000_0000;
        Self { state, next: N }
    }

    /// The next 32 bits.
    fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let matrix = if joined & 1 == 1 { MATRIX } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (joined >> 1) ^ matrix;
        }
        self.next = 0;
    }

    /// A double in [0, 1) with 53 random bits.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// An index below `length`.
    fn index(&mut self, length: usize) -> usize {
        (self.random() * length as f64) as usize
    }

    /// A whole number from `low` to `high`, both included.
    pub fn randint(&mut self, low: u32, high: u32) -> u32 {
        low + self.index((high - low) as usize + 1) as u32
    }

    /// An element of a list that is not empty.
    pub fn choice<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// `count` elements of a list at different places, in drawn order; `count` is at most its length.
    pub fn sample<T: Clone>(&mut self, list: &[T], count: usize) -> Vec<T> {
        let mut set_size = SAMPLE_SET_SIZE;
        if count > 5 {
            // 4 to the power of the logarithm of 3k to the base of 4, rounded up.
            let mut power = 1;
            while power < 3 * count {
                power *= 4;
            }
            set_size += power;
        }
        if list.len() <= set_size {
            let mut pool = list.to_vec();
            return (0..count)
                .map(|taken| {
                    let left = pool.len() - taken;
                    let j = self.index(left);
                    let element = pool[j].clone();
                    pool[j] = pool[left - 1].clone();
                    element
                })
                .collect();
        }
        let mut chosen = HashSet::new();
        (0..count)
            .map(|_| {
                let mut j = self.index(list.len());
                while !chosen.insert(j) {
                    j = self.index(list.len());
                }
                list[j].clone()
            })
            .collect()
    }
}

/// The mixing step of the initialisation.
fn scrambled(word: u32, factor: u32) -> u32 {
    (word ^ (word >> 30)).wrapping_mul(factor)
}

/// The next place to initialise; at the end the last word is carried over to the first.
fn following(i: usize, state: &mut [u32; N]) -> usize {
    if i + 1 < N {
        return i + 1;
    }
    state[0] = state[N - 1];
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws as CPython 2.7.18 prints them.
    #[test]
    fn draws_equal_pythons() {
        let close = |seed, expected: f64| {
            let draw = PythonRandom::new(seed).random();
            assert!((draw - expected).abs() < 1e-12, "seed {seed}: {draw}");
        };
        close(49, 0.066_883_976_342_751_67);
        close(0, 0.844_421_851_525);
        close(-5_000_000_000, 0.086_660_101_673);
        let mut random = PythonRandom::new(49);
        let draws = [(); 3].map(|()| random.random());
        assert!(
            (draws[2] - 0.110_504_733_946_138_69).abs() < 1e-16,
            "{draws:?}"
        );
    }

    #[test]
    fn samples_choices_and_ranges_equal_pythons() {
        let mut random = PythonRandom::new(7);
        let short: Vec<u32> = (0..10).collect();
        assert_eq!(
            random.sample(&short, 5),
            [3, 1, 5, 0, 9],
            "from a copy of the list"
        );
        let long: Vec<u32> = (0..1000).collect();
        assert_eq!(
            random.sample(&long, 5),
            [365, 57, 507, 37, 433],
            "by places"
        );
        assert_eq!(random.randint(1, 5), 1);
        assert_eq!(random.choice(b"abc"), &b'a');
    }
}
