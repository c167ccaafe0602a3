//! The command line.

mod client;
mod dashboard;
mod data;
mod manage;
mod metric;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use client::{
    ClientCommand, CostArguments, DoctorArguments, DoctorCommand, ProfileArguments, ProfileCommand, Server,
};
pub(crate) use dashboard::DashboardCommand;
pub(crate) use data::{
    BenchArguments, DemoArguments, ExportArguments, Input, SendArguments, SqlArguments, SqlFormat, TailArguments,
    WatchArguments,
};
pub(crate) use manage::{
    AppCommand, AuditCommand, ErasureCommand, KeyCommand, OfApp, OfTenant, ReconcileArguments, ReplayCommand,
    ReportCommand, Signs, TenantCommand, TopicCommand,
};
pub(crate) use metric::{Definition, EvaluationArguments, MetricCommand};

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
    /// Say answers and errors as JSON: an object, or one a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
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
    /// Print the whole configuration as it would be used, with HIDDEN for its passwords.
    Config(ServeArguments),
    /// Make a house of a backup, where none is yet; `serve` starts it then.
    Restore {
        /// The backup's name.
        backup: String,
        #[command(flatten)]
        arguments: ServeArguments,
    },
    /// Keep servers and keys by name, for `--profile`.
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
    /// Check a key with its server and keep both by name: the same as `profile add`.
    Login(ProfileArguments),
    #[command(flatten)]
    Client(ClientCommand),
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

/// `NAME=VALUE`, as `product_name=Acme`: the value may be empty, and have `=` in it.
fn assignment(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_can_be_parsed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_assignment_has_a_name() {
        let of = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!((assignment("a=b=c"), assignment("a=")), (of("a", "b=c"), of("a", "")));
        assert!(assignment("a").is_err() && assignment("=b").is_err());
    }
}
