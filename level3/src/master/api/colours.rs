//! `/colours`: which parts of a file are comments, strings, keywords.
//!
//! The page asks for it when the text is there already. One file at a time is coloured, on a thread
//! of its own, so that no file can take the processors away from searches. Its deadline is looked at
//! between lines; a line that a grammar takes minutes for is waited for by nobody, neither by who
//! asked nor by the end of the program.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State as Shared};
use axum::http::HeaderValue;
use axum::response::IntoResponse as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::stream::STATE;
use super::{Answer, Master, browse, parameters};
use crate::syntax::{self, Colours};

/// Answers `/colours`.
pub(super) async fn answer(Shared(master): Shared<Arc<Master>>, query: RawQuery) -> Answer {
    let parameters = parameters(query)?;
    parameters.required("path")?;
    let path = parameters.text("path")?.unwrap_or_default().to_owned();
    let root = parameters.text("root")?.unwrap_or_default();
    let (tree, text) = browse::text(&master, root, &path).await?;
    let limit = master.config.colour_time_limit;
    let coloured = async {
        let turn = Arc::clone(&master.gates.colours)
            .acquire_owned()
            .await
            .ok()?;
        let (sender, coloured) = oneshot::channel();
        let work = move || {
            let deadline = Instant::now() + limit;
            let colours = syntax::colour(&path, &String::from_utf8_lossy(&text), deadline);
            // The next file has its turn when this one is really done.
            drop(turn);
            // Nobody may be waiting any more.
            drop(sender.send(colours));
        };
        // Its end is not waited for: one that does not end must not keep the program from ending.
        std::thread::Builder::new()
            .name("colours".to_owned())
            .spawn(work)
            .ok()?;
        coloured.await.ok()
    };
    // Colours are no part of the text: without them it is plain.
    let colours = timeout(limit * 2, coloured).await.ok().flatten();
    let colours = colours.unwrap_or_else(|| Colours {
        ended: Some("colours took too long"),
        ..Colours::default()
    });
    Ok((
        [(STATE, HeaderValue::from(tree.state.job))],
        axum::Json(colours),
    )
        .into_response())
}
