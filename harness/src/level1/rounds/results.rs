//! What a book has, on the terminal or for a program: the rounds that are over.

use anyhow::{Context, Result};

use super::{
    super::args::{Format, ResultsArgs},
    book::{Records, Round},
    export::{self, RoundWithCoins},
    referee::table,
};
use crate::console;

/// Prints the results.
pub fn run(args: &ResultsArgs) -> Result<()> {
    let records = Records::open(&args.db)?;
    let rounds = if let Some(number) = args.round {
        let round = records.round(number)?;
        let missing = || format!("no round {number} that is over is in {}", args.db.display());
        vec![round.with_context(missing)?]
    } else {
        let mut rounds = records.rounds(u32::MAX)?;
        rounds.reverse();
        rounds
    };
    let text = match (args.format, args.coins) {
        (Format::Csv, false) => export::results_csv(&rounds),
        (Format::Csv, true) => {
            let mut text = export::coins_csv(0, &[]);
            for round in &rounds {
                text += &export::coin_lines(round.number, &records.coins(round.number)?);
            }
            text
        }
        (Format::Json, false) => serde_json::to_string_pretty(&rounds)?,
        (Format::Json, true) => {
            let with_coins = rounds.into_iter().map(|round| {
                let coins = records.coins(round.number)?;
                Ok(RoundWithCoins { round, coins })
            });
            serde_json::to_string_pretty(&with_coins.collect::<Result<Vec<_>>>()?)?
        }
        (Format::Table, _) => tables(&rounds),
    };
    console::print(text.trim_end());
    Ok(())
}

fn tables(rounds: &[Round]) -> String {
    let tables = rounds.iter().map(|round| {
        let note = round.note.as_ref();
        let note = note.map_or_else(String::new, |note| format!(" ({note})"));
        format!("round {}{note}\n{}", round.number, table(&round.results))
    });
    let tables: Vec<_> = tables.collect();
    if tables.is_empty() {
        return "no round is over yet".to_owned();
    }
    tables.join("\n\n")
}
