//! Plays a round: begins it, books every coin as it lands, ends it, and says who won.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

use super::{
    super::{
        args::RoundArgs,
        bots::Bots,
        difficulty::Difficulty,
        journal::{Event, Reader},
        repository::{Genesis, Repository},
        scoreboard::{self, Phase, RoundInfo, Standing},
        server::Server,
    },
    book::{Book, Coin, Opening, Ranked, Round},
    field::Field,
    warm_up::{self, Measured},
};
use crate::console;
use octopus::interrupt;

/// How often the referee looks at the journal and at the miners run here.
const TICK: Duration = Duration::from_millis(50);

/// What a round is played at when nobody landed a coin in the warm-up: the level's difficulty.
const FALLBACK_HASHES: f64 = 16_777_216.0;

/// How many of the rounds before the scoreboard lists.
const ROUNDS_SHOWN: u32 = 20;

/// How many rounds the course of the ratings goes back.
const COURSE_SHOWN: u32 = 50;

/// Plays rounds on one server, with one book.
pub struct Referee<'a> {
    pub args: &'a RoundArgs,
    pub repository: Repository,
    pub server: &'a Server,
    pub field: Field,
    pub book: Book,
}

impl Referee<'_> {
    /// Plays a round, or what an interrupt leaves of it, and books it.
    ///
    /// # Errors
    /// Nothing could be begun; or the round is booked, and something was wrong with it.
    pub fn round(&mut self, is_last: bool) -> Result<()> {
        self.show(Phase::WarmUp, None)?;
        let difficulty = self.difficulty()?;
        // From before the chain's begin, so that nothing lands unseen.
        let journal = Reader::from_now(self.repository.dir());
        let opening = self.begin(&difficulty)?;
        let number = opening.number;
        let info = self.info(&opening);
        console::log(&format!(
            "level 1: round {number} begins, {} long, difficulty {difficulty}",
            humantime::format_duration(Duration::from_secs(opening.duration_s))
        ));
        let played = self.play(&opening, journal, info.clone());
        let round = self.end(&opening, &played)?;
        console::print(&format!("round {number}\n{}", table(&round.results)));
        if let Some(note) = &round.note {
            console::print(&format!("round {number}: {note}"));
        }
        let phase = if is_last || interrupt::requested() {
            Phase::Over
        } else {
            let next_s = now_s().saturating_add(self.args.pause.as_secs());
            Phase::Pause { next_s }
        };
        self.show(phase, Some(info))?;
        played.with_context(|| format!("round {number} was ended and is booked"))?;
        self.audit(&round).with_context(|| {
            format!("round {number} is booked, but its chain does not bear that out")
        })
    }

    /// Enters the round into the book and opens its chain.
    fn begin(&mut self, difficulty: &Difficulty) -> Result<Opening> {
        let start = SystemTime::now();
        let duration = self.args.minutes;
        let bonus = self.args.points;
        let number = self.book.records().next_round()?;
        let genesis = Genesis::round(number, bonus, start, duration, difficulty.clone());
        let players = self.args.player.iter().map(|player| player.name.clone());
        let opening = Opening {
            number,
            start_s: start.duration_since(UNIX_EPOCH)?.as_secs(),
            duration_s: duration.as_secs(),
            difficulty: difficulty.to_string(),
            hashes_per_coin: difficulty.expected_hashes(),
            bonus,
            players: players.collect(),
        };
        self.repository.replace(&genesis)?;
        self.book.begin(&opening)?;
        Ok(opening)
    }

    fn info(&self, opening: &Opening) -> RoundInfo {
        let end_s = opening.start_s + opening.duration_s;
        let freeze_s = self.args.freeze.as_secs();
        RoundInfo {
            number: opening.number,
            start_s: opening.start_s,
            end_s,
            bonus_points: opening.bonus,
            freeze_s: (freeze_s > 0).then(|| end_s - freeze_s),
        }
    }

    /// Lets everybody mine until the end, or an interrupt, and books what lands.
    fn play(&mut self, opening: &Opening, mut journal: Reader, info: RoundInfo) -> Result<()> {
        let end = UNIX_EPOCH + Duration::from_secs(info.end_s);
        self.show(Phase::Round, Some(info))?;
        let bots = Bots::start(&self.repository, self.args.bots())?;
        let outcome = loop {
            if let Err(error) = self.book_coins(&mut journal, opening) {
                break Err(error);
            }
            if SystemTime::now() >= end || interrupt::requested() {
                break Ok(());
            }
            if let Err(error) = self.repository.check() {
                break Err(error);
            }
            self.field.keep_going();
            interrupt::wait_for(TICK);
        };
        self.field.stop();
        drop(bots);
        self.repository.close();
        self.book_coins(&mut journal, opening)?;
        outcome
    }

    /// Books the coins of this round that the journal has more now.
    fn book_coins(&self, journal: &mut Reader, opening: &Opening) -> Result<()> {
        for coin in coins_of(journal)? {
            self.book.coin(opening.number, &coin)?;
            console::log(&format!("level 1: {} lands {}", coin.name, coin.commit));
        }
        Ok(())
    }

    fn end(&mut self, opening: &Opening, played: &Result<()>) -> Result<Round> {
        let planned = opening.start_s + opening.duration_s;
        let end_s = now_s().min(planned);
        let note = match played {
            Err(error) => Some(format!("{error:#}")),
            Ok(()) if end_s < planned => Some("ended early by the host".to_owned()),
            Ok(()) => None,
        };
        self.book.finish(opening.number, end_s, note.as_deref())
    }

    /// Replays the round's chain and compares it with what was booked.
    fn audit(&self, round: &Round) -> Result<()> {
        let head = self.repository.head()?;
        self.repository.audit(head)?;
        let ledger = self.repository.ledger(head)?;
        for line in &round.results {
            let balance = ledger.balance(&line.name);
            ensure!(
                balance == line.coins,
                "{} has {balance} coins in the ledger, and {} landed",
                line.name,
                line.coins
            );
        }
        Ok(())
    }

    /// Updates the scoreboard.
    fn show(&self, phase: Phase, round: Option<RoundInfo>) -> Result<()> {
        let records = self.book.records();
        let rounds = records.rounds(ROUNDS_SHOWN)?;
        self.server.site().set_standing(Standing {
            phase,
            round,
            ratings: scoreboard::ratings(&records.players()?, &rounds),
            rounds,
            course: records.course(COURSE_SHOWN)?,
        });
        Ok(())
    }

    /// The difficulty at which the field lands a coin every few seconds.
    fn difficulty(&mut self) -> Result<Difficulty> {
        if let Some(difficulty) = &self.args.difficulty {
            return Ok(difficulty.clone());
        }
        let mut known = Some(0.0);
        for player in &self.args.player {
            let rate = self.book.records().last_rate(&player.name)?;
            known = known.zip(rate).map(|(sum, rate)| sum + rate);
        }
        let rate = match known {
            Some(rate) if rate > 0.0 => Some(rate),
            _ => self.warm_up()?,
        };
        let hashes = if let Some(rate) = rate {
            console::log(&format!(
                "level 1: the field hashes at {:.3} MH/s",
                rate / 1e6
            ));
            rate * self.args.coin_interval.as_secs_f64()
        } else {
            console::log(
                "level 1: nobody landed a coin in the warm-up; the level's difficulty it is",
            );
            FALLBACK_HASHES
        };
        Ok(Difficulty::of_expected_hashes(hashes))
    }

    /// Measures the hashes a second of everybody who mines now; `None` if no coin landed.
    fn warm_up(&mut self) -> Result<Option<f64>> {
        let limit = self.args.warm_up;
        console::log(&format!(
            "level 1: warm-up of at most {}: start your miners",
            humantime::format_duration(limit)
        ));
        let start = Instant::now();
        let mut hashes = warm_up::FIRST_HASHES;
        let mut measured = Measured::default();
        while start.elapsed() < limit {
            self.repository.replace(&warm_up::genesis(hashes))?;
            let Some(interval) = self.mean_interval(&measured, start)? else {
                break;
            };
            if measured.take(hashes, interval) {
                break;
            }
            hashes *= warm_up::GROWTH;
        }
        self.field.stop();
        Ok(measured.rate)
    }

    /// The mean time between two coins on a chain of the warm-up, which began at `start`, in
    /// seconds.
    fn mean_interval(&mut self, measured: &Measured, start: Instant) -> Result<Option<f64>> {
        let mut journal = Reader::from_now(self.repository.dir());
        // From the first coin on: before it, the miners had to notice the new chain.
        let mut first: Option<Instant> = None;
        let mut coins = 0;
        let mut interval = None;
        loop {
            interrupt::check()?;
            self.repository.check()?;
            self.field.keep_going();
            let landed = coins_of(&mut journal)?.len() as u64;
            coins += landed;
            if landed > 0 {
                if let (Some(since), 2..) = (first, coins) {
                    interval = Some(since.elapsed().as_secs_f64() / (coins - 1) as f64);
                }
                first.get_or_insert_with(Instant::now);
            }
            if measured.is_enough(coins, interval) || start.elapsed() >= self.args.warm_up {
                return Ok(interval);
            }
            interrupt::wait_for(TICK);
        }
    }
}

/// The coins that landed since the journal was last read, on the chain that is the current one at
/// its end.
fn coins_of(journal: &mut Reader) -> Result<Vec<Coin>> {
    let mut coins = Vec::new();
    for line in journal.read()? {
        match line.event {
            Event::Landed { name, commit, .. } => {
                let time_ms = line.time_ms;
                coins.push(Coin {
                    time_ms,
                    name,
                    commit,
                });
            }
            Event::Replaced { .. } => coins.clear(),
            Event::Refused { .. } => {}
        }
    }
    Ok(coins)
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// A ranking for the terminal.
pub fn table(ranking: &[Ranked]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_header(["rank", "player", "coins", "bonus", "rating", "change"]);
    for line in ranking {
        table.add_row([
            line.rank.to_string(),
            line.name.clone(),
            line.coins.to_string(),
            line.points.to_string(),
            format!("{:.0}", line.rating_after),
            format!("{:+.1}", line.rating_after - line.rating_before),
        ]);
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
