//! Dashboards.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DashboardCommand {
    /// List the app's dashboards.
    List,
    /// Show a dashboard's tiles; with --json all of it, as `put` takes it.
    Show {
        /// Its id.
        id: String,
    },
    /// Keep a dashboard: one that the console exported, or `show --json` wrote. One that is there is replaced; if the file says which state of it (its
    /// etag), only that one.
    Put {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// The id under which it is kept. Default: the file's.
        #[arg(long)]
        id: Option<String>,
    },
    /// Delete a dashboard.
    Delete {
        /// Its id.
        id: String,
    },
}
