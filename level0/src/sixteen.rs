//! Sixteen bytes that are worked on together, as one vector.
//!
//! On x86-64 with SSE2, which every such processor has, so nothing is detected at run time; elsewhere
//! a portable version does the same. The tests hold one against the other.
//!
//! Where a byte answers a question, all its bits are set if the answer is yes, and none if it is no.

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::Sixteen;
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::Sixteen;

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_min_epu8, _mm_movemask_epi8,
        _mm_or_si128, _mm_sub_epi8, _mm_unpackhi_epi64,
    };

    #[derive(Clone, Copy)]
    pub(crate) struct Sixteen(__m128i);

    impl Sixteen {
        #[inline]
        pub(crate) fn new(bytes: [u8; 16]) -> Self {
            // SAFETY: a `__m128i` is 16 plain bytes, and any bytes are a valid one.
            Self(unsafe { std::mem::transmute::<[u8; 16], __m128i>(bytes) })
        }

        /// Which bytes equal `wanted`.
        #[inline]
        pub(crate) fn equal_to(self, wanted: u8) -> Self {
            let wanted = Self::new([wanted; 16]);
            // SAFETY: SSE2 belongs to every x86-64 processor.
            Self(unsafe { _mm_cmpeq_epi8(self.0, wanted.0) })
        }

        /// Which bytes are from `first` to `last`.
        #[inline]
        pub(crate) fn within(self, first: u8, last: u8) -> Self {
            let (first, span) = (Self::new([first; 16]), Self::new([last - first; 16]));
            // SAFETY: SSE2 belongs to every x86-64 processor.
            Self(unsafe {
                let from_first = _mm_sub_epi8(self.0, first.0);
                _mm_cmpeq_epi8(_mm_min_epu8(from_first, span.0), from_first)
            })
        }

        #[inline]
        pub(crate) fn or(self, other: Self) -> Self {
            // SAFETY: SSE2 belongs to every x86-64 processor.
            Self(unsafe { _mm_or_si128(self.0, other.0) })
        }

        #[inline]
        pub(crate) fn and(self, other: Self) -> Self {
            // SAFETY: SSE2 belongs to every x86-64 processor.
            Self(unsafe { _mm_and_si128(self.0, other.0) })
        }

        /// Whether all bytes are equal.
        #[inline]
        pub(crate) fn is(self, other: Self) -> bool {
            // SAFETY: SSE2 belongs to every x86-64 processor.
            unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self.0, other.0)) == 0xFFFF }
        }

        /// The bytes' highest bits, that of the first one lowest.
        #[inline]
        pub(crate) fn mask(self) -> u16 {
            // SAFETY: SSE2 belongs to every x86-64 processor.
            unsafe { _mm_movemask_epi8(self.0) as u16 }
        }

        /// The first eight bytes and the last eight, as little-endian numbers.
        #[inline]
        pub(crate) fn halves(self) -> (u64, u64) {
            // SAFETY: SSE2 belongs to every x86-64 processor.
            let (low, high) = unsafe {
                let high = _mm_unpackhi_epi64(self.0, self.0);
                (_mm_cvtsi128_si64(self.0), _mm_cvtsi128_si64(high))
            };
            (low.cast_unsigned(), high.cast_unsigned())
        }
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    #[derive(Clone, Copy)]
    pub(crate) struct Sixteen([u8; 16]);

    impl Sixteen {
        #[inline]
        pub(crate) fn new(bytes: [u8; 16]) -> Self {
            Self(bytes)
        }

        /// Which bytes equal `wanted`.
        #[inline]
        pub(crate) fn equal_to(self, wanted: u8) -> Self {
            Self(self.0.map(|byte| answer(byte == wanted)))
        }

        /// Which bytes are from `first` to `last`.
        #[inline]
        pub(crate) fn within(self, first: u8, last: u8) -> Self {
            Self(self.0.map(|byte| answer((first..=last).contains(&byte))))
        }

        #[inline]
        pub(crate) fn or(self, other: Self) -> Self {
            Self(std::array::from_fn(|index| self.0[index] | other.0[index]))
        }

        #[inline]
        pub(crate) fn and(self, other: Self) -> Self {
            Self(std::array::from_fn(|index| self.0[index] & other.0[index]))
        }

        /// Whether all bytes are equal.
        #[inline]
        pub(crate) fn is(self, other: Self) -> bool {
            self.0 == other.0
        }

        /// The bytes' highest bits, that of the first one lowest.
        #[inline]
        pub(crate) fn mask(self) -> u16 {
            let bits = self.0.iter().enumerate();
            bits.fold(0, |mask, (index, byte)| {
                mask | u16::from(byte >> 7) << index
            })
        }

        /// The first eight bytes and the last eight, as little-endian numbers.
        #[inline]
        pub(crate) fn halves(self) -> (u64, u64) {
            let all = u128::from_le_bytes(self.0);
            (all as u64, (all >> 64) as u64)
        }
    }

    fn answer(yes: bool) -> u8 {
        if yes { 0xFF } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sixteen, portable};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_versions_do_the_same(
            bytes in any::<[u8; 16]>(), others in any::<[u8; 16]>(), first: u8, last: u8,
        ) {
            let last = last.max(first);
            let (one, other) = (Sixteen::new(bytes), Sixteen::new(others));
            let (plain, plain_other) = (portable::Sixteen::new(bytes), portable::Sixteen::new(others));
            prop_assert_eq!(one.is(other), plain.is(plain_other));
            prop_assert!(one.is(one) && plain.is(plain));
            for (fast, slow) in [
                (one, plain),
                (one.equal_to(bytes[3]), plain.equal_to(bytes[3])),
                (one.within(first, last), plain.within(first, last)),
                (one.or(other), plain.or(plain_other)),
                (one.and(other), plain.and(plain_other)),
            ] {
                prop_assert_eq!(fast.halves(), slow.halves());
                prop_assert_eq!(fast.mask(), slow.mask());
            }
        }
    }
}
