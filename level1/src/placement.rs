//! Where in a commit its nonce goes, and in which characters: the styles of `level1 search`.

use crate::hash::HashFunction;
use crate::nonce::Alphabet;

/// How a nonce is put into a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line at the end of the message, `Nonce: ` and digits, which joins the trailers.
    Line,
    /// Spaces and tabs: behind the message, or, where the commit is signed, behind the signature.
    Space,
    /// A header of its own, `nonce`, which git does not show.
    Header,
}

/// A commit in two pieces, between which the nonce goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Which function names the commit.
    pub hash: HashFunction,
    /// The content up to the nonce.
    pub before: Vec<u8>,
    /// The characters that the nonce is written in.
    pub alphabet: Alphabet,
    /// The content behind the nonce.
    pub after: Vec<u8>,
}
