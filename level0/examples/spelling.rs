//! Checks the spelling of a text with the built-in word list and a few words of one's own:
//! `cargo run -p level0 --example spelling -- README.md`.

use level0::prose::{Diacritics, VocabularyBuilder, check};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give the name of a text")?;
    let text = std::fs::read_to_string(&path)?;
    let mut builder = VocabularyBuilder::new(Diacritics::Kept).with_code(true);
    builder.add_built_in();
    builder.add("Kubernetes");
    let vocabulary = builder.build();
    for finding in check(&text, &vocabulary) {
        let near = vocabulary.suggestions(finding.word, 3).join(", ");
        println!(
            "{path}:{}:{}: {} ({near})",
            finding.line, finding.column, finding.word
        );
    }
    Ok(())
}
