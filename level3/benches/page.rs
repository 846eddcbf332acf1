//! How long the page takes from a key to results: `cargo bench -p level3 --bench page -- FOLDER`.
//!
//! A person types 30 queries into the page in headless Chromium, letter by letter, and waits after
//! each. For every prefix the page's own clock measures from the event of the key to the moment
//! when 50 hits of that prefix are in the document, or all of them if they are fewer. Server and
//! browser share this machine, as they do on a developer's. Meant for the source of Linux, but any
//! folder will do.

#![allow(clippy::unwrap_used, reason = "a benchmark ends where it cannot go on")]

#[path = "../tests/common/browser.rs"]
mod browser;
#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::time::Duration;

use browser::Browser;
use common::Cluster;

/// What people look for in the source of Linux: names, beginnings of statements, people.
const QUERIES: [&str; 30] = [
    "mutex_lock",
    "sched_domain",
    "kmalloc",
    "static inline",
    "EXPORT_SYMBOL_GPL",
    "container_of",
    "spin_lock_irqsave",
    "printk",
    "struct task_struct",
    "copy_from_user",
    "list_for_each_entry",
    "module_init",
    "return 0",
    "#define",
    "rcu_read_lock",
    "net_device",
    "TODO",
    "of_match_table",
    "dma_alloc_coherent",
    "schedule_timeout",
    "GFP_KERNEL",
    "ioremap",
    "page_fault",
    "ext4_inode",
    "tcp_sendmsg",
    "kfree",
    "unlikely",
    "Linus Torvalds",
    "early_param",
    "zswap",
];

/// From the results of one letter to the next letter: who types 120 words a minute has 100 ms a letter. By
/// then the browser has painted the results.
const KEY_GAP: Duration = Duration::from_millis(100);

/// What the page should keep, in milliseconds.
const P95_GOAL: f64 = 30.0;
const WORST_GOAL: f64 = 100.0;

/// In the page: notes when a key goes down, and how long its results take.
const CLOCK: &str = "
    window.samples = [];
    let pressed = null;
    let waiting = null;
    window.shown = (text) => new Promise((done) => {
        waiting = () => { if (window.samples.at(-1)?.[0] === text) { waiting = null; done(true); } };
        waiting();
    });
    let asked = 0, answered = 0;
    const fetched = window.fetch;
    window.fetch = async (...what) => {
        asked = performance.now();
        const answer = await fetched(...what);
        answered = performance.now();
        return answer;
    };
    const box = document.querySelector('#query');
    const results = document.querySelector('#results');
    document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
    new MutationObserver(() => {
        if (pressed === null || results.dataset.query !== box.value) return;
        const shown = results.querySelectorAll('a.open').length;
        if (shown < 50 && !document.querySelector('#more').hidden) return;
        const now = performance.now();
        window.samples.push([box.value, now - pressed, shown, asked - pressed, answered - asked, now - answered]);
        pressed = null;
        waiting?.();
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
";

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let Some(folder) = folder.map(PathBuf::from) else {
        println!("skipped: name a folder, such as the source of Linux");
        return;
    };
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let cluster = Cluster::start(3, |config| config.node_timeout = Duration::from_mins(10));
    cluster.master.index(&folder.canonicalize().unwrap());
    browser.open(&format!("http://{}/", cluster.master.address));
    browser.value(CLOCK);
    let mut samples = Vec::new();
    // The first round warms up the caches of the system and of the browser.
    for round in 0..2 {
        for query in QUERIES {
            browser.value("document.querySelector('#query').select()");
            for (at, letter) in query.char_indices() {
                std::thread::sleep(KEY_GAP);
                browser.keys(&letter.to_string());
                let prefix = serde_json::Value::from(&query[..at + letter.len_utf8()]);
                // Looking again and again would take the page's time.
                browser.value(&format!("window.shown({prefix})"));
            }
        }
        let measured = browser.value("window.samples.splice(0)");
        if round == 1 {
            samples = serde_json::from_value::<Vec<Sample>>(measured).unwrap();
        }
    }
    report(samples);
}

/// A prefix, milliseconds from the key to its results, and how many there are; then the parts: until the
/// server is asked, until its answer begins, until the results are there.
type Sample = (String, f64, u64, f64, f64, f64);

/// A time of a sample, in milliseconds.
type Time = fn(&Sample) -> f64;

fn report(mut samples: Vec<Sample>) {
    samples.sort_by(|a, b| a.1.total_cmp(&b.1));
    let quantile = |share: f64, of: Time| {
        let mut times: Vec<f64> = samples.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        times[(times.len() as f64 * share) as usize]
    };
    println!("prefixes   {:>8}", samples.len());
    println!("median     {:>8.1} ms", quantile(0.5, |sample| sample.1));
    println!(
        "p95        {:>8.1} ms (goal {P95_GOAL} ms)",
        quantile(0.95, |sample| sample.1)
    );
    let slowest = samples.iter().rev();
    println!(
        "worst      {:>8.1} ms (goal {WORST_GOAL} ms)",
        samples[samples.len() - 1].1
    );
    let parts: [(&str, Time); 3] = [
        ("key to request", |sample| sample.3),
        ("request to answer", |sample| sample.4),
        ("answer to results", |sample| sample.5),
    ];
    for (name, part) in parts {
        println!(
            "{name:<18} median {:>5.1} ms, p95 {:>5.1} ms",
            quantile(0.5, part),
            quantile(0.95, part)
        );
    }
    for (prefix, time, hits, ..) in slowest.take(5) {
        println!("           {time:>8.1} ms for {prefix:?}, {hits} hits");
    }
}
