//! What can be managed.

use std::path::PathBuf;

use api::v1::LogRange;
use clap::{Args, Subcommand, ValueEnum};
use model::{Permission, Priority};

use super::assignment;

/// Whose.
#[derive(Debug, Args)]
pub(crate) struct OfTenant {
    /// The tenant. Default: the profile's, or the key's.
    #[arg(long, env = "PENSTOCK_TENANT", default_value = "", hide_default_value = true)]
    pub(crate) tenant: String,
}

/// Whose, and of which app.
#[derive(Debug, Args)]
pub(crate) struct OfApp {
    #[command(flatten)]
    pub(crate) of: OfTenant,
    /// The app.
    #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
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
    /// Show what a tenant may send and ask, or set it in the place of what was set before; where nothing is set, the server's setting holds.
    Quota {
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        quota: TenantQuota,
        /// Set nothing, so that the server's setting holds.
        #[arg(long, conflicts_with = "TenantQuota")]
        default: bool,
    },
    /// Show for how many days events are kept, or set it.
    Retention {
        #[command(flatten)]
        of: OfTenant,
        /// The app, if it is about one alone.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
        /// For how many days.
        #[arg(long)]
        days: Option<u32>,
        /// Set nothing: the tenant's days hold for an app, the server's setting for a tenant.
        #[arg(long, conflicts_with = "days")]
        default: bool,
    },
    /// Show what holds for a tenant, and which place it comes from, or change it: of the installation if no tenant is said, of an app if one is.
    Settings {
        #[command(flatten)]
        of: OfTenant,
        /// The app, if it is about one alone.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
        /// time_zone, allowed_origins (with commas between), default_priority (interactive, scheduled or background), and for operators max_priority,
        /// retention_days and quota.events_per_second and so on, and its value; with none, it is as the next wider place has it. May be given again.
        #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Show how the product shows itself to a tenant's customers, or change it: of the installation if no tenant is said, of an app if one is.
    Branding {
        #[command(flatten)]
        of: OfTenant,
        /// The app, if it is about one alone.
        #[arg(long, default_value = "", hide_default_value = true)]
        app: String,
        /// product_name, logo_url, icon_url, primary_color, accent_color, mail_from, support_url or docs_url, and its value; with none, it is as the
        /// next wider place has it. May be given again.
        #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// Show by which domains a tenant's customers come, or set them.
    Domains {
        #[command(flatten)]
        of: OfTenant,
        /// All of them, in the place of those before; "" for none.
        #[arg(long, value_delimiter = ',')]
        set: Option<Vec<String>>,
    },
}

/// What a tenant may send and ask.
#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct TenantQuota {
    /// Events a second.
    #[arg(long)]
    events_per_second: Option<u64>,
    /// Events at once after a pause.
    #[arg(long)]
    events_burst: Option<u64>,
    /// Bytes a second.
    #[arg(long)]
    bytes_per_second: Option<u64>,
    /// Bytes at once after a pause.
    #[arg(long)]
    bytes_burst: Option<u64>,
    /// Calls a second.
    #[arg(long)]
    requests_per_second: Option<u64>,
    /// Calls at once after a pause.
    #[arg(long)]
    requests_burst: Option<u64>,
    /// Bytes that queries read a second.
    #[arg(long)]
    query_bytes_per_second: Option<u64>,
    /// Bytes that queries may read at once after a pause.
    #[arg(long)]
    query_bytes_burst: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ErasureCommand {
    /// Erase a user: every event, and what is known of the user. It can't be undone; prints the erasure's id.
    Start {
        /// The user's id.
        user: String,
        #[command(flatten)]
        of: OfApp,
    },
    /// Show how far an erasure is.
    Show {
        /// The erasure's id.
        erasure_id: String,
        #[command(flatten)]
        of: OfTenant,
    },
    /// List an app's erasures, the newest first.
    List {
        #[command(flatten)]
        of: OfApp,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who changed what, the newest first.
    List {
        #[command(flatten)]
        of: OfTenant,
        /// From this instant on, as 2026-01-31T23:00:00Z.
        #[arg(long)]
        from: Option<jiff::Timestamp>,
        /// Up to this instant.
        #[arg(long)]
        to: Option<jiff::Timestamp>,
        /// Only of this method, as CreateKey.
        #[arg(long, default_value = "", hide_default_value = true)]
        method: String,
        /// Only by this key.
        #[arg(long, default_value = "", hide_default_value = true)]
        key_id: String,
    },
    /// Compute the audit log anew, and fail if an entry was changed or taken out.
    Verify {
        #[command(flatten)]
        of: OfTenant,
        /// How many entries it had when `--hash` was kept.
        #[arg(long, requires = "hash", default_value_t = 0, hide_default_value = true)]
        entries: u64,
        /// The hash of the last of those, which must still be in it.
        #[arg(long, requires = "entries", default_value = "", hide_default_value = true)]
        hash: String,
    },
}

/// Of which time.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArguments {
    #[command(flatten)]
    pub(crate) of: OfApp,
    /// From this hour on, as 2026-01-31T20:00:00Z. Default: 24 hours before the end.
    #[arg(long)]
    pub(crate) from: Option<jiff::Timestamp>,
    /// Up to this instant. Default: now.
    #[arg(long)]
    pub(crate) to: Option<jiff::Timestamp>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Add an app.
    Create {
        /// Its id.
        app: String,
        #[command(flatten)]
        of: OfTenant,
        /// The name people read.
        #[arg(long, default_value = "")]
        name: String,
        /// IANA time zone in which its days begin. Default: the tenant's.
        #[arg(long, default_value = "", hide_default_value = true)]
        time_zone: String,
    },
    /// List a tenant's apps.
    List {
        #[command(flatten)]
        of: OfTenant,
    },
}

/// How a key signs embed tokens: the `alg` of their headers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Signs {
    Hs256,
    Eddsa,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print its secret, once.
    Create {
        #[command(flatten)]
        of: OfTenant,
        /// What it may do: ingest, query, metrics, admin, backfill, operator, export.
        #[arg(long, value_delimiter = ',', required = true, value_parser = permission)]
        can: Vec<Permission>,
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
        #[arg(long = "filter", value_name = "PROPERTY=VALUE,...", value_parser = assignment)]
        filters: Vec<(String, String)>,
        /// From when on it is no longer good, as 2027-01-31T00:00:00Z; never if unset.
        #[arg(long)]
        expires: Option<jiff::Timestamp>,
        /// How urgent its calls are at most: interactive, scheduled or background; as urgent as the calling key's if unset.
        #[arg(long, value_parser = priority)]
        priority: Option<Priority>,
        /// Have it sign embed tokens: by a secret that is printed once and that the server keeps too, or by Ed25519.
        #[arg(long, value_enum)]
        signs: Option<Signs>,
        /// File with the public key, as `openssl pkey -pubout` writes it; whoever signs keeps the private one.
        #[arg(long, value_name = "FILE", required_if_eq("signs", "eddsa"))]
        public_key: Option<PathBuf>,
    },
    /// Make a key in the place of another and print its secret, once; the other is good for a while yet.
    Rotate {
        /// The other key's id.
        key_id: String,
        #[command(flatten)]
        of: OfTenant,
        /// For how many hours the other key is good yet: at most 720, 0 for no longer.
        #[arg(long, default_value_t = 24)]
        overlap_hours: u16,
    },
    /// List a tenant's keys: id, what it may do, its apps, whether it is good, when it was last used, its name.
    List {
        #[command(flatten)]
        of: OfTenant,
    },
    /// Revoke a key.
    Revoke {
        /// The key's id.
        key_id: String,
        #[command(flatten)]
        of: OfTenant,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Have a SELECT asked again and again; prints the report's id and what its deliveries are signed with.
    Create {
        /// The SELECT.
        sql: String,
        /// The app.
        #[arg(long, env = "PENSTOCK_APP", default_value = "", hide_default_value = true)]
        app: String,
        /// When, as cron says it: "30 6 * * mon-fri".
        #[arg(long)]
        schedule: String,
        /// IANA time zone whose clock that means. Default: the app's.
        #[arg(long, default_value = "", hide_default_value = true)]
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
        /// Wait until it is done, and fail if it isn't well; Ctrl-C leaves it going on.
        #[arg(long)]
        wait: bool,
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
        /// Wait until all of them are in use; Ctrl-C leaves it going on.
        #[arg(long)]
        wait: bool,
    },
}

fn permission(word: &str) -> Result<Permission, String> {
    Permission::from_name(word)
        .ok_or_else(|| format!("is not one of {}", Permission::ALL.map(Permission::name).join(", ")))
}

fn priority(word: &str) -> Result<Priority, String> {
    Priority::from_name(word).ok_or_else(|| "is not interactive, scheduled or background".to_owned())
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
