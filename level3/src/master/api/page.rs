//! The page for people: static files, part of the binary.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::failure::Failure;
use super::{Answer, Master};

const HTML: &str = include_str!("../../../assets/index.html");

const HELP: &str = include_str!("../../../assets/help.html");

/// What stands in the page for the address of the user's editor.
const EDITOR_URL: &str = "{editor-url}";

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the folder `assets`, by its name: its kind and its text.
macro_rules! asset {
    ($name:literal, $kind:expr) => {
        (
            $name,
            $kind,
            include_str!(concat!("../../../assets/", $name)),
        )
    };
}

/// What the page loads.
const ASSETS: [(&str, &str, &str); 19] = [
    asset!("icon.svg", SVG),
    asset!("style/colours.css", CSS),
    asset!("style/layout.css", CSS),
    asset!("page/address.js", SCRIPT),
    asset!("page/api.js", SCRIPT),
    asset!("page/copy.js", SCRIPT),
    asset!("page/dom.js", SCRIPT),
    asset!("page/facets.js", SCRIPT),
    asset!("page/file.js", SCRIPT),
    asset!("page/filters.js", SCRIPT),
    asset!("page/folder.js", SCRIPT),
    asset!("page/hint.js", SCRIPT),
    asset!("page/keys.js", SCRIPT),
    asset!("page/lines.js", SCRIPT),
    asset!("page/main.js", SCRIPT),
    asset!("page/problem.js", SCRIPT),
    asset!("page/results.js", SCRIPT),
    asset!("page/roots.js", SCRIPT),
    asset!("page/search.js", SCRIPT),
];

/// The page itself, which is the same for all its addresses.
pub(super) fn index(master: &Master) -> Response {
    let editor = escaped(master.config.editor_url.as_deref().unwrap_or_default());
    respond(
        "text/html; charset=utf-8",
        HTML.replace(EDITOR_URL, &editor),
    )
}

/// What can be written in the query, and how results are put in order.
pub(super) async fn help() -> Response {
    respond("text/html; charset=utf-8", HELP.to_owned())
}

/// A file or folder of the tree, which the page shows.
pub(super) async fn view(State(master): State<Arc<Master>>) -> Response {
    index(&master)
}

/// What the page loads.
pub(super) async fn asset(Path(name): Path<String>) -> Answer {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let &(_, kind, text) = found.ok_or_else(|| Failure::not_found("no such page"))?;
    Ok(respond(kind, text.to_owned()))
}

fn respond(kind: &'static str, text: String) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Indexed text is shown as text; should any ever get through as markup, it runs nothing.
    let policy = HeaderValue::from_static(
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    );
    // Another version of the program has another page at the same address.
    let caching = (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let policy = (header::CONTENT_SECURITY_POLICY, policy);
    ([kind, policy, caching], text).into_response()
}

/// Text for the value of an attribute.
fn escaped(text: &str) -> String {
    let escape = |letter| match letter {
        '&' => "&amp;".to_owned(),
        '"' => "&quot;".to_owned(),
        '<' => "&lt;".to_owned(),
        letter => letter.to_string(),
    };
    text.chars().map(escape).collect()
}
