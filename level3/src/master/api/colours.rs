//! `/colours`: which parts of a file are comments, strings, keywords.
//!
//! The page asks for it when the text is there already. One file at a time is coloured, on a thread
//! of its own and until a deadline, so that no file can take the processors away from searches.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State as Shared};
use axum::http::HeaderValue;
use axum::response::IntoResponse as _;

use super::stream::STATE;
use super::{Answer, Master, browse, parameters};
use crate::syntax;

/// Answers `/colours`.
pub(super) async fn answer(Shared(master): Shared<Arc<Master>>, query: RawQuery) -> Answer {
    let parameters = parameters(query)?;
    parameters.required("path")?;
    let path = parameters.text("path")?.unwrap_or_default().to_owned();
    let root = parameters.text("root")?.unwrap_or_default();
    let _turn = master.gates.colours.acquire().await;
    let (tree, text) = browse::text(&master, root, &path).await?;
    let deadline = Instant::now() + master.config.colour_time_limit;
    let work = move || syntax::colour(&path, &String::from_utf8_lossy(&text), deadline);
    let colours = tokio::task::spawn_blocking(work).await;
    // Colours are no part of the text: a grammar that fails leaves it plain.
    let colours = colours.unwrap_or_default();
    Ok((
        [(STATE, HeaderValue::from(tree.state.job))],
        axum::Json(colours),
    )
        .into_response())
}
