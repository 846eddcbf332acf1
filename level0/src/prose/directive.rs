//! What a text itself says is not to be reported, in comments or wherever it likes.
//!
//! ```text
//! level0:ignore-line          nothing on this line
//! level0:ignore-next-line     nothing on the next one
//! level0:ignore-start         nothing from here …
//! level0:ignore-end           … to here, or to the end of the text
//! level0:words foo bar        these are words from this line on
//! ```

use super::words::for_each_word;
use memchr::memmem::Finder;
use std::collections::HashMap;
use std::ops::Range;

/// What every directive begins with.
const PREFIX: &str = "level0:";

/// Bytes of words that one document may declare; more are not kept.
const DECLARED_BYTES: usize = 1024 * 1024;

/// What a document has said so far, from chunk to chunk.
#[derive(Default)]
pub(crate) struct Directives {
    /// Within `ignore-start` and `ignore-end`.
    ignoring: bool,
    /// The last chunk's last line asked for the line behind it to be ignored.
    ignores_first_line: bool,
    /// Folded words, and from which byte of the document on each is known.
    declared: HashMap<String, u64>,
    declared_bytes: usize,
}

/// What is said about one chunk: ranges in it that are not reported, in order.
#[derive(Default)]
pub(crate) struct Ignored {
    ranges: Vec<Range<usize>>,
    next: usize,
}

impl Ignored {
    /// Whether all is reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether what is at `at` is not reported; asked for places in rising order.
    pub(crate) fn holds(&mut self, at: usize) -> bool {
        while self
            .ranges
            .get(self.next)
            .is_some_and(|range| range.end <= at)
        {
            self.next += 1;
        }
        self.ranges
            .get(self.next)
            .is_some_and(|range| range.start <= at)
    }
}

impl Directives {
    /// Reads the directives of the next chunk, which begins at `offset` of the document and ends where
    /// a line does if it can.
    pub(crate) fn read(
        &mut self,
        text: &[u8],
        offset: u64,
        fold: impl Fn(&str) -> String,
    ) -> Ignored {
        let mut ranges = Vec::new();
        let mut begun = self.ignoring.then_some(0);
        if std::mem::take(&mut self.ignores_first_line) {
            ranges.push(0..line_end(text, 0));
        }
        // The line that the last directive stands on; a line may hold many.
        let (mut line, mut next_end) = (0..0, 0);
        let mut declared_to = 0;
        for at in Finder::new(PREFIX).find_iter(text) {
            if at < declared_to {
                continue;
            }
            if at >= line.end {
                line = line_start(text, at)..line_end(text, at);
                next_end = line_end(text, line.end);
            }
            let end = line.end;
            let behind = &text[at + PREFIX.len()..];
            let is_part = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
            let name = &behind[..behind.iter().take_while(|byte| is_part(byte)).count()];
            match name {
                b"ignore-line" => ranges.push(line.clone()),
                b"ignore-next-line" if end == text.len() => self.ignores_first_line = true,
                b"ignore-next-line" => ranges.push(line.end..next_end),
                b"ignore-start" if begun.is_none() => begun = Some(at),
                b"ignore-end" => ranges.extend(begun.take().map(|start| start..at)),
                b"words" => {
                    let words = &text[at + PREFIX.len() + name.len()..end];
                    self.declare(words, offset + line.start as u64, &fold);
                    declared_to = end;
                }
                _ => continue,
            }
            // The directive's own words are no part of the text.
            let own_end = if name == b"words" {
                end
            } else {
                at + PREFIX.len() + name.len()
            };
            ranges.push(at..own_end);
        }
        self.ignoring = begun.is_some();
        ranges.extend(begun.map(|start| start..text.len()));
        Ignored {
            ranges: merged(ranges),
            next: 0,
        }
    }

    /// Makes the words of `text` known from the byte `from` of the document on.
    fn declare(&mut self, text: &[u8], from: u64, fold: impl Fn(&str) -> String) {
        for_each_word(text, |place| {
            let Ok(word) = std::str::from_utf8(&text[place.start..place.end]) else {
                return;
            };
            self.declared_bytes += word.len();
            if self.declared_bytes <= DECLARED_BYTES {
                self.declared.entry(fold(word)).or_insert(from);
            }
        });
    }

    /// Whether any word has been declared.
    pub(crate) fn declares(&self) -> bool {
        !self.declared.is_empty()
    }

    /// Whether a folded word that stands at `offset` of the document has been declared before.
    pub(crate) fn declares_word(&self, folded: &str, offset: u64) -> bool {
        self.declared
            .get(folded)
            .is_some_and(|&from| from <= offset)
    }
}

fn line_start(text: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1)
}

/// Behind the newline that ends the line.
fn line_end(text: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |newline| at + newline + 1)
}

/// The ranges in order, those that touch made one.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::Directives;

    fn reported(directives: &mut Directives, text: &str) -> String {
        let mut ignored = directives.read(text.as_bytes(), 0, str::to_lowercase);
        let kept = text.char_indices().filter(|&(at, _)| !ignored.holds(at));
        kept.map(|(_, char)| char).collect()
    }

    #[test]
    fn lines_and_stretches_are_left_out() {
        let text = "a\nb <!-- level0:ignore-line -->\nc\nd level0:ignore-next-line\ne\nf \
            level0:ignore-start g\nh level0:ignore-end i\nj level0:other k\n";
        assert_eq!(
            reported(&mut Directives::default(), text),
            "a\nc\nd \nf  i\nj level0:other k\n"
        );
    }

    #[test]
    fn what_is_said_holds_in_the_next_chunk() {
        let mut directives = Directives::default();
        assert_eq!(
            reported(&mut directives, "a level0:ignore-next-line\n"),
            "a \n"
        );
        assert_eq!(
            reported(&mut directives, "b\nc level0:ignore-start\n"),
            "c "
        );
        assert_eq!(reported(&mut directives, "d\n"), "");
        assert_eq!(reported(&mut directives, "e level0:ignore-end f"), " f");
    }

    #[test]
    fn words_are_declared() {
        let mut directives = Directives::default();
        assert_eq!(
            reported(&mut directives, "a\nb <!-- level0:words Foo bar -->\nc"),
            "a\nb <!-- c"
        );
        assert!(directives.declares() && directives.declares_word("foo", 2));
        assert!(directives.declares_word("bar", 2) && !directives.declares_word("a", 2));
        assert!(!directives.declares_word("foo", 1));
    }

    #[test]
    fn many_directives_on_one_line_take_linear_time() {
        for name in ["ignore-line", "ignore-end", "ignore-next-line", "words"] {
            let text = format!("level0:{name} ").repeat(20_000);
            assert_eq!(reported(&mut Directives::default(), &text).trim(), "");
        }
    }
}
