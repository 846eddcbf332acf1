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

/// What the page should keep, in milliseconds.
const P95_GOAL: f64 = 30.0;
const WORST_GOAL: f64 = 100.0;

/// In the page: notes when a key goes down, and how long its results take.
const CLOCK: &str = "
    window.samples = [];
    let pressed = null;
    const box = document.querySelector('#query');
    const results = document.querySelector('#results');
    document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
    new MutationObserver(() => {
        if (pressed === null || results.dataset.query !== box.value) return;
        const shown = results.querySelectorAll('a.open').length;
        if (shown < 50 && !document.querySelector('#more').hidden) return;
        window.samples.push([box.value, performance.now() - pressed, shown]);
        pressed = null;
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
                browser.keys(&letter.to_string());
                let prefix = serde_json::Value::from(&query[..at + letter.len_utf8()]);
                browser.until(&format!("window.samples.at(-1)?.[0] === {prefix}"));
            }
        }
        let measured = browser.value("window.samples.splice(0)");
        if round == 1 {
            samples = serde_json::from_value::<Vec<(String, f64, u64)>>(measured).unwrap();
        }
    }
    report(samples);
}

fn report(mut samples: Vec<(String, f64, u64)>) {
    samples.sort_by(|a, b| a.1.total_cmp(&b.1));
    let quantile = |share: f64| samples[(samples.len() as f64 * share) as usize].1;
    println!("prefixes   {:>8}", samples.len());
    println!("median     {:>8.1} ms", quantile(0.5));
    println!("p95        {:>8.1} ms (goal {P95_GOAL} ms)", quantile(0.95));
    let slowest = samples.iter().rev();
    println!(
        "worst      {:>8.1} ms (goal {WORST_GOAL} ms)",
        samples[samples.len() - 1].1
    );
    for (prefix, time, hits) in slowest.take(5) {
        println!("           {time:>8.1} ms for {prefix:?}, {hits} hits");
    }
}
