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

/// Conditions of a conjunction that are kept. A query reads the lists of ten.
const MAX_CONDITIONS: usize = 64;

/// What planning a query may spend, in strings made or looked up: some ten milliseconds. What is
/// left of its expressions then is taken to match anything.
pub(super) const MAX_STEPS: usize = 100_000;

/// The condition for a match of `hir`, which must not match across lines.
///
/// The work is linear in the size of the expression and ends when the steps are spent.
pub(super) fn required(hir: &Hir, steps: &mut usize) -> Plan {
    Planner { steps }.read(hir).condition()
}

/// What is known of the matches of a part.
#[derive(Clone)]
struct Part {
    /// Every match is one of `starts` as a whole (and `ends` says the same).
    exact: bool,
    /// Every match starts with one of these.
    starts: Strings,
    /// Every match ends with one of these.
    ends: Strings,
    /// Every match fulfils all of these.
    plans: Vec<Plan>,
}

impl Part {
    /// Could be anything.
    fn unknown() -> Self {
        let empty = Strings::from([Vec::new()]);
        Self {
            exact: false,
            starts: empty.clone(),
            ends: empty,
            plans: Vec::new(),
        }
    }

    /// The empty string.
    fn empty() -> Self {
        Self {
            exact: true,
            ..Self::unknown()
        }
    }

    /// All that is known, as a condition.
    fn condition(mut self) -> Plan {
        self.plans.extend([any(&self.starts), any(&self.ends)]);
        Plan::and(self.plans)
    }

    /// Adds a condition, if it is one.
    fn demand(&mut self, plan: Plan) {
        match plan {
            Plan::All => {}
            Plan::And(plans) => self.plans.extend(plans),
            other => self.plans.push(other),
        }
        if self.plans.len() > 2 * MAX_CONDITIONS {
            self.plans.sort_unstable();
            self.plans.dedup();
            // Those with the fewest alternatives say the most.
            self.plans.sort_by_key(Plan::size);
            self.plans.truncate(MAX_CONDITIONS);
        }
    }
}

/// Reads an expression bottom-up, while there are steps left.
struct Planner<'a> {
    steps: &'a mut usize,
}

impl Planner<'_> {
    /// Spends steps; `false` if there are too few.
    fn spend(&mut self, steps: usize) -> bool {
        let left = self.steps.checked_sub(steps);
        *self.steps = left.unwrap_or(0);
        left.is_some()
    }

    fn read(&mut self, hir: &Hir) -> Part {
        if !self.spend(1) {
            return Part::unknown();
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Part::empty(),
            HirKind::Literal(literal) => self.exactly(Strings::from([literal.0.to_vec()])),
            HirKind::Class(class) => {
                members(class).map_or_else(Part::unknown, |strings| self.exactly(strings))
            }
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(parts) => {
                let mut whole = Part::empty();
                for part in parts {
                    let part = self.read(part);
                    whole = self.then(whole, part);
                }
                whole
            }
            HirKind::Alternation(parts) => {
                let Some((first, rest)) = parts.split_first() else {
                    return Part::unknown();
                };
                let mut whole = self.read(first);
                for part in rest {
                    let part = self.read(part);
                    whole = self.or(whole, part);
                }
                whole
            }
            HirKind::Repetition(repetition) => self.repeated(repetition),
        }
    }

    fn exactly(&mut self, strings: Strings) -> Part {
        self.bounded(Part {
            exact: true,
            starts: strings.clone(),
            ends: strings,
            plans: Vec::new(),
        })
    }

    /// Shortens strings that are too many or too long; what is lost goes into the condition.
    fn bounded(&mut self, mut part: Part) -> Part {
        let is_large = |strings: &Strings| {
            strings.len() > MAX_STRINGS || strings.iter().any(|string| string.len() > MAX_BYTES)
        };
        if is_large(&part.starts) || is_large(&part.ends) {
            let bytes = |strings: &Strings| strings.iter().map(Vec::len).sum::<usize>();
            if !self.spend(bytes(&part.starts) + bytes(&part.ends)) {
                return Part {
                    plans: part.plans,
                    ..Part::unknown()
                };
            }
            part.demand(any(&part.starts));
            if !part.exact {
                part.demand(any(&part.ends));
            }
            part.exact = false;
            part.starts = shorten(&part.starts, |string, bytes| &string[..bytes]);
            part.ends = shorten(&part.ends, |string, bytes| &string[string.len() - bytes..]);
        }
        part
    }

    /// One part and the other behind it.
    fn then(&mut self, mut front: Part, mut back: Part) -> Part {
        let pairs = front.ends.len() * back.starts.len()
            + front.starts.len() * back.starts.len()
            + front.ends.len() * back.ends.len();
        if !self.spend(pairs) {
            front.plans.append(&mut back.plans);
            return Part {
                plans: front.plans,
                ..Part::unknown()
            };
        }
        let mut whole = if front.exact && back.exact {
            let both = cross(&front.starts, &back.starts);
            Part {
                exact: true,
                starts: both.clone(),
                ends: both,
                plans: front.plans,
            }
        } else {
            let seam = any(&cross(&front.ends, &back.starts));
            let starts = if front.exact {
                cross(&front.starts, &back.starts)
            } else {
                front.starts
            };
            let ends = if back.exact {
                cross(&front.ends, &back.ends)
            } else {
                back.ends
            };
            let mut whole = Part {
                exact: false,
                starts,
                ends,
                plans: front.plans,
            };
            whole.demand(seam);
            whole
        };
        for plan in back.plans {
            whole.demand(plan);
        }
        self.bounded(whole)
    }

    /// One part or the other.
    fn or(&mut self, one: Part, other: Part) -> Part {
        let bytes = |part: &Part| -> usize {
            let strings = part.starts.iter().chain(&part.ends);
            strings.map(Vec::len).sum::<usize>() + part.plans.len()
        };
        if !self.spend(bytes(&one) + bytes(&other)) {
            return Part::unknown();
        }
        let exact = one.exact && other.exact;
        let union = |a: &Strings, b: &Strings| a.union(b).cloned().collect::<Strings>();
        let starts = union(&one.starts, &other.starts);
        let ends = union(&one.ends, &other.ends);
        let mut whole = Part {
            exact,
            starts,
            ends,
            plans: Vec::new(),
        };
        if !(exact && one.plans.is_empty() && other.plans.is_empty()) {
            whole.demand(Plan::or([one.condition(), other.condition()]));
        }
        self.bounded(whole)
    }

    fn repeated(&mut self, repetition: &Repetition) -> Part {
        let Repetition {
            min, max, ref sub, ..
        } = *repetition;
        if min == 0 && max != Some(1) {
            return Part::unknown();
        }
        let once = self.read(sub);
        if min == 0 {
            return self.or(Part::empty(), once);
        }
        let copies = min.min(MAX_COPIES);
        let mut several = once.clone();
        for _ in 1..copies {
            // The conditions of a copy are those of the first.
            let copy = Part {
                plans: Vec::new(),
                ..once.clone()
            };
            several = self.then(several, copy);
        }
        if max == Some(copies) {
            return several;
        }
        // More copies follow, of which the last ends like one.
        let lost = [any(&several.starts), any(&several.ends)];
        let mut whole = Part {
            exact: false,
            starts: several.starts,
            ends: once.ends,
            plans: several.plans,
        };
        for plan in lost {
            whole.demand(plan);
        }
        whole
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
        let mut steps = MAX_STEPS;
        required(&regex_syntax::parse(expression).unwrap(), &mut steps)
    }

    fn fulfils(text: &str, plan: &Plan) -> bool {
        crate::checks::holds(plan, text.as_bytes())
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

    /// Each used to double the work: 40 levels were for ever.
    #[test]
    fn nested_repetitions_are_planned_in_linear_time() {
        for depth in [22, 40, 100] {
            let expression = format!("{}abc{}", "(?:".repeat(depth), ")+".repeat(depth));
            assert!(fulfils("xabcx", &plan(&expression)));
            assert!(!fulfils("xabx", &plan(&expression)));
        }
    }

    #[test]
    fn long_expressions_spend_no_more_than_their_steps() {
        let letters: String = (0..16_000_u32)
            .map(|at| char::from(b'a' + (at * at % 26) as u8))
            .collect();
        let folded = plan(&format!("(?i){letters}"));
        assert!(folded.prunes());
        assert!(folded.size() <= MAX_STEPS);
        assert!(plan(&letters).prunes());
    }

    #[test]
    fn ignoring_case_still_prunes() {
        let folded = plan("(?i)mutex_lock");
        assert!(folded.prunes());
        assert!(fulfils("a Mutex_LOCK b", &folded));
        assert!(!fulfils("mutex_unlock", &folded));
    }
}
