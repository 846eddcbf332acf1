//! The pages: a table with a row a student, and a report a run. No scripts, nothing from elsewhere;
//! a policy in the page forbids both, should anything ever slip through.

use std::fmt::Write;

use maud::{PreEscaped, html};
use serde_json::{Map, Value};

use super::{
    class::Class,
    record::{Outcome, Record},
    tables::{escape, printable},
};
use crate::{report::score, web};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page with a title and a body that is HTML already.
fn page(title: &str, body: &str) -> String {
    let head = html! {
        meta http-equiv="Content-Security-Policy" content=(POLICY);
        style { (PreEscaped(web::STYLE)) }
    };
    let body = html! { body { main { (PreEscaped(body)) } } };
    web::frame(&printable(title), &head, &body).into_string()
}

/// The class. Students are sorted as they came; links lead to the reports of the runs.
pub(super) fn class(class: &Class) -> String {
    let mut body = format!("<h1>{}</h1>\n", escape(&class.title));
    body.push_str(&legend(class));
    body.push_str(
        "<div class=\"wide\"><table class=\"class\">\n<thead><tr><th scope=\"col\">student</th>",
    );
    for level in &class.levels {
        let _ = write!(body, "<th scope=\"col\">level {level}</th>");
    }
    body.push_str("<th scope=\"col\">points</th></tr></thead>\n<tbody>\n");
    for student in &class.students {
        let _ = write!(
            body,
            "<tr><th scope=\"row\"><bdi>{}</bdi></th>",
            escape(&student.name)
        );
        for &level in &class.levels {
            let summary = student.summary(level);
            let records = student.levels.get(&level).map_or(&[][..], Vec::as_slice);
            let _ = write!(body, "<td>{}", escape(&summary.shown()));
            body.push_str("<div class=\"runs\">");
            for record in records {
                body.push_str(&run_link(record));
            }
            body.push_str("</div></td>");
        }
        let (points, all) = student.points(&class.levels);
        let _ = writeln!(
            body,
            "<td class=\"points\">{points}<span>/{all}</span></td></tr>"
        );
    }
    body.push_str("</tbody></table></div>\n");
    page(&class.title, &body)
}

fn legend(class: &Class) -> String {
    let of = if class.has_stages {
        "Each mark is a stage of a level's ladder; a stage has the ladder's points."
    } else {
        "Each mark is a run of the contest with another seed, the same seeds for all; \
         a run that is passed is a point. Scores are the middle one of those."
    };
    format!(
        "<p>{} students. {of} <b class=\"passed\">✓</b> passed, <b class=\"failed\">✗</b> failed, \
         <b class=\"undecided\">?</b> undecided as the machine was busy, \
         <b class=\"error\">!</b> not judged.</p>\n",
        class.students.len()
    )
}

/// A sign for what became of a run.
pub(super) fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "✓",
        Outcome::Failed => "✗",
        Outcome::Undecided => "?",
        Outcome::Error => "!",
    }
}

fn run_link(record: &Record) -> String {
    format!(
        "<a class=\"{}\" href=\"runs/{}.html\" title=\"{}\">{}</a>",
        record.outcome.word(),
        escape(&record.run.key()),
        escape(&format!(
            "{}: {}",
            record.run.shown(),
            record.outcome.word()
        )),
        mark(record.outcome)
    )
}

/// The report of a run.
pub(super) fn run(record: &Record) -> String {
    let run = &record.run;
    let title = format!("{}: {}", run.student, run.shown());
    let mut body = format!(
        "<p><a href=\"../index.html\">all students</a></p>\n<h1><bdi>{}</bdi></h1>\n\
         <p class=\"status verdict {1}\"><b>{2}</b> {1}</p>\n",
        escape(&title),
        record.outcome.word(),
        mark(record.outcome)
    );
    if let Some(message) = &record.message {
        let place = record.place.as_ref();
        let place = place.map_or_else(String::new, |place| format!(" at {}", escape(place)));
        let kind = escape(record.kind.as_deref().unwrap_or_default());
        let _ = writeln!(
            body,
            "<h2>{kind}{place}</h2>\n<pre class=\"said\">{}</pre>",
            escape(message)
        );
    }
    body.push_str(&lines("The last that it said", &record.said));
    body.push_str(&lines("What to try next", &record.next));
    body.push_str(&lines("Remarks", &record.remarks));
    if let Some(charts) = &record.charts {
        let _ = writeln!(
            body,
            "<p><a href=\"{}\">Charts of the run</a></p>",
            escape(charts)
        );
    }
    body.push_str(&facts(record));
    body.push_str(&map("Figures", &record.figures));
    body.push_str(&map("Settings", &record.settings));
    page(&title, &body)
}

fn facts(record: &Record) -> String {
    let facts = [
        ("score", score(record.score, record.unit.as_deref())),
        ("language", record.language.clone().unwrap_or_default()),
        (
            "judged",
            format!("{}, attempt {}", record.at, record.attempts),
        ),
        ("submission", record.digest.clone()),
    ];
    let rows = facts.map(|(name, value)| row(name, &value));
    format!(
        "<h2>Facts</h2>\n<div class=\"wide\"><table class=\"facts\">{}</table></div>\n",
        rows.concat()
    )
}

fn lines(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "<h2>{title}</h2>\n<pre class=\"said\">{}</pre>\n",
        escape(&lines.join("\n"))
    )
}

fn map(title: &str, map: &Map<String, Value>) -> String {
    if map.is_empty() {
        return String::new();
    }
    let rows = map.iter().map(|(name, value)| match value {
        Value::String(text) => row(name, text),
        other => row(name, &other.to_string()),
    });
    let rows: String = rows.collect();
    format!(
        "<details><summary>{title}</summary>\n<div class=\"wide\"><table class=\"facts\">{rows}</table></div></details>\n"
    )
}

fn row(name: &str, value: &str) -> String {
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
        escape(name),
        escape(value)
    )
}

#[cfg(test)]
mod tests {
    use super::super::class::tests::record;
    use super::*;

    const EVIL: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'";

    #[test]
    fn nothing_that_a_submission_says_becomes_part_of_a_page() {
        let mut evil = record(EVIL, 2, Some(1), Outcome::Failed);
        for text in [
            &mut evil.kind,
            &mut evil.message,
            &mut evil.place,
            &mut evil.unit,
        ] {
            *text = Some(EVIL.to_owned());
        }
        evil.language = Some(EVIL.to_owned());
        evil.charts = Some(EVIL.to_owned());
        for list in [&mut evil.said, &mut evil.next, &mut evil.remarks] {
            list.push(EVIL.to_owned());
        }
        evil.figures.insert(EVIL.to_owned(), EVIL.into());
        evil.settings
            .insert(EVIL.to_owned(), serde_json::json!([EVIL]));
        let mut all = Class::new(EVIL.to_owned(), vec![2], true);
        all.student(EVIL).levels.insert(2, vec![evil.clone()]);
        for page in [class(&all), run(&evil)] {
            for sign in ["<script", "<img", "onerror=alert(1)>'"] {
                assert!(!page.contains(sign), "{sign}: {page}");
            }
            assert!(page.contains("&lt;script&gt;"), "{page}");
            assert!(page.contains("default-src 'none'"), "{page}");
        }
    }
}
