//! Mutated requests: whatever comes in, nothing panics, memory stays bounded, and each refusal has its code and field.
//!
//! In process, fast, at each place where bytes from outside are read ([`inside`]); then over sockets, at the whole program
//! ([`outside`]). An input is a function of the seed, its kind and its number, so one that failed can be made again alone:
//!
//! - `PENSTOCK_FUZZ_SEED`: the run's seed; a random one otherwise. Every run prints it.
//! - `PENSTOCK_FUZZ_SECONDS`: how long the two go on, three and two fifths of it; otherwise a fixed number of requests, for
//!   `make test`.
//! - `PENSTOCK_FUZZ_LEAST`, `PENSTOCK_FUZZ_LEAST_CALLS`: how many the two must come to in that time.
//! - `PENSTOCK_FUZZ_ONLY`: `KIND:NUMBER` as a failure names it, to send that one and nothing else.
//!
//! Built as the other tests are, not for release: so an integer that overflows is a panic here.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "../e2e/house.rs"]
#[allow(dead_code)] // the other tests use the rest
mod house;
mod inside;
mod mutate;
mod outside;
mod report;
mod run;
mod shrink;

use run::Plan;

#[test]
fn nothing_read_in_process_panics_and_every_route_judges_alike() {
    inside::run(&Plan::from_environment(3, 40_000, 2, "PENSTOCK_FUZZ_LEAST"));
}

#[test]
fn the_whole_program_stands_and_refuses_by_name() {
    outside::run(&Plan::from_environment(2, 1_200, 6, "PENSTOCK_FUZZ_LEAST_CALLS"));
}
