//! The live view of a simulated network: on a terminal one picture that is drawn again and again
//! and whose last state stays there; elsewhere a line now and then.
//!
//! [`View`] is what is shown, `frame` lays it out for a terminal of any size: as a matrix of
//! links if there is room for one, numbers first, then in glyphs; otherwise as a list of what is
//! not as it should be.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use octopus::{Echo, Event, LinkNow, NodeId, NodeState, Octopus, pairs};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::{console, live_feed};

/// Where there is no terminal, a line every so many views.
const LINE_EVERY: u32 = 20;

/// How many lines of the nodes' are kept for the view.
const SAID: usize = 100;

/// How wide a column of news beside the matrix has to be at least.
const NEWS_WIDTH: usize = 46;

/// A delay in glyphs: one step for each 20 ms.
const LEVELS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// What is to be seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    /// What is run, as in "level 4".
    pub title: String,
    /// Short facts, the most important first.
    pub facts: Vec<String>,
    /// What each node does.
    pub nodes: Vec<NodeState>,
    /// The node that leads, where nodes tell that.
    pub leader: Option<NodeId>,
    /// What each link does, in the order of [`pairs`].
    pub links: Vec<LinkNow>,
    /// What happened, the newest last.
    pub news: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tint {
    #[default]
    Plain,
    Bold,
    Good,
    Slow,
    Bad,
}

impl Tint {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Slow => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// A line of pieces, each in a tint. All characters used are one column wide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line(Vec<(Tint, String)>);

impl Line {
    fn of(tint: Tint, text: impl Into<String>) -> Self {
        Self(vec![(tint, text.into())])
    }

    fn push(&mut self, tint: Tint, text: impl Into<String>) {
        self.0.push((tint, text.into()));
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Cuts what is wider, with an ellipsis.
    fn fit(&mut self, width: usize) {
        if self.width() <= width {
            return;
        }
        let mut left = width.saturating_sub(1);
        for (_, text) in &mut self.0 {
            let kept: String = text.chars().take(left).collect();
            left -= kept.chars().count();
            *text = kept;
        }
        self.push(Tint::Plain, "…");
    }

    fn painted(&self) -> String {
        let mut painted = String::new();
        for (tint, text) in &self.0 {
            let end = if *tint == Tint::Plain { "" } else { "\x1b[0m" };
            let _infallible = write!(painted, "{}{text}{end}", tint.code());
        }
        painted
    }

    #[cfg(test)]
    fn plain(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// Lays a view out on at most so many columns and lines.
fn frame(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut lines = head(view, width);
    lines.truncate((height / 3).max(1));
    let room = height.saturating_sub(lines.len());
    let picture = matrix(view, width, room).unwrap_or_else(|| list(view, width, room));
    let picture_width = picture.iter().map(Line::width).max().unwrap_or(0);
    let beside = width.saturating_sub(picture_width + 3);
    if beside >= NEWS_WIDTH {
        let news = newest(&view.news, room.min(picture.len().max(12)));
        for row in 0..picture.len().max(news.len()) {
            let mut line = picture.get(row).cloned().unwrap_or_default();
            if let Some(text) = news.get(row) {
                let pad = picture_width + 3 - line.width();
                line.push(Tint::Plain, " ".repeat(pad) + text);
            }
            lines.push(line);
        }
    } else {
        lines.extend(picture);
        let left = height.saturating_sub(lines.len());
        let news = newest(&view.news, left.min(12));
        lines.extend(news.iter().map(|text| Line::of(Tint::Plain, text)));
    }
    lines.truncate(height);
    for line in &mut lines {
        line.fit(width);
    }
    lines
}

/// Title and facts, as many lines as they need.
fn head(view: &View, width: usize) -> Vec<Line> {
    let mut lines = vec![Line::of(Tint::Bold, &view.title)];
    for (place, fact) in view.facts.iter().enumerate() {
        let between = if place == 0 { "  " } else { " · " };
        let more = between.chars().count() + fact.chars().count();
        if let Some(line) = lines.last_mut().filter(|line| line.width() + more <= width) {
            line.push(Tint::Plain, format!("{between}{fact}"));
        } else {
            lines.push(Line::of(Tint::Plain, fact));
        }
    }
    lines
}

fn newest(news: &[String], count: usize) -> &[String] {
    &news[news.len().saturating_sub(count)..]
}

/// Each node's state, and what gets from it to each other; `None` if there is no room for that.
fn matrix(view: &View, width: usize, height: usize) -> Option<Vec<Line>> {
    let count = view.nodes.len();
    // A line for the head of the columns, and one for news at least.
    if count + 2 > height {
        return None;
    }
    let digits = count.saturating_sub(1).to_string().len();
    let layouts = [(8, 7), (8, 5), (8, 4), (1, 4), (8, 2), (1, 2), (1, 1)];
    let (word, cell) = layouts
        .into_iter()
        .find(|(word, cell)| digits + 2 + word + 1 + count * cell <= width)?;
    let mut top = Line::of(Tint::Plain, " ".repeat(digits + 2 + word + 1));
    for node in 0..count {
        let name = match cell {
            4.. => format!("→{node}"),
            _ => (node % 10).to_string(),
        };
        top.push(Tint::Plain, format!("{name:>cell$}"));
    }
    let mut lines = vec![top];
    for (node, state) in view.nodes.iter().enumerate() {
        let star = if view.leader == Some(node) {
            "★"
        } else {
            " "
        };
        let mut line = Line::of(Tint::Plain, format!("{node:>digits$} {star}"));
        let shown: String = state.word().chars().take(word).collect();
        line.push(tint_of(*state), format!("{shown:<word$} "));
        for other in 0..count {
            let (tint, text) = link_cell(view, node, other, cell >= 4);
            line.push(tint, format!("{text:>cell$}"));
        }
        lines.push(line);
    }
    Some(lines)
}

fn tint_of(state: NodeState) -> Tint {
    match state {
        NodeState::Running => Tint::Good,
        NodeState::Frozen => Tint::Slow,
        NodeState::Killed | NodeState::Exited => Tint::Bad,
    }
}

/// What gets from one node to another: milliseconds, or a glyph for them.
fn link_cell(view: &View, from: NodeId, to: NodeId, numbers: bool) -> (Tint, String) {
    let link = view
        .links
        .iter()
        .find(|now| from != to && now.link.touches(from) && now.link.touches(to));
    let Some(link) = link else {
        return (Tint::Plain, "·".to_owned());
    };
    if !link.up || link.loses[usize::from(from > to)] {
        return (Tint::Bad, "✗".to_owned());
    }
    let tint = if link.bytes_per_s.is_some() || link.delay_ms >= 100 {
        Tint::Slow
    } else {
        Tint::Plain
    };
    if numbers {
        return (tint, link.delay_ms.min(999).to_string());
    }
    let level = (link.delay_ms / 20).min(LEVELS.len() as u64 - 1);
    (tint, LEVELS[level as usize].to_owned())
}

/// The states of the nodes in a row, and the links that do not carry everything.
fn list(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut nodes = vec![Line::default()];
    for (node, state) in view.nodes.iter().enumerate() {
        let star = if view.leader == Some(node) { "★" } else { "" };
        // What is not said runs.
        let unless_running = usize::from(*state != NodeState::Running);
        let letter: String = state.word().chars().take(unless_running).collect();
        put(
            &mut nodes,
            tint_of(*state),
            &format!("{node}{letter}{star}"),
            width,
        );
    }
    nodes.truncate((height / 2).max(1));
    let broken: Vec<String> = view.links.iter().filter_map(trouble).collect();
    let up = view.links.len() - broken.len();
    let mut links = vec![Line::of(
        Tint::Plain,
        format!("{up} of {} links well", view.links.len()),
    )];
    for text in &broken {
        put(&mut links, Tint::Bad, text, width);
    }
    links.truncate(2);
    nodes.extend(links);
    nodes
}

/// What is wrong with a link: `0✗1` is down, `0✗→1` loses what comes from node 0.
fn trouble(link: &LinkNow) -> Option<String> {
    let (low, high) = (link.link.low(), link.link.high());
    match (link.up, link.loses) {
        (false, _) | (_, [true, true]) => Some(format!("{low}✗{high}")),
        (_, [true, false]) => Some(format!("{low}✗→{high}")),
        (_, [false, true]) => Some(format!("{high}✗→{low}")),
        _ => None,
    }
}

fn put(lines: &mut Vec<Line>, tint: Tint, text: &str, width: usize) {
    let more = text.chars().count() + 1;
    match lines.last_mut() {
        Some(line) if line.width() + more <= width => {
            if line.width() > 0 {
                line.push(Tint::Plain, " ");
            }
            line.push(tint, text);
        }
        _ => lines.push(Line::of(tint, text)),
    }
}

/// Shows a run while it goes on.
#[derive(Debug)]
pub struct Screen {
    title: &'static str,
    duration: Duration,
    terminal: bool,
    shown: u32,
    /// Columns and lines of the terminal, and how many lines the last frame had.
    drawn: Option<(usize, usize, usize)>,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Screen {
    /// A screen on stderr if that is a terminal; with `plain` lines now and then in any case, for
    /// runs that print other things too.
    pub fn new(title: &'static str, duration: Duration, plain: bool) -> Self {
        Self {
            title,
            duration,
            terminal: io::stderr().is_terminal() && !plain,
            shown: 0,
            drawn: None,
            said: Arc::default(),
        }
    }

    /// What takes the lines of the nodes: into the view if there is one, to stderr otherwise.
    pub fn echo(&self) -> Echo {
        if !self.terminal {
            return Echo::new(console::log_node);
        }
        let said = Arc::clone(&self.said);
        Echo::new(move |node, line| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_back(format!("[node{node}] {line}"));
            if said.len() > SAID {
                said.pop_front();
            }
        })
    }

    /// Shows how things stand, with facts about the run; time and traffic are added.
    pub fn show(&mut self, octopus: &Octopus, facts: Vec<String>) {
        let view = self.view(octopus, facts);
        live_feed::tell("network", &view);
        if self.terminal {
            self.draw(&view);
        } else if self.shown.is_multiple_of(LINE_EVERY) && self.shown > 0 {
            console::log(&format!("{}: {}", self.title, view.facts.join(" · ")));
        }
        self.shown += 1;
    }

    fn view(&self, octopus: &Octopus, facts: Vec<String>) -> View {
        let log = octopus.log();
        let total = octopus.network().traffic().total();
        let now = log.elapsed().as_secs_f64();
        let whole = humantime::format_duration(self.duration);
        let mut all = vec![format!("{now:.1} s of {whole}")];
        all.extend(facts);
        all.push(format!("{} KB read", total.bytes_read / 1024));
        all.push(format!("{} KB delivered", total.bytes_written / 1024));
        all.push(format!("{} connections", total.connections));
        let leader = log.last(1, |record| match &record.event {
            Event::Own(own) if own.kind() == "leader" => own.fields()["node"].as_u64(),
            _ => None,
        });
        let mut news = log.last(SAID, |record| match &record.event {
            Event::Act(act) => {
                let seconds = record.t_us as f64 / 1e6;
                Some(format!("{seconds:7.3} s {}", act.text()))
            }
            _ => None,
        });
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.is_empty() {
            // Half of the room for either, whatever happens more often.
            news.drain(..news.len().saturating_sub(6));
            news.extend(said.iter().rev().take(6).rev().cloned());
        }
        let states = octopus.network().links();
        let nodes = octopus.nodes().count();
        // Those of the clients' machine have no room in a matrix of nodes.
        let links = pairs(octopus.network().nodes())
            .into_iter()
            .zip(&states)
            .filter(|(pair, _)| pair.high() < nodes);
        View {
            title: self.title.to_owned(),
            facts: all,
            nodes: (0..nodes).map(|node| octopus.nodes().state(node)).collect(),
            leader: leader.first().map(|&node| node as NodeId),
            links: links
                .map(|(pair, state)| LinkNow::new(pair, state))
                .collect(),
            news,
        }
    }

    fn draw(&mut self, view: &View) {
        let (columns, rows) = size();
        // The last line stays free for the cursor, the last column against wrapping.
        let lines = frame(view, columns.max(2) - 1, rows.max(3) - 1);
        let mut text = match self.drawn {
            Some((c, r, before)) if (c, r) == (columns, rows) && before > 0 => {
                format!("\r\x1b[{before}A")
            }
            // What a resized terminal did to the last frame cannot be known.
            Some(_) => "\x1b[H\x1b[J".to_owned(),
            None => String::new(),
        };
        for line in &lines {
            text.push_str(&line.painted());
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        self.drawn = Some((columns, rows, lines.len()));
        // A terminal that is gone wants no view.
        let _gone = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use octopus::{Change, LinkState};

    use super::*;

    fn view(nodes: usize) -> View {
        let links = pairs(nodes).into_iter().map(|pair| {
            let mut state = LinkState::new(20 + pair.high() as u64, 3);
            if pair.low() == 0 && pair.high() == 1 {
                state.apply(pair, Change::Down);
            }
            if pair.low() == 1 && pair.high() == 2 {
                state.apply(pair, Change::Loss(2));
            }
            LinkNow::new(pair, &state)
        });
        let mut states = vec![NodeState::Running; nodes];
        states[1] = NodeState::Frozen;
        View {
            title: "level 4".to_owned(),
            facts: [
                "1.0 s of 30s",
                "123 answered",
                "456 KB read",
                "78 connections",
            ]
            .map(str::to_owned)
            .to_vec(),
            nodes: states,
            leader: Some(0),
            links: links.collect(),
            news: (0..40)
                .map(|at| format!("{:7.3} s link 0-1 down", f64::from(at)))
                .collect(),
        }
    }

    fn shown(nodes: usize, width: usize, height: usize) -> Vec<String> {
        let lines = frame(&view(nodes), width, height);
        lines.iter().map(Line::plain).collect()
    }

    #[test]
    fn every_size_is_kept_and_every_node_is_there() {
        for nodes in [2, 3, 5, 9, 10, 11, 30, 50] {
            for width in [20, 39, 40, 79, 100, 131, 250] {
                for height in [4, 11, 23, 35, 59, 100] {
                    let lines = shown(nodes, width, height);
                    let context = format!("{nodes} nodes on {width} × {height}:\n{lines:#?}");
                    assert!(lines.len() <= height, "{context}");
                    assert!(
                        lines.iter().all(|l| l.chars().count() <= width),
                        "{context}"
                    );
                    if width >= 39 && height >= 11 {
                        let text = lines.join("\n");
                        let last = (nodes - 1).to_string();
                        assert!(text.contains(&last), "{context}");
                        assert!(text.contains('✗') && text.contains('★'), "{context}");
                        assert!(text.contains("39.000 s"), "the newest is there: {context}");
                    }
                }
            }
        }
    }

    #[test]
    fn five_nodes_on_a_usual_terminal_have_numbers() {
        let lines = shown(5, 79, 23);
        assert_eq!(lines[1].trim(), "→0     →1     →2     →3     →4");
        assert_eq!(lines[2], "0 ★running        ·      ✗     22     23     24");
        assert_eq!(lines[4], "2  running       22      ✗      ·     23     24");
        // The other direction of the link that loses works.
        assert!(lines[3].ends_with("·     22     23     24"), "{}", lines[3]);
    }

    #[test]
    fn many_nodes_have_glyphs_and_on_small_terminals_a_list() {
        let lines = shown(30, 79, 40);
        assert!(lines[2].contains(" ▂"), "{}", lines[2]);
        let lines = shown(30, 39, 11);
        assert!(
            lines.iter().any(|line| line.contains("0★ 1f 2 3")),
            "{lines:#?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.contains("433 of 435 links well")),
            "{lines:#?}"
        );
        assert!(
            lines.iter().any(|line| line.contains("0✗1 2✗→1")),
            "{lines:#?}"
        );
    }
}
