//! Splits text into fields and looks them up in batches, so that memory latency overlaps.
//!
//! A *field* is what lies between two separators: a word, or nothing where separators touch. That
//! empty fields are fields too keeps the loops free of special cases. A batch of fields is first
//! split, then looked up, each table line requested well before it is used, then a [`Sink`] gets it:
//! each step is a short loop whose iterations do not wait for one another.

use crate::compact;
use crate::dictionary::Lookup;
use crate::simd::{BLOCK, is_separator, separators};

/// Fields after which a batch is looked up: few enough for it to stay in the first-level cache.
const BATCH: usize = 128;

/// Searches in the compact list that are under way together.
const SEARCHES: usize = 16;

/// One block of text can end so many fields after a batch was nearly full.
const CAPACITY: usize = BATCH + BLOCK;

/// Fields of a text, in order, and whether the dictionary knows them.
pub(crate) struct Batch {
    starts: [usize; CAPACITY],
    ends: [usize; CAPACITY],
    known: [bool; CAPACITY],
    len: usize,
}

/// A field's place in the text, and whether it is known; an empty field always is.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub start: usize,
    pub end: usize,
    pub known: bool,
}

impl Batch {
    fn new() -> Self {
        Self {
            starts: [0; CAPACITY],
            ends: [0; CAPACITY],
            known: [false; CAPACITY],
            len: 0,
        }
    }

    #[inline]
    fn push(&mut self, start: usize, end: usize) {
        self.starts[self.len] = start;
        self.ends[self.len] = end;
        self.len += 1;
    }

    /// The fields in the order of the text.
    #[inline]
    pub(crate) fn fields(&self) -> impl Iterator<Item = Field> {
        let places = self.starts[..self.len].iter().zip(&self.ends[..self.len]);
        let fields = places.zip(&self.known[..self.len]);
        fields.map(|((&start, &end), &known)| Field { start, end, known })
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes from the first field to the last, with a separator behind each.
    pub(crate) fn span(&self) -> usize {
        self.ends[self.len - 1] + 1 - self.starts[0]
    }

    fn look_up(&mut self, text: &[u8], lookup: &Lookup) {
        match lookup {
            Lookup::BuiltIn => self.look_up_in_built_in(text),
            Lookup::Table(table) => {
                let place = |index| (self.starts[index], self.ends[index]);
                let known = &mut self.known;
                table.look_up(text, self.len, place, |index, is_known| {
                    known[index] = is_known;
                });
            }
        }
    }

    fn look_up_in_built_in(&mut self, text: &[u8]) {
        for first in (0..self.len).step_by(SEARCHES) {
            let words: [_; SEARCHES] = std::array::from_fn(|index| {
                let index = first + index;
                (index < self.len).then(|| (self.starts[index], self.ends[index]))
            });
            let searches = compact::begin_searches(text, words);
            let fields = first..self.len.min(first + SEARCHES);
            for (search, index) in searches.iter().zip(fields) {
                let is_word = self.ends[index] > self.starts[index];
                self.known[index] = search.as_ref().map_or(!is_word, compact::Search::finds);
            }
        }
    }
}

/// Takes the fields of a text, batch by batch.
pub(crate) trait Sink<'t> {
    /// Takes the next fields of `text`; behind each there is a separator, unless the text ends.
    fn take(&mut self, text: &'t [u8], batch: &Batch);
}

/// Gives all fields of `text` to the sink. A field behind the last separator is given if not empty.
pub(crate) fn scan<'t>(text: &'t [u8], lookup: &Lookup, sink: &mut impl Sink<'t>) {
    let mut batch = Batch::new();
    let mut start = 0;
    let mut flush_if = |batch: &mut Batch, limit: usize| {
        if batch.len >= limit {
            batch.look_up(text, lookup);
            sink.take(text, batch);
            batch.len = 0;
        }
    };
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut base = 0;
    for block in blocks {
        let mut bits = separators(block);
        while bits != 0 {
            let end = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            batch.push(start, end);
            start = end + 1;
        }
        base += BLOCK;
        flush_if(&mut batch, BATCH);
    }
    for (offset, _) in rest
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| is_separator(byte))
    {
        batch.push(start, base + offset);
        start = base + offset + 1;
    }
    if start < text.len() {
        // There is room: fewer than `BATCH` fields came from before, and fewer than 64 from the rest,
        // which is less than a block.
        batch.push(start, text.len());
    }
    flush_if(&mut batch, 1);
}
