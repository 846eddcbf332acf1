//! What all pages have around them.

use axum::http::StatusCode;
use maud::{Markup, html};

use crate::web;

/// Keeps the page of a run current.
pub(in super::super) const SCRIPT: &str = include_str!("dashboard.js");

/// A page.
pub(super) fn frame(title: &str, content: &Markup) -> Markup {
    let head = html! {
        link rel="stylesheet" href="/style.css";
        script src="/dashboard.js" defer {}
    };
    let body = html! {
        body {
            header { nav {
                a href="/" { "Overview" }
                a href="/live" { "Live" }
                a href="/history" { "History" }
            } }
            main { (content) }
        }
    };
    web::frame(&format!("{title} · harness"), &head, &body)
}

/// A page that says what is wrong.
pub(in super::super) fn trouble(status: StatusCode, words: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Error");
    frame(
        title,
        &html! { h1 { (title) } p { (words) } p { a href="/" { "Overview" } } },
    )
}
