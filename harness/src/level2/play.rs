//! One run: backends up, solution up, flood, tally.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::backend::{Backend, BackendTally, Gauge, Temper};
use super::flood::{Flood, Played};
use super::population::{BACKENDS, ROOM, SLOTS};
use super::probe;
use super::reactor::{self, Actor};
use super::record::record;
use super::secret::Secret;
use super::slow::{Part, SlowClients};
use super::socket::Address;
use super::tally::Tally;
use super::world::{SlowCrowd, World};
use crate::console;
use crate::live_feed;
use crate::report::Failure;
use crate::solution::{Solution, cannot_run};
use crate::solution_log::SolutionLog;
use octopus::ProcessGroup;
use octopus::interrupt;

/// From the moment that everything is up to the first round.
const HEAD_START: Duration = Duration::from_millis(50);
/// How often the solution is looked after while the flood runs.
const GLANCE: Duration = Duration::from_millis(100);
/// How often progress is told.
const TELL: Duration = Duration::from_secs(5);
/// How long the solution may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// How the parts are connected, and how strict the backends are.
pub struct Setting<'a> {
    /// The solution.
    pub solution: &'a Solution,
    /// The run's folder.
    pub folder: &'a Path,
    /// Unix sockets instead of TCP.
    pub unix: bool,
    /// Whether backends die of an overflow.
    pub strict: bool,
    /// How long start and run may take together.
    pub time_limit: Option<Duration>,
}

impl Setting<'_> {
    fn is_over(&self, begun: Instant) -> bool {
        self.time_limit
            .is_some_and(|limit| begun.elapsed() >= limit)
    }

    fn time_limit_failure(&self) -> Failure {
        let limit = humantime::format_duration(self.time_limit.unwrap_or_default());
        Failure::slow(
            "time_limit",
            format!("not over after {limit} (--time-limit)"),
        )
    }
}

/// Plays a world once. The inner error is the solution's failure, the outer one is ours.
pub fn play(setting: &Setting<'_>, world: &World) -> Result<Result<Tally, Failure>> {
    let secret = Secret::new();
    let temper = Temper {
        strict: setting.strict,
        honours_cost: world.mixed_cost,
        holds_little: world.slow.is_some(),
    };
    let mut backends = (0..BACKENDS)
        .map(|number| {
            let address = if setting.unix {
                Address::in_folder(setting.folder, &format!("backend{number}.sock"))
            } else {
                Address::Tcp(([127, 0, 0, 1], 0).into())
            };
            Backend::new(address, secret.clone(), temper).context("cannot start a backend")
        })
        .collect::<Result<Vec<_>>>()?;
    let entrance = if setting.unix {
        Address::in_folder(setting.folder, "shield.sock")
    } else {
        Address::free_port().context("cannot find a free port")?
    };
    let log = SolutionLog::create(setting.folder)?;
    let begun = Instant::now();
    let mut process = start(setting, &log, &entrance, &backends)?;
    let is_over = || setting.is_over(begun);

    let up = wait_until_up(
        &mut process,
        &log,
        &mut backends,
        &entrance,
        &secret,
        &is_over,
    )?;
    if let Some(failure) = up {
        let failure = if is_over() {
            setting.time_limit_failure()
        } else {
            failure
        };
        return Ok(Err(if failure.said.is_empty() {
            failure.said(log.last_lines())
        } else {
            failure
        }));
    }
    let started = Instant::now() + HEAD_START;
    let (played, ended) = flood(
        &mut process,
        &mut backends,
        world,
        entrance,
        &secret,
        started,
        &is_over,
    )?;
    interrupt::check()?;
    if let Some(status) = ended {
        let at = format!("{:.1} s", started.elapsed().as_secs_f64());
        return Ok(Err(log.ended(status).at(at)));
    }
    if is_over() {
        return Ok(Err(setting.time_limit_failure().said(log.last_lines())));
    }
    let tallies: Vec<BackendTally> = backends.iter().map(Backend::tally).collect();
    // Connections close with the backends, so a solution that drains has nothing to wait for.
    drop(backends);
    process
        .terminate(GRACE)
        .context("cannot stop the solution")?;
    let length_ms = u64::from(world.seconds) * 1000;
    let recording = record(&played, &tallies, started);
    Ok(Ok(Tally {
        recording,
        ..Tally::count(&played, tallies, world.capacity, length_ms)
    }))
}

fn start(
    setting: &Setting<'_>,
    log: &SolutionLog,
    entrance: &Address,
    backends: &[Backend],
) -> Result<ProcessGroup> {
    let ports: Option<Vec<String>> = backends
        .iter()
        .map(|backend| backend.address().port().map(|port| port.to_string()))
        .collect();
    let arguments = if let (Some(port), Some(ports)) = (entrance.port(), ports) {
        vec![
            "--in-port".into(),
            port.to_string(),
            "--out-ports".into(),
            ports.join(","),
        ]
    } else {
        let mut arguments = vec!["--listen".to_owned(), entrance.to_string()];
        for backend in backends {
            arguments.extend(["--backend".to_owned(), backend.address().to_string()]);
        }
        arguments.push("--head-fan-out".to_owned());
        arguments
    };
    let mut command = setting.solution.command(arguments);
    command.current_dir(setting.folder);
    log.attach(&mut command)?;
    ProcessGroup::spawn(&mut command).map_err(|error| cannot_run(&setting.solution.program, &error))
}

/// Asks through the solution whether all backends are up, while they run.
fn wait_until_up(
    process: &mut ProcessGroup,
    log: &SolutionLog,
    backends: &mut [Backend],
    entrance: &Address,
    secret: &Secret,
    is_over: &dyn Fn() -> bool,
) -> Result<Option<Failure>> {
    let give_up = AtomicBool::new(false);
    let mut ended = None;
    let answer = std::thread::scope(|scope| {
        let probe = scope.spawn(|| probe::until_up(entrance, secret.health_path(), &give_up));
        let mut actors: Vec<&mut dyn Actor> = backends
            .iter_mut()
            .map(|backend| backend as &mut dyn Actor)
            .collect();
        let far = Instant::now() + Duration::from_secs(3600);
        let outcome = reactor::run(&mut actors, far, &mut || {
            if ended.is_none() {
                ended = process.try_wait().ok().flatten();
            }
            probe.is_finished() || interrupt::requested() || ended.is_some() || is_over()
        });
        give_up.store(true, Ordering::Relaxed);
        let answer = probe
            .join()
            .unwrap_or(Err("the health check failed".into()));
        outcome.map(|()| answer)
    })
    .context("cannot wait for sockets")?;
    interrupt::check()?;
    if let Some(status) = ended {
        return Ok(Some(log.ended(status)));
    }
    Ok(answer.err().map(|message| {
        let message = format!("HEAD of the health path was never answered with 200: {message}");
        Failure::slow("not_up", message).hint(
            "start it by hand with the same flags: with --in-port it has to answer HEAD of any path \
             by asking every backend, and with 200 only if all of them do.",
        )
    }))
}

/// Tells who looks on how many requests each backend holds.
fn tell_queues(since: Duration, seconds: u32, gauges: &[Gauge]) {
    if live_feed::is_open() {
        let held: Vec<usize> = gauges.iter().map(Gauge::get).collect();
        let queues = json!({
            "at_s": since.as_secs_f64(), "of_s": seconds, "held": held, "room": SLOTS + ROOM,
        });
        live_feed::tell("queues", &queues);
    }
}

/// Plays the world's traffic; gives the solution's status if it ended too early.
fn flood(
    process: &mut ProcessGroup,
    backends: &mut [Backend],
    world: &World,
    entrance: Address,
    secret: &Secret,
    started: Instant,
    is_over: &dyn Fn() -> bool,
) -> Result<(Played, Option<ExitStatus>)> {
    for spell in &world.spells {
        let at = |ms| started + Duration::from_millis(ms);
        backends[spell.backend].plan(spell.ailment, at(spell.from_ms), at(spell.to_ms));
    }
    let crowd = world.slow.unwrap_or(SlowCrowd {
        part: Part::Head,
        count: 0,
        from_ms: 0,
    });
    let they_come = started + Duration::from_millis(crowd.from_ms);
    let mut slow = SlowClients::new(entrance.clone(), crowd.part, crowd.count, they_come);
    let mut flood = Flood::new(
        entrance,
        world.connection_limit,
        world.traffic.clone(),
        secret.clone(),
        started,
    );
    let gauges: Vec<Gauge> = backends.iter().map(Backend::gauge).collect();
    let mut ended = None;
    let mut next_glance = started;
    let mut next_tell = started + TELL;
    let mut actors: Vec<&mut dyn Actor> = vec![&mut flood, &mut slow];
    actors.extend(backends.iter_mut().map(|backend| backend as &mut dyn Actor));
    let until = started + Duration::from_secs(u64::from(world.seconds));
    reactor::run(&mut actors, until, &mut || {
        let now = Instant::now();
        if now >= next_glance {
            next_glance = now + GLANCE;
            tell_queues(
                now.saturating_duration_since(started),
                world.seconds,
                &gauges,
            );
            ended = process.try_wait().ok().flatten();
        }
        if now >= next_tell && now < until {
            let played = (now - started).as_secs();
            console::log(&format!("level 2: {played} of {} s", world.seconds));
            next_tell += TELL;
        }
        ended.is_some() || interrupt::requested() || is_over()
    })
    .context("cannot wait for sockets")?;
    let slow_closed = slow.closed();
    let played = Played {
        slow_closed,
        ..flood.finish()
    };
    Ok((played, ended))
}
