//! What all pages have around them.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

/// Beside the common style sheet.
pub(in super::super) const STYLE: &str = include_str!("dashboard.css");
pub(in super::super) const SCRIPT: &str = include_str!("dashboard.js");

/// A page.
pub(super) fn frame(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
                link rel="stylesheet" href="/dashboard.css";
                title { (title) " · harness" }
                script src="/dashboard.js" defer {}
            }
            body {
                header { nav {
                    a href="/" { "Overview" }
                    a href="/live" { "Live" }
                    a href="/history" { "History" }
                } }
                main { (content) }
            }
        }
    }
}

/// A page that says what is wrong.
pub(in super::super) fn trouble(status: StatusCode, words: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Error");
    frame(
        title,
        &html! { h1 { (title) } p { (words) } p { a href="/" { "Overview" } } },
    )
}
