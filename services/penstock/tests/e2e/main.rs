//! The whole product as users meet it: the real program, the real engine, real clients.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

mod account;
mod attacks;
mod bodies;
mod canary;
mod clients;
mod cold;
mod crash;
mod dialect;
mod disk;
mod erasure;
mod every;
mod export;
mod faults;
mod flow;
mod grow;
mod house;
mod isolation;
mod kept;
mod late;
mod live;
mod load;
mod oracle;
mod permissions;
mod polyglot;
mod protocols;
mod readme;
mod replay;
mod reports;
mod retention;
mod stand;
mod story;
mod streams;
mod trace;
mod turns;
mod warehouse;
