//! Runs, simulates, judges and scores solutions to the five levels of Stripe's third
//! Capture the Flag (2014), and simulates flaky networks between real processes.
#![forbid(unsafe_code)]
