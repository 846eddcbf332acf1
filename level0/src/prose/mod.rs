//! Spelling of texts as people write them: words with punctuation around them, in any alphabet.
//!
//! - [`Vocabulary`] says which words are known: word lists, dictionaries of hunspell, one's own words.
//! - [`check`] finds the unknown words of a text in memory.
//! - [`Job`] and [`run`] are the program `level0 --prose`.
//!
//! ```
//! use level0::prose::{Diacritics, VocabularyBuilder, check};
//!
//! let mut builder = VocabularyBuilder::new(Diacritics::Kept);
//! builder.add_lines("the\nquick\nbrown\nfox\nsee".as_bytes());
//! let vocabulary = builder.build();
//! let found = check("The quick, brown fxo\u{2019}s:\nsee https://example.org.", &vocabulary);
//! assert_eq!(found.len(), 1);
//! assert_eq!((found[0].word, found[0].line, found[0].column), ("fxo", 1, 18));
//! ```
//!
//! From a text to a report: `files.rs` names documents, `document.rs` cuts them, `words.rs` finds words
//! (`classes.rs`: of which bytes; `skip.rs`: and what is none), `vocabulary.rs` judges them (`fold.rs`, `code.rs`, `hunspell.rs`),
//! `directive.rs` says what the text itself leaves out, `format/` writes.

mod classes;
mod code;
mod directive;
mod document;
mod error;
mod files;
mod fold;
mod format;
mod hunspell;
mod job;
mod personal;
mod skip;
mod suggest;
mod vocabulary;
mod words;

pub use document::{Count, Finding, check};
pub use error::{Problem, ProseError};
pub use files::Selection;
pub use fold::Diacritics;
pub use format::Format;
pub use job::{Job, Report, run};
pub use vocabulary::{Vocabulary, VocabularyBuilder};
