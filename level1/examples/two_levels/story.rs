//! The story of `docs/two-levels.md`: sixteen hashes, round by round, in the order in which a kernel computes them.
//!
//! The rounds are RFC 3174's, written out once more as plainly as they stand there. The library says only what the
//! commits are.

#![allow(dead_code, reason = "each of its users needs a part")]

use level1::{Commit, CommitTemplate, Nonce, ObjectId};

/// A commit of somebody's, without a nonce.
const TEXT: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904
author Ann <ann@example.com> 1390435200 +0000
committer Ann <ann@example.com> 1390435200 +0000

One more coin
";

/// What separates this miner from others. With this seed one of the sixteen ids begins with a zero.
const SEED: u64 = 2015;

/// Rows and columns that are tried.
pub const SIDE: usize = 4;

/// The first round whose word a column reaches: its digits stand in W13.
pub const REACHED: usize = 13;

/// SHA-1's five words.
pub type State = [u32; 5];

/// A block's eighty words.
pub type Schedule = [u32; 80];

/// What some work is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A block before the nonce: once for a search.
    Before,
    /// A row's block: once for a row.
    Row(usize),
    /// The rounds of the nonce block that no column reaches: once for a row.
    Carry(usize),
    /// A column's words: once for all rows.
    Schedule(usize),
    /// The rounds that are left: once for each hash.
    Hash { row: usize, column: usize },
}

/// A piece of the work.
#[derive(Clone, Debug)]
pub struct Piece {
    pub work: Work,
    /// The block that it is about, and its words.
    pub block: usize,
    pub words: Schedule,
    /// The round that it begins with.
    pub first: usize,
    /// The variables before each of its rounds and after the last; for a schedule none.
    pub states: Vec<State>,
    /// What is added to the last of them at the block's end, if the piece comes so far.
    pub added: Option<State>,
}

impl Piece {
    /// The state behind the block.
    pub fn end(&self) -> Option<State> {
        let (before, last) = (self.added?, self.states.last()?);
        Some(std::array::from_fn(|n| before[n].wrapping_add(last[n])))
    }
}

/// All of it.
pub struct Story {
    /// The object of the first row and column, with SHA-1's padding.
    pub padded: Vec<u8>,
    /// Bytes of the object.
    pub length: usize,
    /// The digits of each row and each column.
    pub row_digits: [String; SIDE],
    pub column_digits: [String; SIDE],
    pub pieces: Vec<Piece>,
    /// By row and column, as the library has it from the whole object.
    pub ids: [[ObjectId; SIDE]; SIDE],
}

/// Tells it.
pub fn tell() -> Story {
    let commit = Commit::parse(TEXT.as_bytes()).expect("it is a commit");
    let placement = commit.place(None).expect("it has a place for a nonce");
    let template = CommitTemplate::new(&placement, SEED);
    let nonce = |row: usize, column: usize| Nonce::at(row as u64, column as u32);
    let object = |row, column| {
        let content = template.commit(nonce(row, column));
        [format!("commit {}\0", content.len()).as_bytes(), &content].concat()
    };
    let padded = |row, column| pad(&object(row, column));
    let first = padded(0, 0);
    let last = first.len() / 64 - 1;
    let words = |row, column, block| expand(&padded(row, column), block);

    let mut pieces = Vec::new();
    let mut state = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in 0..last - 1 {
        state = whole(&mut pieces, Work::Before, block, &words(0, 0, block), state);
    }
    let midstates: [State; SIDE] = std::array::from_fn(|row| {
        let made = whole(
            &mut pieces,
            Work::Row(row),
            last - 1,
            &words(row, 0, last - 1),
            state,
        );
        let words = words(row, 0, last);
        pieces.push(part(Work::Carry(row), last, &words, 0..REACHED, made));
        made
    });
    let carried: Vec<State> = pieces
        .iter()
        .filter(|piece| matches!(piece.work, Work::Carry(_)))
        .filter_map(|piece| piece.states.last().copied())
        .collect();
    for column in 0..SIDE {
        let words = words(0, column, last);
        pieces.push(Piece {
            work: Work::Schedule(column),
            block: last,
            words,
            first: 16,
            states: Vec::new(),
            added: None,
        });
        for row in 0..SIDE {
            let work = Work::Hash { row, column };
            let mut piece = part(work, last, &words, REACHED..80, carried[row]);
            piece.added = Some(midstates[row]);
            pieces.push(piece);
        }
    }
    Story {
        length: object(0, 0).len(),
        row_digits: std::array::from_fn(|row| text(&padded(row, 0)[64 * last - 10..64 * last])),
        column_digits: std::array::from_fn(|column| {
            text(&padded(0, column)[64 * last + 52..][..3])
        }),
        padded: first,
        pieces,
        ids: std::array::from_fn(|row| {
            std::array::from_fn(|column| template.id(nonce(row, column)))
        }),
    }
}

fn text(digits: &[u8]) -> String {
    String::from_utf8_lossy(digits).into_owned()
}

/// RFC 3174, section 4.
fn pad(object: &[u8]) -> Vec<u8> {
    let mut padded = object.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((8 * object.len() as u64).to_be_bytes());
    padded
}

/// A block's words: section 6.1, a and b.
fn expand(padded: &[u8], block: usize) -> Schedule {
    let mut words = [0; 80];
    let bytes = padded[64 * block..][..64].as_chunks::<4>().0;
    for (word, bytes) in words.iter_mut().zip(bytes) {
        *word = u32::from_be_bytes(*bytes);
    }
    for t in 16..80 {
        words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
    }
    words
}

/// A round: section 6.1, d.
fn round([a, b, c, d, e]: State, t: usize, word: u32) -> State {
    let (f, k) = match t {
        0..20 => ((b & c) | (!b & d), 0x5a82_7999),
        20..40 => (b ^ c ^ d, 0x6ed9_eba1),
        40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
        _ => (b ^ c ^ d, 0xca62_c1d6_u32),
    };
    let next = a
        .rotate_left(5)
        .wrapping_add(f)
        .wrapping_add(e)
        .wrapping_add(word)
        .wrapping_add(k);
    [next, a, b.rotate_left(30), c, d]
}

/// Some rounds of a block.
fn part(
    work: Work,
    block: usize,
    words: &Schedule,
    rounds: std::ops::Range<usize>,
    before: State,
) -> Piece {
    let first = rounds.start;
    let mut states = vec![before];
    states.extend(rounds.scan(before, |state, t| {
        *state = round(*state, t, words[t]);
        Some(*state)
    }));
    Piece {
        work,
        block,
        words: *words,
        first,
        states,
        added: None,
    }
}

/// All rounds of a block. Returns the state behind it.
fn whole(
    pieces: &mut Vec<Piece>,
    work: Work,
    block: usize,
    words: &Schedule,
    before: State,
) -> State {
    let mut piece = part(work, block, words, 0..80, before);
    piece.added = Some(before);
    let end = piece.end();
    pieces.push(piece);
    end.unwrap_or(before)
}
