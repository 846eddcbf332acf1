//! Runs, simulates, judges and scores solutions to the five levels of Stripe's third
//! Capture the Flag (2014).
//!
//! A *solution* is a program that plays a level; a *case* is one test of it; a *result* is what
//! judging a case gave. Each level has a folder (`levelN`) with its world, its judge and its
//! command line; what levels share has modules of its own:
//!
//! - [`solution`] finds or builds the program; [`octopus`] gives it a private folder, runs it as a
//!   process group that never outlives us, and simulates flaky networks;
//! - [`case`] reads original case files, [`classic`] accepts the flags of 2014, [`duration`],
//!   [`level_arg`] and [`monkey_args`] those of today; [`dry_run`] shows what monkeys will do, [`live`] what they do, and [`live_feed`] tells programs;
//! - [`report`] collects results, says the verdicts, and prints them for people and for programs;
//!   [`settings`] is what a case was judged with, [`noise`] what else the machine had to do;
//! - [`recording`] writes what happened in a run as events and as a page with charts,
//!   [`output_file`] tries files before a run, [`input_file`] reads those that somebody names;
//! - [`logbook`] is the history of results, kept in the user's data folder;
//! - [`trace`] is what several nodes wrote down of a run, as a page;
//! - [`timeline`] makes the charts of a run on the flaky network from its event log;
//! - [`texts`] has the problems as players read them, [`kits`] small solutions to begin with,
//!   [`ladder`] the stages between the two and the contest; [`project`] is a player's folder;
//! - [`dashboard`] shows all that in a browser;
//! - [`grade`] judges the solutions of a class, in sandboxes;
//! - [`web`] is what the servers of pages have in common;
//! - [`memory`] is how much of it a program had; [`solution_log`] keeps what a long-running solution says;
//! - [`http`] reads answers and requests, bounded and in pieces.
//!
//! Judges share data with the solutions (the word list), never code.
#![forbid(unsafe_code)]

pub mod case;
pub mod classic;
pub mod cli;
pub mod console;
pub mod dashboard;
pub mod dry_run;
pub mod duration;
pub mod grade;
pub mod http;
pub mod input_file;
pub mod kits;
pub mod ladder;
pub mod level0;
pub mod level1;
pub mod level2;
pub mod level3;
pub mod level4;
pub mod level_arg;
pub mod live;
pub mod live_feed;
pub mod logbook;
pub mod memory;
pub mod monkey_args;
pub mod noise;
pub mod output_file;
pub mod project;
pub mod recording;
pub mod report;
pub mod settings;
pub mod simulate;
pub mod solution;
pub mod solution_log;
pub mod system;
pub mod texts;
pub mod timeline;
pub mod trace;
mod traced;
pub mod web;
pub mod workload;
