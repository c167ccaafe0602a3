//! The whole product as users meet it: the real program, the real engine, real clients.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

mod account;
mod alone {
    //! Tests that disturb the stand have it for themselves: `make test` runs all that are in a module of this name beside the others, on a stand of their own.

    pub mod faults;
}
mod attacks;
mod audit;
mod backup;
mod bodies;
mod branding;
mod canary;
mod clients;
mod cluster;
mod cold;
mod command_line;
mod console;
mod cost;
mod crash;
mod dialect;
mod disk;
mod doctor;
mod edge;
mod erasure;
mod errors;
mod every;
mod export;
mod filters;
mod flow;
mod grafana;
mod grow;
mod hostile;
mod house;
mod isolation;
mod kept;
mod keys;
mod late;
mod libraries;
mod live;
mod load;
mod managing;
mod oracle;
mod permissions;
mod polyglot;
mod protocols;
mod readme;
mod receiver;
mod replay;
mod reports;
mod retention;
mod settings;
mod stand;
mod states;
mod story;
mod streams;
mod tokens;
mod trace;
mod turns;
mod warehouse;
