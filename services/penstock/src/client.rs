//! What speaks to a server from a terminal.
//!
//! [`run`] finds out which server is meant ([`profile`]) and has the command done: what is managed in [`manage`], what is kept of events and
//! changes in [`kept`], a look at all that may be unwell in [`doctor`], what tenants cost in [`cost`],
//! events and answers in files of their own. Calls go by [`link`], answers are written by [`show`], and [`error`] says what is wrong and what to do next, where nothing was heard with
//! [`probe`]'s help.

mod backup;
mod bench;
pub(crate) mod cost;
mod dashboard;
mod demo;
mod doctor;
mod error;
mod export;
mod kept;
mod link;
mod manage;
mod metric;
pub(crate) mod ops;
mod probe;
mod profile;
mod send;
mod settings;
mod show;
mod sql;
mod tail;
mod watch;

pub(crate) use doctor::cluster as doctor_cluster;
pub(crate) use error::{ClientError, Complaint};
pub(crate) use profile::{login, profile};
pub(crate) use show::{Progress, Show, complain};

use crate::cli::ClientCommand;
use link::{Keyed, Link, keyed};
use profile::Target;

/// Does what a command asks of a server.
pub(crate) async fn run(command: ClientCommand, show: &mut Show) -> Result<(), ClientError> {
    let target = Target::of(command.server())?;
    match perform(command, &target, show).await {
        Err(error) if error.is_unheard() => Err(probe::explain(&target.server, error).await),
        outcome => outcome,
    }
}

async fn perform(command: ClientCommand, target: &Target, show: &mut Show) -> Result<(), ClientError> {
    match command {
        ClientCommand::Doctor { arguments, .. } => doctor::doctor(target, arguments, show).await,
        ClientCommand::Whoami { .. } => manage::whoami(target, show).await,
        ClientCommand::Tenant { command, .. } => manage::tenant(target, command, show).await,
        ClientCommand::App { command, .. } => manage::app(target, command, show).await,
        ClientCommand::Key { command, .. } => manage::key(target, command, show).await,
        ClientCommand::Report { command, .. } => manage::report(target, command, show).await,
        ClientCommand::Replay { command, .. } => manage::replay(target, command, show).await,
        ClientCommand::Topic { command, .. } => manage::topic(target, command, show).await,
        ClientCommand::Cost { arguments, .. } => cost::cost(target, arguments, show).await,
        ClientCommand::Backup { .. } => backup::backup(target, show).await,
        ClientCommand::Send { mut arguments, .. } => {
            target.app(&mut arguments.app);
            send::send(target, arguments, show).await
        }
        ClientCommand::Demo { mut arguments, .. } => {
            target.app(&mut arguments.app);
            demo::demo(target, arguments, show).await
        }
        // Not the profile's app: that one is in use.
        ClientCommand::Bench { arguments, .. } => bench::bench(target, arguments, show).await,
        ClientCommand::Sql { mut arguments, .. } => {
            target.app(&mut arguments.app);
            sql::sql(target, arguments, show).await
        }
        ClientCommand::Watch { mut arguments, .. } => {
            target.app(&mut arguments.app);
            watch::watch(target, arguments, show).await
        }
        ClientCommand::Tail { mut arguments, .. } => {
            target.app(&mut arguments.app);
            tail::tail(target, arguments, show).await
        }
        ClientCommand::Metric { app, command, .. } => metric::metric(target, app, command, show).await,
        ClientCommand::Dashboard { app, command, .. } => dashboard::dashboard(target, app, command, show).await,
        ClientCommand::Reconcile { arguments, .. } => kept::reconcile(target, arguments, show).await,
        ClientCommand::DeadLetters { of, .. } => kept::dead_letters(target, of, show).await,
        ClientCommand::Erasure { command, .. } => kept::erasure(target, command, show).await,
        ClientCommand::Audit { command, .. } => kept::audit(target, command, show).await,
        ClientCommand::Export { mut arguments, .. } => {
            target.app(&mut arguments.app);
            export::export(target, arguments, show).await
        }
    }
}
