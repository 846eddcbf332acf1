//! Requests and their answers: which page, and what may be done.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    http::{Response, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect},
    routing::{get, post},
};
use maud::Markup;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

use super::{
    access::{Access, Decision},
    pages,
    projects::Projects,
    runner::{Runner, StartError},
};
use crate::{
    grade, ladder,
    logbook::{Entry, Kept, Logbook, LogbookError, Selection},
    recording,
    web::{
        self,
        stream::{self, KEEP_ALIVE, NOTHING_NEW, RETRY, event},
    },
};

/// What a page may load and do.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// The same for the page of a run and for a class's pages, which have style and script in them.
const POLICY_OF_REPORTS: &str = "default-src 'none'; style-src 'unsafe-inline'; \
                                 script-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts";

/// A page that shows a run is drawn anew at most so often.
const DRAW: Duration = Duration::from_millis(200);

/// How often it is drawn anew while nothing happens but the time.
const TICK: Duration = Duration::from_secs(1);

/// How many results a list has.
const LIST_MAX: u32 = 200;

/// What all requests share.
#[derive(Debug)]
pub(super) struct App {
    pub access: Access,
    pub projects: Projects,
    pub runner: Runner,
    /// Where the history is, if there is a home.
    pub history: Option<PathBuf>,
    /// The folder of a grading.
    pub class: Option<PathBuf>,
    /// Places for pages that stay open.
    pub streams: Arc<Semaphore>,
}

type Shared = State<Arc<App>>;

/// What could not be answered: a status and a line.
struct Trouble(StatusCode, String);

impl IntoResponse for Trouble {
    fn into_response(self) -> Response<Body> {
        let page = pages::trouble(self.0, &self.1);
        (self.0, html(page)).into_response()
    }
}

impl From<LogbookError> for Trouble {
    fn from(error: LogbookError) -> Self {
        Self(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the history: {error}"),
        )
    }
}

fn missing(what: &str) -> Trouble {
    Trouble(StatusCode::NOT_FOUND, format!("there is no such {what}"))
}

type Answer = Result<Response<Body>, Trouble>;

/// All pages, behind the check of who asks.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/levels/{level}", get(level))
        .route("/runs/{project}/{stage}", post(start))
        .route("/stop", post(stop))
        .route("/live", get(live))
        .route("/live/events", get(live_events))
        .route("/history", get(history))
        .route("/results/{id}", get(result))
        .route("/results/{id}/report", get(report))
        .route("/compare", get(compare))
        .route("/class/", get(class))
        .route("/class/runs/{name}", get(class_run))
        .route("/style.css", get(|| async { file("text/css", web::STYLE) }))
        .route(
            "/dashboard.js",
            get(|| async { file("text/javascript", pages::SCRIPT) }),
        )
        .fallback(|| async { missing("page") })
        .method_not_allowed_fallback(|| async {
            let words = "nothing is done by opening its address: press the button on its page";
            Trouble(StatusCode::METHOD_NOT_ALLOWED, words.to_owned())
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), check))
        .with_state(app)
}

/// The token, where a query has it.
#[derive(Deserialize)]
struct Opening {
    token: Option<String>,
}

/// Lets in who may ask.
async fn check(State(app): Shared, request: Request, next: Next) -> Response<Body> {
    let opening = Query::<Opening>::try_from_uri(request.uri()).ok();
    let token = opening.and_then(|Query(opening)| opening.token);
    let decision = app
        .access
        .decide(request.method(), request.headers(), token.as_deref());
    match decision {
        // The token stays in nobody's address bar.
        Decision::Admit if token.is_some() => Redirect::to("/").into_response(),
        Decision::Admit => next.run(request).await,
        Decision::Exchange(cookie) => {
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Decision::Refuse(status, why) => (status, why).into_response(),
    }
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, format!("{kind}; charset=utf-8"))],
        text,
    )
}

fn html(page: Markup) -> Response<Body> {
    under(POLICY, page.into_string())
}

fn under(policy: &'static str, page: String) -> Response<Body> {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, Html(page)).into_response()
}

/// Does something that waits for files, on a thread that may.
async fn wait<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Trouble(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        ))
    })
}

/// Reads in the history; nothing of one that is not there.
async fn read<T: Default + Send + 'static>(
    app: &Arc<App>,
    read: impl FnOnce(&Logbook) -> Result<T, LogbookError> + Send + 'static,
) -> Result<T, Trouble> {
    let Some(path) = app.history.clone().filter(|path| path.exists()) else {
        return Ok(T::default());
    };
    wait(move || Ok(read(&Logbook::open(&path)?)?)).await
}

fn latest(level: Option<u8>, most: u32) -> Selection {
    Selection {
        level,
        most,
        ..Selection::default()
    }
}

async fn overview(State(app): Shared) -> Answer {
    let last = read(&app, |logbook| logbook.list(&latest(None, 10))).await;
    wait(move || {
        let last = last.as_deref().map_err(|trouble| trouble.1.as_str());
        Ok(html(pages::overview(&app, last)))
    })
    .await
}

async fn level(State(app): Shared, Path(level): Path<u8>) -> Answer {
    if level >= ladder::LEVELS {
        return Err(missing("level"));
    }
    wait(move || Ok(html(pages::level(&app, level)))).await
}

async fn start(State(app): Shared, Path((number, stage)): Path<(usize, u8)>) -> Answer {
    wait(move || {
        let project = app.projects.get(number);
        let project = project.ok_or_else(|| missing("registered folder"))?;
        let unfit = |error: anyhow::Error| Trouble(StatusCode::CONFLICT, format!("{error:#}"));
        let project = project.map_err(unfit)?;
        ladder::Attempt::new(project.manifest().level, stage)
            .map_err(|error| Trouble(StatusCode::NOT_FOUND, error.to_string()))?;
        match app.runner.start(&project, stage) {
            Ok(()) => Ok(Redirect::to("/live").into_response()),
            Err(error @ StartError::Busy) => Err(Trouble(StatusCode::CONFLICT, error.to_string())),
            Err(error) => Err(Trouble(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
            )),
        }
    })
    .await
}

async fn stop(State(app): Shared) -> Redirect {
    app.runner.stop();
    Redirect::to("/live")
}

async fn live(State(app): Shared) -> Answer {
    Ok(html(pages::live(&app)))
}

/// The run as a stream: the part of the page that shows it, whenever it has changed.
async fn live_events(State(app): Shared) -> Response<Body> {
    let Ok(place) = Arc::clone(&app.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n").into_response();
    };
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(send_views(app, sender));
    stream::answer(chunks, place)
}

/// Ends when nobody reads any more, or the runner is closed.
async fn send_views(app: Arc<App>, chunks: mpsc::Sender<Bytes>) {
    let mut state = app.runner.watch();
    let mut shown = Bytes::new();
    if chunks.send(RETRY.into()).await.is_err() {
        return;
    }
    loop {
        let last = state.borrow_and_update().clone();
        let view = Bytes::from(event("run", &pages::run(last.as_deref()).into_string()));
        // A page that is being read is not drawn anew for nothing.
        let chunk = if view == shown {
            NOTHING_NEW.into()
        } else {
            view.clone()
        };
        if app.runner.is_closed() || chunks.send(chunk).await.is_err() {
            return;
        }
        shown = view;
        tokio::time::sleep(DRAW).await;
        // How long it has been running is on the page, even while nothing happens.
        let goes_on = last.is_some_and(|run| !run.is_over());
        let patience = if goes_on { TICK } else { KEEP_ALIVE };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            () = chunks.closed() => return,
            () = tokio::time::sleep(patience) => {}
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    level: Option<u8>,
}

async fn history(State(app): Shared, Query(listed): Query<Listed>) -> Answer {
    let level = listed.level.filter(|&level| level < ladder::LEVELS);
    let list = read(&app, move |logbook| logbook.list(&latest(level, LIST_MAX))).await?;
    Ok(html(pages::history(&list, level)))
}

async fn get_kept(app: &Arc<App>, id: i64) -> Result<Kept, Trouble> {
    let kept = read(app, move |logbook| logbook.get(id)).await?;
    kept.ok_or_else(|| missing("result (any more)"))
}

async fn result(State(app): Shared, Path(id): Path<i64>) -> Answer {
    let kept = get_kept(&app, id).await?;
    let solution = kept.entry.solution.clone();
    let level = kept.entry.level;
    let others: Vec<Entry> = read(&app, move |logbook| {
        logbook.list(&Selection {
            level,
            solution: Some(solution),
            most: 20,
        })
    })
    .await?;
    Ok(html(pages::result(&kept, &others)))
}

async fn report(State(app): Shared, Path(id): Path<i64>) -> Answer {
    let kept = get_kept(&app, id).await?;
    let drawn = kept
        .recording
        .ok_or_else(|| missing("recording (any more)"))?;
    wait(move || {
        let page = recording::page(&kept.result, drawn);
        Ok(under(POLICY_OF_REPORTS, page))
    })
    .await
}

#[derive(Deserialize)]
struct Pair {
    a: i64,
    b: i64,
}

async fn compare(State(app): Shared, uri: Uri) -> Answer {
    let Ok(Query(Pair { a, b })) = Query::<Pair>::try_from_uri(&uri) else {
        let words = "choose two results in the history: one in each column";
        return Err(Trouble(StatusCode::BAD_REQUEST, words.to_owned()));
    };
    let (a, b) = (get_kept(&app, a).await?, get_kept(&app, b).await?);
    wait(move || Ok(html(pages::compare(&a, &b)))).await
}

async fn class(State(app): Shared) -> Answer {
    let folder = app
        .class
        .clone()
        .ok_or_else(|| missing("class: --class names the folder"))?;
    wait(move || {
        let class = grade::Scoreboard::load(&folder)
            .map_err(|error| Trouble(StatusCode::NOT_FOUND, format!("{error:#}")))?;
        Ok(html(pages::class(&class)))
    })
    .await
}

/// A page of a run of a class.
async fn class_run(State(app): Shared, Path(name): Path<String>) -> Answer {
    let folder = app.class.clone().ok_or_else(|| missing("class"))?;
    wait(move || {
        let page = grade::Scoreboard::run_page(&folder, &name);
        let page = page.ok_or_else(|| missing("page of a run"))?;
        Ok(under(POLICY_OF_REPORTS, page))
    })
    .await
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use tower::ServiceExt;

    use super::*;

    struct Browser {
        app: Arc<App>,
        cookie: String,
        home: tempfile::TempDir,
    }

    impl Browser {
        /// A dashboard of one project, and a browser that was let in.
        async fn open() -> Self {
            let home = tempfile::tempdir().unwrap();
            let folder = home.path().join("mine <b>");
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("ctf3.toml"), "level = 0\nrun = './no such'").unwrap();
            let access = Access::new("127.0.0.1:8014".parse().unwrap());
            let url = access.url();
            let app = Arc::new(App {
                access,
                projects: Projects::find(&[home.path().to_owned()]).unwrap(),
                runner: Runner::new(false),
                history: Some(home.path().join("history.sqlite")),
                class: None,
                streams: Arc::new(Semaphore::new(2)),
            });
            let mut browser = Self {
                app,
                cookie: String::new(),
                home,
            };
            let opened = browser
                .ask(
                    Method::GET,
                    url.strip_prefix("http://127.0.0.1:8014").unwrap(),
                )
                .await;
            assert_eq!(opened.status(), StatusCode::SEE_OTHER);
            assert_eq!(opened.headers()["location"], "/");
            let cookie = opened.headers()["set-cookie"].to_str().unwrap();
            browser.cookie = cookie.split(';').next().unwrap().to_owned();
            browser
        }

        async fn ask(&self, method: Method, path: &str) -> Response<Body> {
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("host", "127.0.0.1:8014")
                .header("cookie", &self.cookie);
            let request = if method == Method::POST {
                request.header("origin", "http://127.0.0.1:8014")
            } else {
                request
            };
            let request = request.body(Body::empty()).unwrap();
            router(Arc::clone(&self.app))
                .oneshot(request)
                .await
                .unwrap()
        }

        async fn page(&self, path: &str) -> String {
            let answer = self.ask(Method::GET, path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            let body = axum::body::to_bytes(answer.into_body(), 16 << 20)
                .await
                .unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        }
    }

    #[tokio::test]
    async fn every_page_is_there_and_escapes_names() {
        let browser = Browser::open().await;
        for path in [
            "/",
            "/levels/0",
            "/levels/4",
            "/live",
            "/history",
            "/history?level=2",
        ] {
            let page = browser.page(path).await;
            assert!(page.starts_with("<!DOCTYPE html>"), "{path}");
            assert!(!page.contains("mine <b>"), "{path}");
        }
        assert!(browser.page("/").await.contains("mine &lt;b&gt;"));
        let level = browser.page("/levels/0").await;
        assert!(
            level.contains("<details>") && level.contains("/runs/0/1"),
            "{level}"
        );
        assert!(browser.page("/style.css").await.contains("--paper"));
    }

    #[tokio::test]
    async fn a_history_that_cannot_be_read_hides_nothing_else() {
        let browser = Browser::open().await;
        std::fs::write(browser.home.path().join("history.sqlite"), "no database").unwrap();
        let page = browser.page("/").await;
        assert!(page.contains("file is not a database"), "{page}");
        assert!(page.contains("mine &lt;b&gt;"), "{page}");
        let answer = browser.ask(Method::GET, "/history").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn what_is_not_there_says_so() {
        let browser = Browser::open().await;
        for (path, status) in [
            ("/levels/5", StatusCode::NOT_FOUND),
            ("/results/7", StatusCode::NOT_FOUND),
            ("/results/7/report", StatusCode::NOT_FOUND),
            ("/compare", StatusCode::BAD_REQUEST),
            ("/compare?a=1&b=2", StatusCode::NOT_FOUND),
            ("/class/", StatusCode::NOT_FOUND),
            ("/class/runs/..%2f..%2fetc%2fpasswd", StatusCode::NOT_FOUND),
            ("/etc/passwd", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(
                browser.ask(Method::GET, path).await.status(),
                status,
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_is_run_that_is_not_a_stage_of_a_registered_folder() {
        let browser = Browser::open().await;
        for path in [
            "/runs/1/1",
            "/runs/0/0",
            "/runs/0/200",
            "/runs/18446744073709551615/1",
        ] {
            let answer = browser.ask(Method::POST, path).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        }
        for path in ["/runs/-1/1", "/runs/%2Fbin%2Fsh/1", "/runs/0/x"] {
            assert!(
                browser
                    .ask(Method::POST, path)
                    .await
                    .status()
                    .is_client_error(),
                "{path}"
            );
        }
        let by_link = browser.ask(Method::GET, "/runs/0/1").await;
        assert_eq!(by_link.status(), StatusCode::METHOD_NOT_ALLOWED);
        // A manifest that has become bad since.
        std::fs::write(browser.home.path().join("mine <b>/ctf3.toml"), "level = 0").unwrap();
        let answer = browser.ask(Method::POST, "/runs/0/1").await;
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        assert!(browser.app.runner.last().is_none());
    }

    #[tokio::test]
    async fn who_was_not_let_in_sees_nothing() {
        let mut browser = Browser::open().await;
        browser.cookie = "harness-8014=00000000000000000000000000000000".into();
        for path in [
            "/",
            "/history",
            "/live/events",
            "/style.css",
            "/nothing",
            "/?token=0",
        ] {
            let answer = browser.ask(Method::GET, path).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        }
        let answer = browser.ask(Method::POST, "/stop").await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
}
