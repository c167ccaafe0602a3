//! The command line.

mod data;

use std::path::PathBuf;

use api::v1::LogRange;
use clap::{Args, Parser, Subcommand};

pub(crate) use data::{ExportArguments, Input, SendArguments, SqlArguments, SqlFormat, WatchArguments};

use crate::{
    certs::CertsArguments,
    config::{Config, ConfigError},
    roles::Role,
    warehouse::WarehouseArguments,
};

/// Multi-tenant real-time analytics: events in, answers out.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the product in this process: whole, or some of its roles.
    Serve(ServeArguments),
    /// Run the embedded warehouse; `serve` does it by itself.
    #[command(hide = true)]
    Warehouse(WarehouseArguments),
    /// Print what completes this command line in a shell: `penstock completions bash > ~/.local/share/bash-completion/completions/penstock`.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual: a page for each command.
    Man {
        /// The folder.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Make certificates for the roles, and an authority that signs them: for development.
    Certs(CertsArguments),
    /// Print the whole configuration as it would be used.
    Config(ServeArguments),
    /// Make a backup of the house, with an operator's key; prints its name.
    Backup {
        #[command(flatten)]
        server: Server,
    },
    /// Make a house of a backup, where none is yet; `serve` starts it then.
    Restore {
        /// The backup's name.
        backup: String,
        #[command(flatten)]
        arguments: ServeArguments,
    },
    /// Manage tenants.
    Tenant {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: TenantCommand,
    },
    /// Manage a tenant's apps.
    App {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: AppCommand,
    },
    /// Manage a tenant's API keys.
    Key {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Send the events of a file, or of standard input; the same file again counts once.
    Send {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: SendArguments,
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
    /// Write the whole answer to a SELECT into a file; started again, go on where it broke off.
    Export {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        arguments: ExportArguments,
    },
    /// Manage a tenant's reports, with its own key.
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
}

/// What `serve` is told. A flag wins over the file, the file over the default.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Configuration file (TOML); see `penstock config`.
    #[arg(long, env = "PENSTOCK_CONFIG")]
    config: Option<PathBuf>,
    /// The roles of this process; all if none is named.
    #[arg(long = "role", value_delimiter = ',')]
    roles: Vec<Role>,
    /// Directory of everything embedded.
    #[arg(long, env = "PENSTOCK_DATA")]
    data: Option<PathBuf>,
    /// Address of gRPC, grpc-web and JSON.
    #[arg(long)]
    listen: Option<String>,
    /// Address at which roles in other processes call the roles of this one.
    #[arg(long)]
    mesh_listen: Option<String>,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long)]
    ops_listen: Option<String>,
    /// The event log: embedded:DIR or kafka://HOST:PORT/TOPIC.
    #[arg(long)]
    log: Option<String>,
    /// The warehouse: embedded:DIR or http://HOST:PORT.
    #[arg(long)]
    warehouse: Option<String>,
    /// The metastore: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, env = "PENSTOCK_METASTORE", hide_env_values = true)]
    metastore: Option<String>,
    /// The cache: memory: or redis://HOST:PORT.
    #[arg(long, env = "PENSTOCK_CACHE", hide_env_values = true)]
    cache: Option<String>,
    /// Log lines for people instead of JSON.
    #[arg(long)]
    text_logs: bool,
    /// Make the tenant `demo` with the app `xyz123` and a key in DATA/demo.key, and say what to try.
    #[arg(long)]
    pub(crate) demo: bool,
}

impl ServeArguments {
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        let set = |field: &mut String, flag: &Option<String>| {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        };
        set(&mut config.listen, &self.listen);
        set(&mut config.mesh_listen, &self.mesh_listen);
        set(&mut config.ops_listen, &self.ops_listen);
        set(&mut config.log, &self.log);
        set(&mut config.warehouse, &self.warehouse);
        set(&mut config.metastore, &self.metastore);
        set(&mut config.cache, &self.cache);
        if !self.roles.is_empty() {
            config.roles.clone_from(&self.roles);
        }
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if self.text_logs {
            config.telemetry.log_format = mesh::telemetry::LogFormat::Text;
        }
        config.complete()
    }
}

/// Which server is managed, and with which key.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server.
    #[arg(long, env = "PENSTOCK_SERVER", default_value = "http://127.0.0.1:7070")]
    pub(crate) server: String,
    /// The key; default the one in the key file.
    #[arg(long, env = "PENSTOCK_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// File that holds the key.
    #[arg(long, default_value = ".penstock/operator.key")]
    pub(crate) key_file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Add a tenant.
    Create {
        /// Its id.
        tenant: String,
        /// The name people read.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List all tenants.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Add an app.
    Create {
        /// Its id.
        app: String,
        /// The tenant.
        #[arg(long, default_value = "")]
        tenant: String,
        /// The name people read.
        #[arg(long, default_value = "")]
        name: String,
        /// IANA time zone in which its days begin.
        #[arg(long, default_value = "UTC")]
        time_zone: String,
    },
    /// List a tenant's apps.
    List {
        /// The tenant.
        #[arg(long, default_value = "")]
        tenant: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print its secret, once.
    Create {
        /// The tenant.
        #[arg(long, default_value = "")]
        tenant: String,
        /// What it may do: ingest, query, metrics, admin, backfill, operator, export.
        #[arg(long, value_delimiter = ',', required = true)]
        can: Vec<String>,
        /// The apps it reaches; all if none is named.
        #[arg(long = "app", value_delimiter = ',')]
        apps: Vec<String>,
        /// What people call it.
        #[arg(long, default_value = "")]
        name: String,
        /// Have its text say `test` in place of `live`, for people and secret scanners.
        #[arg(long)]
        test: bool,
        /// The networks from which it may be used, as 10.0.0.0/8; everywhere if none is named.
        #[arg(long = "cidr", value_delimiter = ',')]
        cidrs: Vec<String>,
        /// The origins of web pages that may use it, as https://dash.example; all if none is named.
        #[arg(long = "origin", value_delimiter = ',')]
        origins: Vec<String>,
        /// Events of which it reads those alone in which a property has one of these values, as customer=ann,bob; all events if none is named.
        #[arg(long = "filter", value_name = "PROPERTY=VALUE,...")]
        filters: Vec<String>,
    },
    /// Make a key in the place of another and print its secret, once; the other is good for a while yet.
    Rotate {
        /// The other key's id.
        key_id: String,
        /// The tenant.
        #[arg(long, default_value = "")]
        tenant: String,
        /// For how many hours the other key is good yet: at most 720, 0 for no longer.
        #[arg(long, default_value_t = 24)]
        overlap_hours: u16,
    },
    /// List a tenant's keys: id, what it may do, its apps, whether it is good, when it was last used, its name.
    List {
        /// The tenant.
        #[arg(long, default_value = "")]
        tenant: String,
    },
    /// Revoke a key.
    Revoke {
        /// The key's id.
        key_id: String,
        /// The tenant.
        #[arg(long, default_value = "")]
        tenant: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Have a SELECT asked again and again; prints the report's id and what its deliveries are signed with.
    Create {
        /// The SELECT.
        sql: String,
        /// The app.
        #[arg(long)]
        app: String,
        /// When, as cron says it: "30 6 * * mon-fri".
        #[arg(long)]
        schedule: String,
        /// IANA time zone whose clock that means.
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        /// Where answers are sent.
        #[arg(long, default_value = "")]
        webhook: String,
        /// What people call it.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List the reports, the newest first.
    List,
    /// Show a report.
    Show {
        /// The report's id.
        report_id: String,
    },
    /// Show a report's latest answers.
    Runs {
        /// The report's id.
        report_id: String,
    },
    /// Forget a report and its answers.
    Delete {
        /// The report's id.
        report_id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Begin a replay of what was received in a time, or of offsets; prints its id.
    Start {
        /// The first instant, as 2026-01-31T23:00:00Z.
        #[arg(long, requires = "to", conflicts_with = "ranges", required_unless_present = "ranges")]
        from: Option<jiff::Timestamp>,
        /// The end.
        #[arg(long, requires = "from")]
        to: Option<jiff::Timestamp>,
        /// Offsets of a partition, both included: PARTITION:FIRST-LAST. May be given again.
        #[arg(long = "range", value_parser = log_range)]
        ranges: Vec<LogRange>,
    },
    /// Show how far a replay came.
    Show {
        /// The replay's id.
        replay_id: String,
    },
    /// List replays, the newest first.
    List,
    /// Ask for a replay's end.
    Cancel {
        /// The replay's id.
        replay_id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Show how many partitions there are, and how far a growth came.
    Show,
    /// Have more partitions: while events flow, and for good.
    Grow {
        /// How many: a multiple of those that there are.
        #[arg(long)]
        partitions: u32,
    },
}

/// `3:100-199`.
fn log_range(text: &str) -> Result<LogRange, String> {
    let parts = text.split_once(':').and_then(|(partition, offsets)| Some((partition, offsets.split_once('-')?)));
    let range = parts.and_then(|(partition, (first, last))| {
        let (first_offset, last_offset) = (first.parse().ok()?, last.parse().ok()?);
        Some(LogRange { partition: partition.parse().ok()?, first_offset, last_offset })
    });
    range.ok_or_else(|| "must be PARTITION:FIRST-LAST, as 3:100-199".to_owned())
}
