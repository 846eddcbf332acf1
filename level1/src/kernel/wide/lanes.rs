//! The rounds of both hash functions for the lanes of a vector, written out for one instruction
//! set by a macro, as in [`super::super::lanes`].

/// Defines `wide_sha1(rows, column, hits)` and `wide_sha256`, in `$groups` independent vectors at a
/// time. It expects in scope what `lane_scanner!` does, and `rotate_right::<N, M>` with `M` = 32 −
/// `N`.
macro_rules! wide_scanner {
    ($(#[$attribute:meta])* groups = $groups:literal) => {
        $(#[$attribute])*
        fn wide_sha1(
            rows: &$crate::kernel::wide::WideRows,
            column: &$crate::kernel::wide::WideColumn<'_>,
            hits: &mut Vec<u32>,
        ) {
            use $crate::kernel::lanes::{CHUNK_ROWS, five_rounds, push_passed};
            const GROUPS: usize = $groups;
            macro_rules! fives {
                ($f:ident, $rounds:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident) => {
                    for keyed in $rounds.as_chunks::<5>().0 {
                        five_rounds!($f, keyed, $a, $b, $c, $d, $e);
                    }
                };
            }
            let nonce = spread(&column.nonce.0);
            let suffix: Vec<_> = column.suffix.iter().map(|rounds| spread(&rounds.0)).collect();
            let base = splat(column.base.wrapping_neg());
            let span = splat(column.span);
            for (index, chunk) in rows.chunks.iter().enumerate() {
                for lane in (0..CHUNK_ROWS).step_by(WIDTH * GROUPS) {
                    let mut state = [[splat(0); GROUPS]; 5];
                    let [mut a, mut b, mut c, mut d, mut e] = state;
                    for g in 0..GROUPS {
                        let at = lane + g * WIDTH;
                        for (word, state) in state.iter_mut().enumerate() {
                            state[g] = load(&chunk.midstate[word], at);
                        }
                        a[g] = load(&chunk.before[0], at);
                        b[g] = load(&chunk.before[1], at);
                        c[g] = load(&chunk.before[2], at);
                        d[g] = load(&chunk.before[3], at);
                        e[g] = load(&chunk.before[4], at);
                    }
                    let mut rounds = &nonce;
                    let mut first = &rounds[10..20];
                    let mut suffix = suffix.iter();
                    let words = loop {
                        fives!(choose, first, a, b, c, d, e);
                        fives!(parity, rounds[20..40], a, b, c, d, e);
                        fives!(majority, rounds[40..60], a, b, c, d, e);
                        fives!(parity, rounds[60..80], a, b, c, d, e);
                        let Some(next) = suffix.next() else {
                            let mut words = a;
                            for g in 0..GROUPS {
                                words[g] = add(a[g], state[0][g]);
                            }
                            break words;
                        };
                        for g in 0..GROUPS {
                            a[g] = add(a[g], state[0][g]);
                            b[g] = add(b[g], state[1][g]);
                            c[g] = add(c[g], state[2][g]);
                            d[g] = add(d[g], state[3][g]);
                            e[g] = add(e[g], state[4][g]);
                        }
                        state = [a, b, c, d, e];
                        rounds = next;
                        first = &rounds[..20];
                    };
                    for (g, &word) in words.iter().enumerate() {
                        let at = lane + g * WIDTH;
                        push_passed(at_most(add(word, base), span), index * CHUNK_ROWS + at, hits);
                    }
                }
            }
        }

        $(#[$attribute])*
        fn wide_sha256(
            rows: &$crate::kernel::wide::WideRows,
            column: &$crate::kernel::wide::WideColumn<'_>,
            hits: &mut Vec<u32>,
        ) {
            use $crate::kernel::lanes::{CHUNK_ROWS, push_passed};
            const GROUPS: usize = if $groups > 2 { 2 } else { $groups };
            macro_rules! round_256 {
                ($keyed:expr, $a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident) => {
                    let keyed = splat($keyed);
                    for i in 0..GROUPS {
                        let (a, e) = ($a[i], $e[i]);
                        let big_1 = parity(
                            rotate_right::<6, 26>(e),
                            rotate_right::<11, 21>(e),
                            rotate_right::<25, 7>(e),
                        );
                        let big_0 = parity(
                            rotate_right::<2, 30>(a),
                            rotate_right::<13, 19>(a),
                            rotate_right::<22, 10>(a),
                        );
                        let first = add(
                            add($h[i], keyed),
                            add(big_1, choose(e, $f[i], $g[i])),
                        );
                        $d[i] = add($d[i], first);
                        $h[i] = add(first, add(big_0, majority(a, $b[i], $c[i])));
                    }
                };
            }
            let base = splat(column.base.wrapping_neg());
            let span = splat(column.span);
            for (index, chunk) in rows.chunks.iter().enumerate() {
                for lane in (0..CHUNK_ROWS).step_by(WIDTH * GROUPS) {
                    let mut state = [[splat(0); GROUPS]; 8];
                    let mut before = state;
                    for i in 0..GROUPS {
                        let at = lane + i * WIDTH;
                        for word in 0..8 {
                            state[word][i] = load(&chunk.midstate[word], at);
                            before[word][i] = load(&chunk.before[word], at);
                        }
                    }
                    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = before;
                    let mut rounds = &column.nonce.0[8..64];
                    let mut suffix = column.suffix.iter();
                    loop {
                        // Eight rounds bring every name back to its place.
                        for keyed in rounds.as_chunks::<8>().0 {
                            round_256!(keyed[0], a, b, c, d, e, f, g, h);
                            round_256!(keyed[1], h, a, b, c, d, e, f, g);
                            round_256!(keyed[2], g, h, a, b, c, d, e, f);
                            round_256!(keyed[3], f, g, h, a, b, c, d, e);
                            round_256!(keyed[4], e, f, g, h, a, b, c, d);
                            round_256!(keyed[5], d, e, f, g, h, a, b, c);
                            round_256!(keyed[6], c, d, e, f, g, h, a, b);
                            round_256!(keyed[7], b, c, d, e, f, g, h, a);
                        }
                        for i in 0..GROUPS {
                            a[i] = add(a[i], state[0][i]);
                            b[i] = add(b[i], state[1][i]);
                            c[i] = add(c[i], state[2][i]);
                            d[i] = add(d[i], state[3][i]);
                            e[i] = add(e[i], state[4][i]);
                            f[i] = add(f[i], state[5][i]);
                            g[i] = add(g[i], state[6][i]);
                            h[i] = add(h[i], state[7][i]);
                        }
                        let Some(next) = suffix.next() else { break };
                        state = [a, b, c, d, e, f, g, h];
                        rounds = &next.0[..64];
                    }
                    for (i, &word) in a.iter().enumerate() {
                        let at = lane + i * WIDTH;
                        push_passed(at_most(add(word, base), span), index * CHUNK_ROWS + at, hits);
                    }
                }
            }
        }
    };
}
pub(in super::super) use wide_scanner;
