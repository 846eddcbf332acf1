//! Looking for a literal in whose letters upper and lower case do not matter.
//!
//! There are vector instructions for finding one of two bytes. So the rarest place of the literal is
//! looked for in both its forms, and the bytes around each find are compared: a few of them, since a
//! text that is nearly the literal everywhere would cost the literal's length at each byte.

use memchr::memchr2_iter;

use super::prefilter::share;

/// Bytes of a literal that are compared at most.
const MAX_BYTES: usize = 16;

/// A literal of bytes that each have one form or two; of a long one, the part around its rarest place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caseless {
    forms: Vec<[u8; 2]>,
    /// The place that is looked for.
    rarest: usize,
}

impl Caseless {
    /// The literal with these forms of its bytes; `None` if it has none.
    pub(super) fn new(mut forms: Vec<[u8; 2]>) -> Option<Self> {
        let by_share = |a: &usize, b: &usize| of(forms[*a]).total_cmp(&of(forms[*b]));
        let rarest = (0..forms.len()).min_by(by_share)?;
        let last_start = forms.len().saturating_sub(MAX_BYTES);
        let start = rarest.saturating_sub(MAX_BYTES / 2).min(last_start);
        forms.drain(..start);
        forms.truncate(MAX_BYTES);
        let rarest = rarest - start;
        Some(Self { forms, rarest })
    }

    /// How many bytes are compared.
    pub(super) fn len(&self) -> usize {
        self.forms.len()
    }

    /// About which share of source code is the byte that is looked for.
    pub(super) fn rarest_share(&self) -> f64 {
        of(self.forms[self.rarest])
    }

    /// Where what is compared is first in `text`.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        let [one, other] = self.forms[self.rarest];
        let is_here = |at: &usize| {
            let here = text.get(*at..*at + self.len());
            here.is_some_and(|here| {
                here.iter()
                    .zip(&self.forms)
                    .all(|(byte, forms)| forms.contains(byte))
            })
        };
        // A find at n is that of a literal that starts as far in front of it as the place is from
        // its start.
        memchr2_iter(one, other, text.get(self.rarest..)?).find(is_here)
    }
}

/// The share of a byte in all its forms.
fn of([one, other]: [u8; 2]) -> f64 {
    if one == other {
        share(one)
    } else {
        share(one) + share(other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caseless(text: &str) -> Caseless {
        let forms = text
            .bytes()
            .map(|byte| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]);
        Caseless::new(forms.collect()).unwrap()
    }

    proptest! {
        #[test]
        fn it_is_found_where_a_slow_search_finds_it(literal in "[abX_]{1,4}", text in "[abxABX_\n]{0,40}") {
            let folded = text.to_ascii_lowercase();
            let expected = folded.find(&literal.to_ascii_lowercase());
            prop_assert_eq!(caseless(&literal).find(text.as_bytes()), expected);
        }
    }

    proptest! {
        #[test]
        fn a_long_literal_is_found_by_a_part_of_it(literal in "[abX_]{17,60}", front in "[abX_]{0,40}") {
            let long = caseless(&literal);
            prop_assert_eq!(long.len(), MAX_BYTES);
            let text = format!("{front}{}", literal.to_ascii_lowercase());
            let found = long.find(text.as_bytes());
            prop_assert!(found.is_some_and(|at| at + MAX_BYTES <= text.len()));
            let found = long.find(&text.as_bytes()[front.len()..]);
            prop_assert!(found.is_some());
        }
    }

    #[test]
    fn the_rarest_byte_is_looked_for() {
        assert_eq!(caseless("tcp_xmit").rarest, 4);
        assert_eq!(Caseless::new(Vec::new()), None);
    }
}
