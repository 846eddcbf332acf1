//! The overview and the levels: texts with hints to unfold, and the stages of your solutions.

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Options, Parser};

use super::{
    super::projects::{name, progress},
    App,
    frame::frame,
    results_table, sentence,
};
use crate::{ladder, logbook::Entry, project::Project, texts};

/// Where everything begins.
/// `last` says why where the history cannot be read, which is no reason to show nothing else.
pub(in super::super) fn overview(app: &App, last: Result<&[Entry], &str>) -> Markup {
    frame(
        "Overview",
        &html! {
            h1 { "Capture the Flag 3" }
            @if app.runner.last().is_some_and(|run| !run.is_over()) {
                p.status { a href="/live" { "A run goes on" } }
            }
            ul.cards { @for level in 0..ladder::LEVELS {
                li {
                    h3 { a href={"/levels/" (level)} { (title(level)) } }
                    p.quiet { (ladder::of_level(level).len()) " stages" }
                }
            } }
            h2 { "Your solutions" }
            @if app.projects.all().is_empty() {
                p { "None in the folders that the dashboard was given. " code { "harness new level0 --lang python mine" }
                    " makes one; then start the dashboard again." }
            }
            ul.cards { @for project in app.projects.all() {
                @let level = project.manifest().level;
                @let progress = progress(project);
                @let (points, all) = progress.points(level);
                li {
                    h3 { a href={"/levels/" (level)} { (name(project)) } }
                    p { "level " (level) ", " (points) " of " (all) " points " (progress.sparkline(level)) }
                    @match progress.current(level) {
                        Some(stage) => p.quiet { "at stage " (stage) " of " (ladder::of_level(level).len()) },
                        None => p.passed { "all stages are passed" },
                    }
                }
            } }
            @for error in app.projects.errors() { p.failed { (error) } }
            @if app.class.is_some() { h2 { a href="/class/" { "The class" } } }
            h2 { "The last results" }
            @match last {
                Ok(last) => (results_table(last)),
                Err(why) => p.failed { (why) },
            }
        },
    )
}

/// The first line of a level's text.
fn title(level: u8) -> &'static str {
    let first = texts::text(level).lines().next().unwrap_or_default();
    first.trim_start_matches('#').trim()
}

/// A level: your solutions with their stages, and its text.
pub(in super::super) fn level(app: &App, level: u8) -> Markup {
    let mine = app.projects.all().iter().enumerate();
    let mine = mine.filter(|(_, project)| project.manifest().level == level);
    frame(
        title(level),
        &html! {
            @for (number, project) in mine { (stages(number, project)) }
            article { (text(level)) }
        },
    )
}

/// The stages of a project, each with a button that has it judged.
fn stages(number: usize, project: &Project) -> Markup {
    let level = project.manifest().level;
    let progress = progress(project);
    html! {
        section {
            h2 { (name(project)) }
            p.quiet { (project.folder().display()) }
            ul.stages { @for (stage, place) in ladder::of_level(level).iter().zip(1_u8..) {
                li {
                    span {
                        @if progress.has_passed(place) { b.passed { "✓ " } }
                        b { (place) ". " (stage.title) }
                        @if stage.is_optional { " (optional)" }
                        br; (sentence(stage.idea))
                    }
                    form method="post" action={"/runs/" (number) "/" (place)} {
                        button { "Judge" }
                    }
                }
            } }
        }
    }
}

/// A level's text as HTML. The texts are ours and built in, so that what they have of HTML is meant.
fn text(level: u8) -> Markup {
    let parser = Parser::new_ext(texts::text(level), Options::ENABLE_TABLES);
    let mut page = String::new();
    pulldown_cmark::html::push_html(&mut page, parser);
    // A wide table scrolls by itself.
    let page = page
        .replace("<table>", "<div class=\"wide\"><table>")
        .replace("</table>", "</table></div>");
    PreEscaped(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_tables_and_fold_their_hints() {
        for level in 0..ladder::LEVELS {
            let page = text(level).into_string();
            assert_eq!(page.matches("<summary>Hint").count(), 3, "level {level}");
            assert!(
                page.contains("<div class=\"wide\"><table>"),
                "level {level}"
            );
            assert!(!page.contains("## "), "level {level}: {page}");
            assert!(!title(level).is_empty());
        }
    }
}
