//! The whole product as users meet it: the real program, the real engine, real clients.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

mod attacks;
mod clients;
mod crash;
mod every;
mod house;
mod isolation;
mod load;
mod oracle;
mod story;
