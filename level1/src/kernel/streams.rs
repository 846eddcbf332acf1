//! Two-level hashing with instructions that do four rounds of SHA-1 for one row.
//!
//! Such an instruction's result comes several times later than the next one can start, so that
//! many independent rows (*streams*) are in flight. As the schedule is computed once a column,
//! nothing but the instructions themselves is left for each of the last 17 groups of four rounds.
//! x86-64 and aarch64 differ in what the instructions are called, in the order of words in a
//! register, and in who adds the round's constant; `stream_scanner!` writes the rest for both.

use super::rows::Row;

/// A row as the instructions take it: registers, ready to be loaded.
#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
pub(super) struct PackedRow {
    /// The variables a … d before round 12.
    pub abcd: [u32; 4],
    /// The variable e of round 12, with W12, where a is in `abcd`.
    pub e: [u32; 4],
    /// See [`Row::filter_offset`]; where a is.
    pub filter_offset: [u32; 4],
}

impl PackedRow {
    /// `register` puts words into the order of a register.
    pub fn new(row: &Row, last_block: &[u32; 16], register: fn([u32; 4]) -> [u32; 4]) -> Self {
        let [a, b, c, d, e] = row.before_12;
        Self {
            abcd: register([a, b, c, d]),
            e: register([e.wrapping_add(last_block[12]), 0, 0, 0]),
            filter_offset: register([row.filter_offset, 0, 0, 0]),
        }
    }
}

/// Packs rows for so many streams. What is left over in the last group is zero.
pub(super) fn pack<const STREAMS: usize>(
    packed: &mut Vec<[PackedRow; STREAMS]>,
    rows: &[Row],
    last_block: &[u32; 16],
    register: fn([u32; 4]) -> [u32; 4],
) {
    packed.clear();
    for rows in rows.chunks(STREAMS) {
        let mut group = [PackedRow::default(); STREAMS];
        for (packed, row) in group.iter_mut().zip(rows) {
            *packed = PackedRow::new(row, last_block, register);
        }
        packed.push(group);
    }
}

/// Defines `scan_column(rows, column, span, hits)` and `wide_sha1(rows, column, hits)`.
///
/// It expects in scope `STREAMS` and `WIDE_STREAMS`, rows in flight, and the functions
/// - `register`, as [`PackedRow::new`] takes it, and `load` of words that are in that order,
/// - `message(word, key)`, a word with the round's constant as the instructions want it,
/// - `first(abcd, e, message)`, the first four rounds of a block, with e where a is in `abcd`,
/// - `four::<F>(abcd, earlier, message)`, four rounds with function `F`, whose e is the a of the
///   state `earlier`, four rounds before, rotated,
/// - `add` and `min` (of unsigned words), and `a_of`, the variable a of a state.
macro_rules! stream_scanner {
    ($(#[$attribute:meta])*) => {
        $(#[$attribute])*
        fn scan_column(
            rows: &[[PackedRow; STREAMS]],
            column: &Column,
            span: u32,
            hits: &mut Vec<u32>,
        ) {
            let group = |words: [u32; 4], key: u32| load(&register(words.map(|w| message(w, key))));
            let keyed = |word: u32| word.wrapping_add(K[0]);
            let [w13, w14, w15] = [column.block[13], column.block[14], column.block[15]];
            let group_12 = group([keyed(0), keyed(w13), keyed(w14), keyed(w15)], K[0]);
            let mut groups = [group_12; 16];
            for (number, words) in (4..).zip(column.keyed.as_chunks::<4>().0) {
                groups[number - 4] = group(*words, K[number / 5]);
            }

            for (index, rows) in rows.iter().enumerate() {
                let mut abcd = [group_12; STREAMS];
                let mut earlier = abcd;
                for s in 0..STREAMS {
                    earlier[s] = load(&rows[s].abcd);
                    abcd[s] = first(earlier[s], load(&rows[s].e), group_12);
                }
                macro_rules! four_rounds {
                    ($function:literal, $groups:expr) => {
                        for group in $groups {
                            for s in 0..STREAMS {
                                let before = abcd[s];
                                abcd[s] = four::<$function>(before, earlier[s], *group);
                                earlier[s] = before;
                            }
                        }
                    };
                }
                four_rounds!(0, &groups[..1]);
                four_rounds!(1, &groups[1..6]);
                four_rounds!(2, &groups[6..11]);
                four_rounds!(3, &groups[11..]);
                // One comparison for all streams; only a candidate costs more.
                let word = |s: usize| add(abcd[s], load(&rows[s].filter_offset));
                let mut least = word(0);
                for s in 1..STREAMS {
                    least = min(least, word(s));
                }
                if a_of(least) > span {
                    continue;
                }
                for s in 0..STREAMS {
                    if a_of(word(s)) <= span {
                        hits.push((index * STREAMS + s) as u32);
                    }
                }
            }
        }

        $(#[$attribute])*
        fn wide_sha1(rows: &WideRows, column: &WideColumn<'_>, hits: &mut Vec<u32>) {
            let groups = |rounds: &Rounds| {
                let words = rounds.0.as_chunks::<4>().0;
                std::array::from_fn::<_, 20, _>(|group| {
                    let key = K[group / 5];
                    load(&register(words[group].map(|word| message(word, key))))
                })
            };
            let nonce = groups(&column.nonce);
            let suffix: Vec<_> = column.suffix.iter().map(groups).collect();
            for (index, rows) in rows.rows.chunks(WIDE_STREAMS).enumerate() {
                let row = |s: usize| &rows[s.min(rows.len() - 1)];
                let abcd_of = |state: &State| load(&register([state[0], state[1], state[2], state[3]]));
                let e_of = |e: u32| load(&register([e, 0, 0, 0]));
                let mut state: [_; WIDE_STREAMS] =
                    std::array::from_fn(|s| abcd_of(&row(s).midstate));
                let mut state_e: [u32; WIDE_STREAMS] = std::array::from_fn(|s| row(s).midstate[4]);
                let mut abcd: [_; WIDE_STREAMS] = std::array::from_fn(|s| abcd_of(&row(s).before));
                let mut e: [_; WIDE_STREAMS] = std::array::from_fn(|s| e_of(row(s).before[4]));
                let (mut block, mut at, mut left) = (&nonce, 2, suffix.iter());
                loop {
                    let mut earlier = abcd;
                    for s in 0..WIDE_STREAMS {
                        abcd[s] = first(abcd[s], e[s], block[at]);
                    }
                    macro_rules! four_rounds {
                        ($function:literal, $groups:expr) => {
                            for group in $groups {
                                for s in 0..WIDE_STREAMS {
                                    let before = abcd[s];
                                    abcd[s] = four::<$function>(before, earlier[s], *group);
                                    earlier[s] = before;
                                }
                            }
                        };
                    }
                    four_rounds!(0, &block[at + 1..5]);
                    four_rounds!(1, &block[5..10]);
                    four_rounds!(2, &block[10..15]);
                    four_rounds!(3, &block[15..]);
                    for s in 0..WIDE_STREAMS {
                        // The last e is an a of four rounds before, rotated.
                        let last_e = a_of(earlier[s]).rotate_left(30);
                        abcd[s] = add(abcd[s], state[s]);
                        state[s] = abcd[s];
                        state_e[s] = state_e[s].wrapping_add(last_e);
                        e[s] = e_of(state_e[s]);
                    }
                    let Some(next) = left.next() else { break };
                    (block, at) = (next, 0);
                }
                for (s, abcd) in abcd.iter().enumerate().take(rows.len()) {
                    if a_of(*abcd).wrapping_sub(column.base) <= column.span {
                        hits.push((index * WIDE_STREAMS + s) as u32);
                    }
                }
            }
        }
    };
}
pub(super) use stream_scanner;
