//! Finding the few lines that an expression has to be run on.
//!
//! Running an automaton looks at every byte. Most expressions need something that is found much
//! faster: a literal somewhere inside, for which there are vector instructions, one in either case
//! ([`Caseless`]), or a long run of
//! bytes of a class (`[a-z]{30,}`), of which every n-th byte has to be looked at only. What a
//! prefilter finds is a place in a line that may match; the expression decides. Which part of an
//! expression is best is estimated from how frequent bytes are in source code.

use memchr::memmem::Finder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

use super::caseless::Caseless;

/// What an automaton costs for each byte of text, in nanoseconds. All costs here are rough.
const AUTOMATON_NS: f64 = 1.0;

/// What looking for a literal costs for each byte, and what it costs to stop at a byte of it.
const LITERAL_NS: f64 = 0.08;
const STOP_NS: f64 = 3.0;

/// What looking at one byte of a run costs.
const STEP_NS: f64 = 1.0;

/// What it costs to run the expression on the line of a place.
const LINE_NS: f64 = 100.0;

/// By how much less likely a literal is with each byte that it is longer.
const NEXT_BYTE: f64 = 0.15;

/// Looks for places that may be part of a match.
#[derive(Clone, Debug)]
pub(super) enum Prefilter {
    /// Every match contains this.
    Literal(Box<Finder<'static>>),
    /// Every match contains this in some mixture of cases.
    Caseless(Caseless),
    /// Every match contains so many bytes in a row that are all of the set.
    Run { set: Box<ByteSet>, bytes: usize },
}

impl Prefilter {
    /// The best one for an expression that matches within a line, if any is worth it.
    pub(super) fn new(hir: &Hir) -> Option<Self> {
        let cost = |part: &Part| (part.cost(), part.clone());
        let parts = parts(hir);
        let costs = parts.iter().map(cost);
        let (cost, best) = costs.min_by(|(one, _), (other, _)| one.total_cmp(other))?;
        (cost < AUTOMATON_NS).then(|| best.into())
    }

    /// The first place in `text` that may be in a match. Every match in `text` has such a place in
    /// it, or in front of it.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Literal(finder) => finder.find(text),
            Self::Caseless(literal) => literal.find(text),
            Self::Run { set, bytes } => {
                let mut start = 0;
                while let Some(window) = text.get(start..start + bytes) {
                    // The last byte that is not of the set ends all runs in front of it.
                    match window.iter().rposition(|byte| !set.contains(*byte)) {
                        Some(other) => start += other + 1,
                        None => return Some(start),
                    }
                }
                None
            }
        }
    }
}

/// Something that every match contains.
#[derive(Clone)]
enum Part {
    Literal(Vec<u8>),
    Caseless(Caseless),
    Run(Box<ByteSet>, usize),
}

impl From<Part> for Prefilter {
    fn from(part: Part) -> Self {
        match part {
            Part::Literal(literal) => Self::Literal(Box::new(Finder::new(&literal).into_owned())),
            Part::Caseless(literal) => Self::Caseless(literal),
            Part::Run(set, bytes) => Self::Run { set, bytes },
        }
    }
}

impl Part {
    /// What looking for it costs for each byte of text, with the lines that it leads to.
    fn cost(&self) -> f64 {
        match self {
            Self::Literal(literal) => {
                let shares = literal.iter().map(|byte| share(*byte));
                literal_cost(shares.fold(1.0, f64::min), literal.len())
            }
            Self::Caseless(literal) => literal_cost(literal.rarest_share(), literal.len()),
            Self::Run(set, bytes) => {
                let bytes = *bytes as f64;
                let sum = |bytes: &dyn Fn(u8) -> bool| -> f64 {
                    (0..=u8::MAX).filter(|byte| bytes(*byte)).map(share).sum()
                };
                let share = sum(&|byte| set.contains(byte)) / sum(&|_| true);
                // Bytes of a kind come together, so the first other one is farther than by chance.
                let looked_at = (1.0 / (1.0 - share).max(1e-3)).min(bytes);
                let places = 3.0 * share.powf(bytes);
                STEP_NS * (looked_at + 1.0) / (bytes - looked_at + 1.0) + places * LINE_NS
            }
        }
    }
}

/// What looking for a literal costs, by the share of its rarest byte.
fn literal_cost(rarest: f64, bytes: usize) -> f64 {
    let places = rarest * NEXT_BYTE.powi(bytes as i32 - 1);
    LITERAL_NS + rarest * STOP_NS + places * LINE_NS
}

/// All parts that every match contains.
fn parts(hir: &Hir) -> Vec<Part> {
    let mut parts = Vec::new();
    collect(hir, true, &mut parts);
    parts
}

/// The bytes that matches of `hir` can have. Adds what every match contains if `is_needed` says that
/// one of `hir` is in all of them.
fn collect(hir: &Hir, is_needed: bool, parts: &mut Vec<Part>) -> ByteSet {
    let mut set = ByteSet::default();
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => {
            literal.0.iter().for_each(|byte| set.add(*byte..=*byte));
            if is_needed {
                parts.push(Part::Literal(literal.0.to_vec()));
            }
        }
        HirKind::Class(Class::Bytes(class)) => {
            let ranges = class.ranges().iter();
            ranges.for_each(|range| set.add(range.start()..=range.end()));
        }
        HirKind::Class(Class::Unicode(class)) => {
            for range in class.ranges() {
                // Whatever is beyond ASCII is of these bytes.
                if !range.end().is_ascii() {
                    set.add(0x80..=0xff);
                }
                if range.start().is_ascii() {
                    let end = if range.end().is_ascii() {
                        range.end()
                    } else {
                        '\x7f'
                    };
                    set.add(range.start() as u8..=end as u8);
                }
            }
        }
        HirKind::Repetition(repetition) => {
            let is_needed = is_needed && repetition.min > 0;
            set = collect(&repetition.sub, is_needed, parts);
        }
        HirKind::Capture(capture) => set = collect(&capture.sub, is_needed, parts),
        HirKind::Concat(of) => {
            for part in of {
                set.join(&collect(part, is_needed, parts));
            }
            if is_needed {
                let literals =
                    of.chunk_by(|one, next| forms(one).is_some() && forms(next).is_some());
                let literals = literals.filter_map(|run| run.iter().map(forms).collect());
                let literals = literals.filter_map(|forms: Vec<_>| Caseless::new(forms.concat()));
                parts.extend(literals.map(Part::Caseless));
            }
        }
        HirKind::Alternation(of) => {
            for part in of {
                set.join(&collect(part, false, parts));
            }
        }
    }
    let bytes = hir.properties().minimum_len().unwrap_or(0);
    if is_needed && bytes > 1 {
        parts.push(Part::Run(Box::new(set.clone()), bytes));
    }
    set
}

/// The forms of each byte of `hir`, if it is a literal or one letter in both cases.
fn forms(hir: &Hir) -> Option<Vec<[u8; 2]>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.iter().map(|&byte| [byte, byte]).collect()),
        HirKind::Class(Class::Unicode(class)) => Some(vec![both(class)?]),
        _ => None,
    }
}

/// The two bytes of a class, if that is what it has: `k` and `s` have a third form beyond ASCII.
fn both(class: &ClassUnicode) -> Option<[u8; 2]> {
    let [one, other] = class.ranges() else {
        return None;
    };
    let single = |range: &ClassUnicodeRange| {
        let is_single = range.start() == range.end() && range.start().is_ascii();
        is_single.then_some(range.start() as u8)
    };
    Some([single(one)?, single(other)?])
}

/// A set of bytes.
#[derive(Clone, Debug)]
pub(super) struct ByteSet([bool; 256]);

impl Default for ByteSet {
    fn default() -> Self {
        Self([false; 256])
    }
}

impl ByteSet {
    fn add(&mut self, bytes: std::ops::RangeInclusive<u8>) {
        for byte in bytes {
            self.0[usize::from(byte)] = true;
        }
    }

    fn join(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own |= other;
        }
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

/// About which share of source code a byte is.
pub(super) fn share(byte: u8) -> f64 {
    match byte {
        b' ' | b'\t' => 0.09,
        b'e' | b't' => 0.05,
        b'a' | b'c' | b'd' | b'f' | b'i' | b'l' | b'n' | b'o' | b'p' | b'r' | b's' | b'u'
        | b'_' => 0.03,
        b'\n' => 0.045,
        b'a'..=b'z' | b',' | b';' | b'(' | b')' | b'*' | b'-' | b'>' => 0.013,
        b'0' => 0.02,
        b'/' | b'.' | b'=' => 0.009,
        b'1'..=b'9' => 0.007,
        b'A'..=b'Z' | b'{' | b'}' | b'"' | b':' | b'#' | b'&' | b'<' | b'[' | b']' => 0.005,
        0x21..=0x7e => 0.001,
        _ => 0.0002,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::meta;

    use super::*;
    use crate::search::line::within_line;

    fn hir(expression: &str) -> Hir {
        within_line(regex_syntax::parse(expression).unwrap())
    }

    #[test]
    fn the_best_part_is_what_is_rare() {
        let describe = |expression: &str| match Prefilter::new(&hir(expression)) {
            None => "none".to_owned(),
            Some(Prefilter::Literal(finder)) => {
                String::from_utf8_lossy(finder.needle()).into_owned()
            }
            Some(Prefilter::Caseless(literal)) => format!("{} letters", literal.len()),
            Some(Prefilter::Run { bytes, .. }) => format!("{bytes} bytes"),
        };
        for (expression, expected) in [
            (r"static\s+int\s+\w+_probe\(", "_probe("),
            (r"(mutex|spin)_(lock|unlock)_irq", "_irq"),
            (r"[a-z]{30,}", "30 bytes"),
            (r"\b0x[0-9a-f]{16}\b", "18 bytes"),
            (r"([0-9a-f]{2}:){5}", "15 bytes"),
            (r"\w+\s*\?\s*\w+", "?"),
            (r"^.{200,}$", "200 bytes"),
            (r"(?i)container", "9 letters"),
            (r"(?i)task_struct", "5 letters"),
            (r"(?i:get)_\w+", "4 letters"),
            (r"a|bcdefgh", "none"),
            (r"(abcdefgh)?", "none"),
            (r"\w+\s\w+", "none"),
            (r"e", "none"),
            (r"\n", "none"),
            ("", "none"),
        ] {
            assert_eq!(describe(expression), expected, "{expression}");
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "a",
            "ab",
            "[ab]",
            "[a-z]{2}",
            "[0-9]",
            ".",
            "\\w",
            "[^a]",
            "\u{e9}",
            "[\u{e9}-\u{ff}]",
            "\\b",
            "^",
            "$",
            "\\s",
            "(?i)k",
            "(?i:ab1)",
            "(?i:Z)",
            "(?-u:\\w)",
            "\\n",
            "",
        ]);
        leaf.prop_map(str::to_owned)
            .prop_recursive(4, 16, 4, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
                    prop::collection::vec(inner.clone(), 1..3)
                        .prop_map(|parts| format!("({})", parts.join("|"))),
                    (
                        inner,
                        prop::sample::select(vec!["*", "+", "?", "{2}", "{3,5}", "{0}"])
                    )
                        .prop_map(|(part, times)| format!("({part}){times}")),
                ]
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// Whichever part is looked for, no match is missed.
        #[test]
        fn every_match_has_every_part(expression in expression(), text in "[abkzABZ01 \u{e9}\u{212a}]{0,24}") {
            let hir = hir(&expression);
            let regex = meta::Builder::new().build_from_hir(&hir).unwrap();
            for found in regex.find_iter(&text) {
                for part in parts(&hir) {
                    let prefilter = Prefilter::from(part);
                    let within = prefilter.find(&text.as_bytes()[found.range()]);
                    prop_assert!(within.is_some(), "{:?} in {:?}: {:?}", expression, text, prefilter);
                }
            }
        }
    }
}
