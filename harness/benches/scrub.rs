//! How fluent the page of a trace is, in headless Chromium: how long until it is drawn, and how long the frames
//! take while somebody drags the cursor from one end of the run to the other, at three sizes of the view.
//!
//! ```sh
//! harness trace run --html run.html && cargo bench -p harness --bench scrub -- run.html
//! ```
#![allow(
    clippy::unwrap_used,
    reason = "what cannot be measured is the end of it"
)]

#[path = "../../level3/tests/common/browser.rs"]
mod browser;

use std::path::PathBuf;

use browser::Browser;
use clap::Parser;
use serde_json::Value;

/// Measures a page of `harness trace` in headless Chromium.
#[derive(Parser)]
struct Flags {
    /// The page
    page: PathBuf,
    /// Frames of each drag
    #[arg(long, default_value_t = 300)]
    frames: u32,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Drags the cursor through the run, a step a frame, and gives the times between frames, in ms.
const DRAG: &str = "new Promise(done => {
  const times = [], steps = FRAMES; let step = 0, last;
  const frame = now => {
    if (last !== undefined) times.push(now - last);
    last = now;
    if (step > steps) return done(times);
    moveCursor(app, app.view.length * step++ / steps);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})";

fn main() {
    let Flags { page, frames, .. } = Flags::parse();
    let url = format!("file://{}", std::path::absolute(page).unwrap().display());
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&url);
    browser.until("document.documentElement.dataset.ready");
    let drawn = browser.value("performance.getEntriesByName('drawn')[0]?.startTime");
    let about = browser.value("document.querySelector('#about').innerText");
    println!("{}", about.as_str().unwrap_or_default().replace('\n', " "));
    println!("drawn after {:.0} ms", drawn.as_f64().unwrap_or(f64::NAN));
    for (name, share) in [("everything", 1.0), ("a tenth", 0.1), ("a hundredth", 0.01)] {
        browser.value(&format!("show(app, 0, app.view.length * {share})"));
        let drag = DRAG.replace("FRAMES", &frames.to_string());
        let times = browser.value(&drag);
        let times = times.as_array().unwrap().iter().filter_map(Value::as_f64);
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        println!(
            "{name} in view: frames of {:.1} ms (median), {:.1} ms (p95), {:.1} ms (longest)",
            at(0.5),
            at(0.95),
            at(1.0)
        );
    }
}
