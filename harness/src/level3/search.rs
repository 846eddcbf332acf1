//! `--search`: expressions, case, context and the query language at `/search`, which the 2014 contract
//! does not have.
//!
//! Searches are drawn from the tree's own text with a seed. What must be found is found by running
//! each expression, with the `regex` crate, on every line by itself: slow, plain, and nothing that
//! the solution's engine and its index have a part in.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::client::encoded;
use super::language::{self, Meaning};
use super::oracle::indexed_files;
use super::servers::Servers;
use crate::report::Failure;
use octopus::interrupt;

/// Hits that are asked for, and compared.
const LIMIT: usize = 1000;

/// Lines longer than this may be cut, and are then not compared, in bytes.
const WHOLE_LINE: usize = 500;

/// Wrong answers that are told.
const SHOWN: usize = 3;

/// A search: what is sent, and what it means.
#[derive(Clone, Debug)]
struct Search {
    /// The parameters that say what to look for.
    asked: String,
    context: usize,
    meaning: Meaning,
}

impl Search {
    fn target(&self) -> String {
        let Self { asked, context, .. } = self;
        format!("/search?{asked}&context={context}&limit={LIMIT}")
    }
}

/// A matching line, as `/search` answers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Hit {
    file: String,
    line: u64,
    column: u64,
    text: String,
    #[serde(default)]
    cut: bool,
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    after: Vec<String>,
}

/// An answer of `/search`, as far as it is judged.
#[derive(Debug, Deserialize)]
struct Answered {
    results: Vec<Hit>,
    more: bool,
    #[serde(default)]
    partial: bool,
}

/// Asks `count` searches drawn from the tree with `seed`, and says what was wrong with the answers.
pub fn judge(
    servers: &mut Servers,
    root: &Path,
    count: usize,
    seed: u64,
) -> Result<Option<Failure>> {
    let texts = texts(root)?;
    let searches = draw(&texts, count, seed)?;
    let mut wrong = Vec::new();
    for (place, search) in searches.iter().enumerate() {
        interrupt::check()?;
        if let Some(failure) = servers.out_of_time() {
            return Ok(Some(failure));
        }
        let said = match servers.client.get(&search.target()) {
            Ok((answer, _)) if answer.status == 200 => {
                match serde_json::from_slice::<Answered>(&answer.body) {
                    Ok(answered) => difference(&answered, &scan(&texts, search)),
                    Err(error) => Some(format!("not the expected JSON: {error}")),
                }
            }
            Ok((answer, _)) => Some(format!("status {}", answer.status)),
            Err(error) => Some(format!("no answer: {error}")),
        };
        wrong.extend(said.map(|said| format!("search {}, {}: {said}", place + 1, search.target())));
    }
    if wrong.is_empty() {
        return Ok(None);
    }
    let first: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
    let message = format!(
        "{} of {count} searches are answered wrongly: {}",
        wrong.len(),
        first.join("; ")
    );
    Ok(Some(Failure::new("wrong_output", message)))
}

/// A file's path below the root, and its text.
type Text = (String, String);

/// The indexed files, in the order in which `/search` lists them: that of their paths' bytes.
fn texts(root: &Path) -> Result<Vec<Text>> {
    let mut texts = Vec::new();
    for path in indexed_files(root)? {
        interrupt::check()?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        if let Ok(text) = String::from_utf8(bytes) {
            texts.push((relative.to_string_lossy().into_owned(), text));
        }
    }
    texts.sort();
    Ok(texts)
}

/// A text's lines: without their ends, and without the mark at the start that some editors put there.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split_inclusive('\n');
    lines.map(|line| line.strip_suffix('\n').unwrap_or(line))
}

/// The first hits of a search, one more than are asked for.
fn scan(texts: &[Text], search: &Search) -> Vec<Hit> {
    let mut hits = Vec::new();
    let texts = texts.iter().filter(|(file, _)| search.meaning.admits(file));
    for (file, text) in texts {
        let lines: Vec<&str> = lines(text).collect();
        for (at, line) in lines.iter().enumerate() {
            if hits.len() > LIMIT {
                return hits;
            }
            let Some(first) = search.meaning.find(line) else {
                continue;
            };
            let texts = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
            let last = (at + 1 + search.context).min(lines.len());
            hits.push(Hit {
                file: file.clone(),
                line: at as u64 + 1,
                column: line[..first].chars().count() as u64 + 1,
                text: (*line).to_owned(),
                cut: false,
                before: texts(&lines[at.saturating_sub(search.context)..at]),
                after: texts(&lines[at + 1..last]),
            });
        }
    }
    hits
}

/// What is wrong with an answer, if anything is. `hits` has one more than fit in it, if there are.
fn difference(answered: &Answered, hits: &[Hit]) -> Option<String> {
    if answered.partial {
        return Some("marked as partial".to_owned());
    }
    let more = hits.len() > LIMIT;
    let expected = &hits[..hits.len().min(LIMIT)];
    for (found, expected) in answered.results.iter().zip(expected) {
        if !agrees(found, expected) {
            return Some(format!("{found:?} instead of {expected:?}"));
        }
    }
    let (found, expected) = (answered.results.len(), expected.len());
    if found != expected {
        return Some(format!("{found} hits instead of {expected}"));
    }
    let told = answered.more;
    (told != more).then(|| format!("`more` is {told}"))
}

/// Whether a hit is the expected one. Of long lines, only the place is compared.
fn agrees(found: &Hit, expected: &Hit) -> bool {
    let place = |hit: &Hit| (hit.file.clone(), hit.line, hit.column);
    let is_whole = |lines: &[String]| lines.iter().all(|line| line.len() <= WHOLE_LINE);
    place(found) == place(expected)
        && (expected.text.len() > WHOLE_LINE || (found.text == expected.text && !found.cut))
        && (!is_whole(&expected.before) || found.before == expected.before)
        && (!is_whole(&expected.after) || found.after == expected.after)
}

/// Draws searches, most of which find something.
fn draw(texts: &[Text], count: usize, seed: u64) -> Result<Vec<Search>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut searches = Vec::with_capacity(count);
    for place in 0..count {
        let (asked, meaning) = if place % 2 == 0 {
            one_expression(texts, &mut random)?
        } else {
            several_parts(texts, &mut random)?
        };
        let context = random.random_range(0..6_usize).saturating_sub(3);
        searches.push(Search {
            asked,
            context,
            meaning,
        });
    }
    Ok(searches)
}

/// A search by `q`: one literal or expression.
fn one_expression(texts: &[Text], random: &mut ChaCha8Rng) -> Result<(String, Meaning)> {
    let (one, other) = (piece(texts, random), piece(texts, random));
    let (query, is_regex) = shape(&one, &other, random);
    let ignore_case = !is_regex || random.random_range(0..4) == 0;
    let source = if is_regex {
        query.clone()
    } else {
        regex::escape(&query)
    };
    let meaning = RegexBuilder::new(&source)
        .case_insensitive(ignore_case)
        .build()
        .with_context(|| format!("the drawn expression {source:?}"))?;
    let query = encoded(&query);
    let asked = format!("q={query}&regex={is_regex}&ignore_case={ignore_case}");
    Ok((asked, Meaning::of(meaning)))
}

/// A search by `query`, in the query language. Its words are often of one line, so that there is
/// something to find.
fn several_parts(texts: &[Text], random: &mut ChaCha8Rng) -> Result<(String, Meaning)> {
    let mut pieces = vec![piece(texts, random)];
    for _ in 0..random.random_range(0..3) {
        let is_near = random.random_range(0..2) == 0;
        let near = texts.iter().find(|(_, text)| text.contains(&pieces[0]));
        pieces.push(match near {
            Some(near) if is_near => piece(std::slice::from_ref(near), random),
            _ => piece(texts, random),
        });
    }
    let paths: Vec<String> = (0..4.min(texts.len()))
        .map(|_| texts[random.random_range(0..texts.len())].0.clone())
        .collect();
    let (query, meaning) = language::draw(&pieces, &paths, random)?;
    Ok((format!("query={}", encoded(&query)), meaning))
}

/// A query made of two pieces of text, and whether it is an expression.
fn shape(one: &str, other: &str, random: &mut ChaCha8Rng) -> (String, bool) {
    let (start, end) = (regex::escape(one), regex::escape(other));
    let flipped = |char: char| {
        if char.is_ascii_uppercase() {
            char.to_ascii_lowercase()
        } else {
            char.to_ascii_uppercase()
        }
    };
    let expression = match random.random_range(0..9) {
        0 => return (one.chars().map(flipped).collect(), false),
        1 => format!("{start}|{end}"),
        2 => format!("{start}.*{end}"),
        3 => format!("^{start}"),
        4 => format!(r"{start}(\n|$)"),
        5 => format!(r"\b{start}\w*"),
        6 => format!(r"(?:{start}){{1,2}}\s*\S"),
        7 => format!("[{end}]{{3,}}$"),
        _ => format!(r"(?i){start}\w+\s"),
    };
    // A class of odd characters may be none.
    if Regex::new(&expression).is_ok() {
        (expression, true)
    } else {
        (start, true)
    }
}

/// One to eight characters of some line.
fn piece(texts: &[Text], random: &mut ChaCha8Rng) -> String {
    for _ in 0..20 {
        if texts.is_empty() {
            break;
        }
        let (_, text) = &texts[random.random_range(0..texts.len())];
        let mut start = random.random_range(0..=text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let length = random.random_range(1..=8);
        let rest = text[start..].chars().take_while(|&char| char != '\n');
        let piece: String = rest.take(length).collect();
        if !piece.is_empty() && !piece.contains('\u{feff}') {
            return piece;
        }
    }
    "e".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<Text> {
        vec![
            ("a".to_owned(), "one\ntwo three\n\u{feff}".to_owned()),
            (
                "b/c".to_owned(),
                "\u{feff}Three\u{e9} four\r\nlast one".to_owned(),
            ),
        ]
    }

    fn search(query: &str, context: usize) -> Search {
        Search {
            asked: format!("q={query}&regex=true"),
            context,
            meaning: Meaning::of(Regex::new(query).unwrap()),
        }
    }

    #[test]
    fn every_line_is_looked_at_by_itself() {
        let found = |query: &str| -> Vec<(String, u64, u64)> {
            let hits = scan(&texts(), &search(query, 0));
            hits.into_iter()
                .map(|hit| (hit.file, hit.line, hit.column))
                .collect()
        };
        assert_eq!(found("^Three"), [("b/c".to_owned(), 1, 1)]);
        assert_eq!(
            found(r"one(\n|$)"),
            [("a".to_owned(), 1, 1), ("b/c".to_owned(), 2, 6)]
        );
        assert_eq!(found("four"), [("b/c".to_owned(), 1, 8)]);
        assert!(found(r"one\ntwo").is_empty());
    }

    #[test]
    fn differences_are_found() {
        let hits = scan(&texts(), &search("three|one", 1));
        let right = || Answered {
            results: hits.clone(),
            more: false,
            partial: false,
        };
        assert_eq!(difference(&right(), &hits), None);
        let changes: [fn(&mut Answered); 6] = [
            |answer| drop(answer.results.pop()),
            |answer| answer.results.swap(0, 1),
            |answer| answer.results[1].column += 1,
            |answer| answer.results[1].before.clear(),
            |answer| answer.more = true,
            |answer| answer.partial = true,
        ];
        for change in changes {
            let mut wrong = right();
            change(&mut wrong);
            assert!(difference(&wrong, &hits).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn a_seed_draws_the_same_searches_again_and_most_find_something() {
        let targets = |seed| -> Vec<String> {
            let searches = draw(&texts(), 200, seed).unwrap();
            searches.iter().map(Search::target).collect()
        };
        assert_eq!(targets(1), targets(1));
        assert_ne!(targets(1), targets(2));
        let searches = draw(&texts(), 200, 1).unwrap();
        let finding = searches
            .iter()
            .filter(|search| !scan(&texts(), search).is_empty());
        assert!(finding.count() > 100);
    }
}
