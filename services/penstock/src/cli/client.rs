//! The commands that speak to a server, and which server that is.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{
    AppCommand, AuditCommand, BenchArguments, DashboardCommand, DemoArguments, ErasureCommand, ExportArguments,
    KeyCommand, MetricCommand, OfApp, OfTenant, ReconcileArguments, ReplayCommand, ReportCommand, SendArguments,
    ServeArguments, SqlArguments, TailArguments, TenantCommand, TopicCommand, WatchArguments,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Look at a server and say what isn't well, why, and what to do; fails if something is wrong.
    #[command(args_conflicts_with_subcommands = true)]
    Doctor {
        #[command(subcommand)]
        what: Option<DoctorCommand>,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: DoctorArguments,
    },
    /// Say what the key may do, and its apps.
    Whoami {
        #[command(flatten)]
        server: Server,
    },
    /// Send the events of a file, or of standard input; the same file again counts once.
    Send {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: SendArguments,
    },
    /// Send a made shop's past week, and then what happens in it, until Ctrl-C.
    Demo {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: DemoArguments,
    },
    /// Measure a server: how fast it takes events, answers, and has the one in the other; in an app of its own.
    Bench {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: BenchArguments,
    },
    /// Ask a SELECT; with none, ask one after the other in a shell of its own.
    Sql {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: SqlArguments,
    },
    /// Follow the answer to a SELECT as events arrive.
    Watch {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: WatchArguments,
    },
    /// Follow an app's events as they arrive, until Ctrl-C.
    Tail {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: TailArguments,
    },
    /// Write the whole answer to a SELECT into a file; started again, go on where it broke off.
    Export {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: ExportArguments,
    },
    /// Manage an app's metrics.
    #[command(visible_alias = "metrics")]
    Metric {
        #[command(flatten)]
        server: Server,
        /// The app.
        #[arg(long, global = true, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
        app: String,
        #[command(subcommand)]
        command: MetricCommand,
    },
    /// Manage an app's dashboards.
    #[command(visible_alias = "dashboards")]
    Dashboard {
        #[command(flatten)]
        server: Server,
        /// The app.
        #[arg(long, global = true, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
        app: String,
        #[command(subcommand)]
        command: DashboardCommand,
    },
    /// Prove that every event of an app that was taken is accounted for; fails if one isn't.
    Reconcile {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: ReconcileArguments,
    },
    /// List events that were refused and kept.
    DeadLetters {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        of: OfApp,
    },
    /// Erase a user of an app, and see how far it is.
    Erasure {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: ErasureCommand,
    },
    /// See who changed what.
    Audit {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Manage tenants.
    #[command(visible_alias = "tenants")]
    Tenant {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: TenantCommand,
    },
    /// Manage a tenant's apps.
    #[command(visible_alias = "apps")]
    App {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: AppCommand,
    },
    /// Manage a tenant's API keys.
    #[command(visible_alias = "keys")]
    Key {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Manage a tenant's reports, with its own key.
    #[command(visible_alias = "reports")]
    Report {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: ReportCommand,
    },
    /// Put a part of the event log into the warehouse anew, with an operator's key.
    Replay {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: ReplayCommand,
    },
    /// See to the event log's partitions, with an operator's key.
    Topic {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: TopicCommand,
    },
    /// Say what each tenant costs, by what processes measured and a table of prices: for operators, who reach their ports.
    Cost {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: CostArguments,
    },
    /// Make a backup of the house, with an operator's key; prints its name.
    Backup {
        #[command(flatten)]
        server: Server,
    },
}

impl ClientCommand {
    /// Whom it speaks to.
    pub(crate) fn server(&self) -> &Server {
        match self {
            Self::Whoami { server }
            | Self::Doctor { server, .. }
            | Self::Send { server, .. }
            | Self::Demo { server, .. }
            | Self::Bench { server, .. }
            | Self::Sql { server, .. }
            | Self::Watch { server, .. }
            | Self::Tail { server, .. }
            | Self::Metric { server, .. }
            | Self::Dashboard { server, .. }
            | Self::Reconcile { server, .. }
            | Self::DeadLetters { server, .. }
            | Self::Erasure { server, .. }
            | Self::Audit { server, .. }
            | Self::Export { server, .. }
            | Self::Tenant { server, .. }
            | Self::App { server, .. }
            | Self::Key { server, .. }
            | Self::Report { server, .. }
            | Self::Replay { server, .. }
            | Self::Topic { server, .. }
            | Self::Cost { server, .. }
            | Self::Backup { server } => server,
        }
    }
}

/// What is looked at in its place.
#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCommand {
    /// Try on the ClickHouse cluster of a configuration what the program does on it, in a database that is made for it and dropped: tables on every server,
    /// blocks under tokens at every replica, reads by every replica right after an insert.
    Cluster(ServeArguments),
}

/// What is looked at beside the server.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Where processes give their metrics (`ops_listen`). Default: the profile's, or 127.0.0.1:7071 where the server is on this machine.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    pub(crate) ops: Vec<String>,
    /// The app that is asked about. Default: the profile's, or the first that the key reaches.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    #[command(flatten)]
    pub(crate) of: OfTenant,
}

/// Whose measures are taken, and by which prices.
#[derive(Debug, Args)]
pub(crate) struct CostArguments {
    /// Where processes give their metrics (`ops_listen`), all of them; a ClickHouse server's own among them. Default: the profile's, or 127.0.0.1:7071.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT", conflicts_with = "prometheus")]
    pub(crate) ops: Vec<String>,
    /// A Prometheus server that has them.
    #[arg(long, value_name = "http://HOST:PORT")]
    pub(crate) prometheus: Option<String>,
    /// Of how long, as 90s, 30m, 24h or 30d: with --prometheus of the last, by default 24h; without of what happens from now on, by default of all since the
    /// processes' start.
    #[arg(long, value_parser = duration)]
    pub(crate) range: Option<Duration>,
    /// Only of this tenant, and of all.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// The table of prices (TOML). Default: the one of `deploy/sizing/prices.toml`.
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
}

/// A whole number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "say a number with s, m, h or d behind it, as 30m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// Which server is spoken to, and with which key: a flag wins over the environment, that over the profile.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Server {
    /// The server. Default: the profile's, or http://127.0.0.1:7070.
    #[arg(long, global = true, env = "PENSTOCK_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The key, better told by PENSTOCK_KEY. Default: the profile's if the server is the profile's too, or the one in .penstock/operator.key.
    #[arg(long, global = true)]
    pub(crate) key: Option<String>,
    /// File that holds the key.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "key")]
    pub(crate) key_file: Option<PathBuf>,
    /// The profile: see `penstock profile`. Default: the one in use.
    #[arg(long, global = true, env = "PENSTOCK_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Check a key with its server and keep both by name; the first one is in use from then on.
    Add(ProfileArguments),
    /// List the profiles, without keys.
    List,
    /// Have commands mean this one that name none.
    Use {
        /// The profile.
        name: String,
    },
    /// Forget a profile and its key.
    Remove {
        /// The profile.
        name: String,
    },
}

/// A profile to keep.
#[derive(Debug, Args)]
pub(crate) struct ProfileArguments {
    /// What it is called.
    pub(crate) name: String,
    /// The server.
    #[arg(long, env = "PENSTOCK_SERVER", default_value = "http://127.0.0.1:7070", value_name = "URL")]
    pub(crate) server: String,
    /// File that holds the key, read anew by each command. Default: the key is asked for, or read from standard input, and kept in the profile.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The app of commands that name none.
    #[arg(long, default_value = "")]
    pub(crate) app: String,
    /// The tenant of commands that name none.
    #[arg(long, default_value = "")]
    pub(crate) tenant: String,
    /// Where processes give their metrics, for `penstock doctor`.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    pub(crate) ops: Vec<String>,
    /// Keep it without asking the server.
    #[arg(long)]
    pub(crate) unchecked: bool,
}
