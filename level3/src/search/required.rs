//! The grams that every match of an expression must contain.
//!
//! The expression is read bottom-up, as Russ Cox describes for Google Code Search ("Regular
//! Expression Matching with a Trigram Index", 2012). For each part we keep either the few strings
//! that it can match, or strings one of which starts, and one of which ends, each of its matches,
//! beside a condition that its matches fulfil. Joining two parts joins the strings at the seam,
//! which yields grams that neither part has alone.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

use super::plan::Plan;

/// The strings one of which occurs; sorted, so that equal plans compare equal.
type Strings = BTreeSet<Vec<u8>>;

/// More strings than this are shortened: reading posting lists for each would cost too much.
const MAX_STRINGS: usize = 32;

/// Longer strings are shortened at the far end: their grams are in the condition by then.
const MAX_BYTES: usize = 16;

/// A class with more characters than this is taken to match anything.
const MAX_CLASS: usize = 16;

/// Copies of a repeated part that are looked at. Each copy beyond the first adds only the seam.
const MAX_COPIES: u32 = 4;

/// The condition for a match of `hir`, which must not match across lines.
pub fn required(hir: &Hir) -> Plan {
    read(hir).condition()
}

/// What is known of the matches of a part.
struct Part {
    /// Every match is one of `starts` as a whole (and `ends` says the same).
    exact: bool,
    /// Every match starts with one of these.
    starts: Strings,
    /// Every match ends with one of these.
    ends: Strings,
    /// Every match fulfils this.
    plan: Plan,
}

impl Part {
    fn exactly(strings: Strings) -> Self {
        Self {
            exact: true,
            starts: strings.clone(),
            ends: strings,
            plan: Plan::All,
        }
        .bounded()
    }

    /// Could be anything.
    fn unknown() -> Self {
        let empty = Strings::from([Vec::new()]);
        Self {
            exact: false,
            starts: empty.clone(),
            ends: empty,
            plan: Plan::All,
        }
    }

    /// All that is known, as a condition.
    fn condition(self) -> Plan {
        Plan::and([self.plan, any(&self.starts), any(&self.ends)])
    }

    /// Shortens strings that are too many or too long; what is lost goes into the condition.
    fn bounded(mut self) -> Self {
        let large = |strings: &Strings| {
            strings.len() > MAX_STRINGS || strings.iter().any(|string| string.len() > MAX_BYTES)
        };
        if large(&self.starts) || large(&self.ends) {
            self.plan = Plan::and([self.plan, any(&self.starts), any(&self.ends)]);
            self.exact = false;
            self.starts = shorten(&self.starts, |string, bytes| &string[..bytes]);
            self.ends = shorten(&self.ends, |string, bytes| &string[string.len() - bytes..]);
        }
        self
    }

    fn then(self, next: Self) -> Self {
        if self.exact && next.exact {
            return Self {
                plan: Plan::and([self.plan, next.plan]),
                ..Self::joined(&self.starts, &next.starts)
            }
            .bounded();
        }
        let seam = any(&cross(&self.ends, &next.starts));
        let starts = if self.exact {
            cross(&self.starts, &next.starts)
        } else {
            self.starts
        };
        let ends = if next.exact {
            cross(&self.ends, &next.ends)
        } else {
            next.ends
        };
        let plan = Plan::and([self.plan, next.plan, seam]);
        Self {
            exact: false,
            starts,
            ends,
            plan,
        }
        .bounded()
    }

    fn joined(left: &Strings, right: &Strings) -> Self {
        let both = cross(left, right);
        Self {
            exact: true,
            starts: both.clone(),
            ends: both,
            plan: Plan::All,
        }
    }

    fn or(self, other: Self) -> Self {
        let exact = self.exact && other.exact;
        let union = |a: &Strings, b: &Strings| a.union(b).cloned().collect::<Strings>();
        let (starts, ends) = (
            union(&self.starts, &other.starts),
            union(&self.ends, &other.ends),
        );
        let plan = if exact {
            Plan::All
        } else {
            Plan::or([self.condition(), other.condition()])
        };
        Self {
            exact,
            starts,
            ends,
            plan,
        }
        .bounded()
    }
}

fn read(hir: &Hir) -> Part {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Part::exactly(Strings::from([Vec::new()])),
        HirKind::Literal(literal) => Part::exactly(Strings::from([literal.0.to_vec()])),
        HirKind::Class(class) => members(class).map_or_else(Part::unknown, Part::exactly),
        HirKind::Capture(capture) => read(&capture.sub),
        HirKind::Concat(parts) => {
            let empty = Part::exactly(Strings::from([Vec::new()]));
            parts.iter().map(read).fold(empty, Part::then)
        }
        HirKind::Alternation(parts) => parts
            .iter()
            .map(read)
            .reduce(Part::or)
            .unwrap_or_else(Part::unknown),
        HirKind::Repetition(repetition) => repeated(repetition),
    }
}

fn repeated(repetition: &Repetition) -> Part {
    let Repetition {
        min, max, ref sub, ..
    } = *repetition;
    if min == 0 {
        let empty = Part::exactly(Strings::from([Vec::new()]));
        return if max == Some(1) {
            empty.or(read(sub))
        } else {
            Part::unknown()
        };
    }
    let copies = min.min(MAX_COPIES);
    let once = (1..copies).map(|_| read(sub)).fold(read(sub), Part::then);
    if max == Some(copies) {
        return once;
    }
    // More copies follow, of which the last ends like one.
    let last = read(sub);
    let plan = Plan::and([once.plan, any(&once.starts), any(&once.ends)]);
    Part {
        exact: false,
        starts: once.starts,
        ends: last.ends,
        plan,
    }
}

/// The strings of a small class, or `None` for a large one.
fn members(class: &Class) -> Option<Strings> {
    match class {
        Class::Unicode(class) => {
            let count: usize = class
                .iter()
                .map(regex_syntax::hir::ClassUnicodeRange::len)
                .sum();
            (count <= MAX_CLASS).then(|| {
                let chars = class.iter().flat_map(|range| range.start()..=range.end());
                chars.map(|char| char.to_string().into_bytes()).collect()
            })
        }
        Class::Bytes(class) => {
            let count: usize = class
                .iter()
                .map(regex_syntax::hir::ClassBytesRange::len)
                .sum();
            (count <= MAX_CLASS).then(|| {
                let bytes = class.iter().flat_map(|range| range.start()..=range.end());
                bytes.map(|byte| vec![byte]).collect()
            })
        }
    }
}

/// The condition that one of the strings occurs.
fn any(strings: &Strings) -> Plan {
    Plan::or(strings.iter().map(|string| Plan::literal(string)))
}

/// Every string of `left` with every string of `right` behind it.
fn cross(left: &Strings, right: &Strings) -> Strings {
    let with = |front: &Vec<u8>| {
        let front = front.clone();
        right
            .iter()
            .map(move |back| [front.as_slice(), back].concat())
    };
    left.iter().flat_map(with).collect()
}

/// Cuts strings to the greatest length, at most three bytes, that leaves few enough of them.
fn shorten(strings: &Strings, cut: impl Fn(&[u8], usize) -> &[u8]) -> Strings {
    let cut_to = |most: usize| -> Strings {
        strings
            .iter()
            .map(|string| cut(string, string.len().min(most)).to_vec())
            .collect()
    };
    (0..=3)
        .rev()
        .map(cut_to)
        .find(|cut| cut.len() <= MAX_STRINGS)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(expression: &str) -> Plan {
        required(&regex_syntax::parse(expression).unwrap())
    }

    /// Whether a text fulfils a plan, looking at the text itself.
    fn fulfils(text: &str, plan: &Plan) -> bool {
        match plan {
            Plan::All => true,
            Plan::Nothing => false,
            Plan::Gram(gram) => (1..=3).any(|len| {
                text.as_bytes()
                    .windows(len)
                    .any(|w| crate::index::Gram::of(w) == Some(*gram))
            }),
            Plan::And(plans) => plans.iter().all(|plan| fulfils(text, plan)),
            Plan::Or(plans) => plans.iter().any(|plan| fulfils(text, plan)),
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[abc]{1,5}".boxed(),
            Just("[ab]".to_owned()).boxed(),
            Just(".".to_owned()).boxed(),
            Just("\\b".to_owned()).boxed(),
            Just("(?i:ks)".to_owned()).boxed(),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                (
                    inner,
                    prop_oneof![Just("*"), Just("+"), Just("?"), Just("{2,6}"), Just("{5}")]
                )
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_matches_fulfils_the_condition(expression in expression(), texts in prop::collection::vec("[abcksKS\u{17f}]{0,14}", 20)) {
            let regex = regex_automata::meta::Regex::new(&expression).unwrap();
            let plan = plan(&expression);
            for text in texts.iter().filter(|text| regex.is_match(text.as_str())) {
                prop_assert!(fulfils(text, &plan), "{} on {} gives {:?}", expression, text, plan);
            }
        }
    }

    #[test]
    fn literals_seams_and_alternatives_yield_grams() {
        assert_eq!(plan("hello"), Plan::literal(b"hello"));
        assert_eq!(
            plan("abc.*def"),
            Plan::and([Plan::literal(b"abc"), Plan::literal(b"def")])
        );
        assert_eq!(
            plan("ab(c|d)"),
            Plan::or([Plan::literal(b"abc"), Plan::literal(b"abd")])
        );
        assert_eq!(
            plan("a[bc]d"),
            Plan::or([Plan::literal(b"abd"), Plan::literal(b"acd")])
        );
        assert!(!fulfils("abx", &plan("x+ab")));
        assert!(!plan(".*").prunes());
        assert!(!plan("\\w+\\s").prunes());
    }

    #[test]
    fn ignoring_case_still_prunes() {
        let folded = plan("(?i)mutex_lock");
        assert!(folded.prunes());
        assert!(fulfils("a Mutex_LOCK b", &folded));
        assert!(!fulfils("mutex_unlock", &folded));
    }
}
