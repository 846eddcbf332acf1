//! The miners that are run here: each player's command, again and again while a round is played.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::super::{args::PlayerArg, output::Relay, play::set_up_git, server::Server};
use crate::{console, solution_log};
use octopus::ProcessGroup;

/// A miner that failed is started again after this long.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Where the end of a run's output is kept, in the player's folder.
const LOG: &str = "output.log";

/// A player and the words of its command, whose program was found.
pub struct Found {
    name: String,
    words: Vec<String>,
}

/// Finds the programs of the players that are run here.
///
/// # Errors
/// One is not there or cannot be run.
pub fn find_commands(players: &[PlayerArg]) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for player in players {
        let Some(words) = &player.command else {
            continue;
        };
        let mut words = words.clone();
        let program = words.first_mut().context("an empty command")?;
        let path = find(program).with_context(|| format!("player {}", player.name))?;
        *program = path.to_string_lossy().into_owned();
        found.push(Found {
            name: player.name.clone(),
            words,
        });
    }
    Ok(found)
}

/// A program by its path, or by its name in `PATH` as a shell finds it.
fn find(program: &str) -> Result<PathBuf> {
    let is_executable = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if program.contains('/') {
        let path = fs::canonicalize(program).with_context(|| format!("cannot find {program}"))?;
        ensure!(is_executable(&path), "{program} is not an executable file");
        return Ok(path);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(program));
    let path = paths.find(|path| is_executable(path));
    path.with_context(|| format!("cannot find {program} in PATH; a file beside us is ./{program}"))
}

/// The miners that are run here.
pub struct Field {
    miners: Vec<Miner>,
}

impl Field {
    /// Prepares the players that have a command; each gets a folder in `dir`.
    pub fn new(commands: Vec<Found>, server: &Server, dir: &Path) -> Self {
        let miners = commands.into_iter().enumerate();
        let miners = miners.map(|(number, found)| Miner {
            url: server.site().url(server.address(), Some(&found.name)),
            name: found.name,
            words: found.words,
            dir: dir.join(number.to_string()),
            runs: 0,
            running: None,
            next_start: Instant::now(),
            said: Vec::new(),
        });
        Self {
            miners: miners.collect(),
        }
    }

    /// Starts what does not run, and says what failed and in which words. A player's trouble is
    /// its own: the round goes on.
    pub fn keep_going(&mut self) {
        for miner in &mut self.miners {
            if let Err(error) = miner.keep_going() {
                miner.next_start = Instant::now() + RESTART_PAUSE;
                let name = &miner.name;
                miner.tell(vec![format!("the miner of {name}: {error:#}")]);
            }
        }
    }

    /// Ends all of them, until they are started again.
    pub fn stop(&mut self) {
        for miner in &mut self.miners {
            miner.running = None;
            miner.next_start = Instant::now();
        }
    }
}

/// A player's command, started again whenever it ends: classic miners stop after one coin.
struct Miner {
    name: String,
    words: Vec<String>,
    url: String,
    dir: PathBuf,
    runs: u64,
    running: Option<(ProcessGroup, Relay)>,
    next_start: Instant,
    /// What was said of its last failure, which is not said twice.
    said: Vec<String>,
}

impl Miner {
    fn keep_going(&mut self) -> Result<()> {
        if let Some((group, _)) = &mut self.running {
            let Some(status) = group.try_wait()? else {
                return Ok(());
            };
            let tail = self.running.take().map(|(_, relay)| relay.tail());
            let tail = tail.unwrap_or_default();
            fs::write(self.dir.join(LOG), &tail)
                .with_context(|| format!("cannot write {}", self.dir.join(LOG).display()))?;
            if !status.success() {
                self.next_start = Instant::now() + RESTART_PAUSE;
                let mut lines = vec![format!("the miner of {} ended with {status}", self.name)];
                let last = solution_log::lines_of(tail.as_bytes());
                lines.extend(last.into_iter().map(|line| format!("  {line}")));
                self.tell(lines);
            }
        }
        if self.running.is_none() && Instant::now() >= self.next_start {
            self.running = Some(self.start()?);
        }
        Ok(())
    }

    /// Says what failed, unless that was the last that was said.
    fn tell(&mut self, lines: Vec<String>) {
        if self.said != lines {
            console::log(&format!("level 1: {}", lines.join("\n")));
            self.said = lines;
        }
    }

    /// Starts the command in a fresh folder, since a classic miner clones into it.
    fn start(&mut self) -> Result<(ProcessGroup, Relay)> {
        if self.runs > 0 {
            let last = self.dir.join(format!("run{}", self.runs - 1));
            match fs::remove_dir_all(&last) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", last.display()));
                }
                _ => {}
            }
        }
        // The next name is free only if the numbers go on.
        let folder = self.dir.join(format!("run{}", self.runs));
        self.runs += 1;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let (program, arguments) = self.words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        set_up_git(&mut command, &self.name);
        command
            .args(arguments)
            .args([&self.url, &self.name])
            .current_dir(folder)
            .stdin(Stdio::null());
        let relay = Relay::quiet(&mut command).context("cannot make a pipe")?;
        let group =
            ProcessGroup::spawn(&mut command).with_context(|| format!("cannot run {program}"))?;
        Ok((group, relay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_before_the_round() {
        assert!(find("sh").unwrap().is_absolute());
        let refused = |program: &str| format!("{:#}", find(program).unwrap_err());
        assert!(refused("no-such-miner-anywhere").contains("./no-such-miner-anywhere"));
        assert!(refused("/no/such/miner").contains("cannot find /no/such/miner"));
        assert!(refused("/").contains("not an executable file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(refused(path).contains("not an executable file"));
    }
}
