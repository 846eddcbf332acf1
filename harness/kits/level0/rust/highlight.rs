//! Marks the words of standard input that the dictionary, the first argument, does not know.

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, BufWriter, Read, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: highlight DICTIONARY < document")?;
    let dictionary = std::fs::read(path)?;
    let known: HashSet<&[u8]> = dictionary.split(|byte| *byte == b'\n').collect();
    let mut document = Vec::new();
    io::stdin().read_to_end(&mut document)?;
    let mut output = BufWriter::new(io::stdout().lock());
    highlight(&document, &known, &mut output)?;
    output.flush()?;
    Ok(())
}

/// Writes the document with `<` and `>` around the words that are not known. Words are bytes: they
/// may be anything but spaces and newlines.
fn highlight(document: &[u8], known: &HashSet<&[u8]>, output: &mut impl Write) -> io::Result<()> {
    for piece in document.split_inclusive(|byte| matches!(byte, b' ' | b'\n')) {
        let (word, separator) = match piece {
            [word @ .., b' ' | b'\n'] => (word, &piece[word.len()..]),
            word => (word, &[][..]),
        };
        if word.is_empty() || known.contains(word.to_ascii_lowercase().as_slice()) {
            output.write_all(word)?;
        } else {
            output.write_all(b"<")?;
            output.write_all(word)?;
            output.write_all(b">")?;
        }
        output.write_all(separator)?;
    }
    Ok(())
}
