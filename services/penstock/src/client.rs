//! `penstock tenant`, `app`, `key`, `replay` and `topic`: the Admin service from a terminal; and questions that go on, in files of their own.

mod backup;
mod export;
mod report;
mod send;
mod sql;
mod watch;

use std::{fmt::Write, path::PathBuf};

use api::{
    convert::{WireDuration, instant, time_to_wire},
    v1::{self, admin_service_client::AdminServiceClient, replay::State},
};
use model::Permission;
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub(crate) use backup::backup;
pub(crate) use export::export;
pub(crate) use report::report;
pub(crate) use send::send;
pub(crate) use sql::sql;
pub(crate) use watch::watch;

use crate::{
    cli::{AppCommand, KeyCommand, ReplayCommand, Server, TenantCommand, TopicCommand},
    wire::now_ms,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no key: give --key, or --key-file with a file that is there ({path}: {source})")]
    NoKey { path: PathBuf, source: std::io::Error },
    #[error("the key is not printable text")]
    BadKey,
    #[error("can't reach {server}: {source}")]
    Connect { server: String, source: tonic::transport::Error },
    #[error("{}", said(.0))]
    Refused(Box<tonic::Status>),
    #[error("{0}")]
    Mistake(String),
    #[error("the answer broke off before its end; ask again")]
    NotWhole,
    #[error("the answer can't be written: {0}")]
    Write(#[from] std::io::Error),
    #[error("{0:?} is not a permission: ingest, query, metrics, admin, backfill, operator, export")]
    NoPermission(String),
    #[error("{0:?} is not a filter: write PROPERTY=VALUE,..., as customer=ann,bob")]
    NoFilter(String),
    #[error("can't read {path}: {source}")]
    NoFile { path: PathBuf, source: std::io::Error },
    #[error(
        "line {line} {why}\nnothing behind it was sent; mend it and send the file again: what was sent counts once"
    )]
    BadFile { line: u64, why: String },
    #[error("{refused} of {of} events were refused")]
    SomeRefused { refused: u64, of: u64 },
    #[error("broke off after {answered} events: {}\nsend the file again: what was sent counts once", said(.why))]
    BrokenOff { answered: u64, why: Box<tonic::Status> },
    #[error("{0:?} is not a server's URL: write it as http://HOST:PORT")]
    NoServer(String),
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

fn said(status: &tonic::Status) -> String {
    let error = api::status::from_status(status);
    let mut text = format!("{}: {}", error.code.reason(), error.message);
    for violation in error.violations {
        let _ = write!(text, "\n  {}: {}", violation.field, violation.description); // a String takes all
    }
    text
}

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Keyed = InterceptedService<Channel, Bearer>;

async fn connect(server: &Server) -> Result<AdminServiceClient<Keyed>, ClientError> {
    Ok(AdminServiceClient::new(keyed(server).await?))
}

/// A channel that shows the key.
async fn keyed(server: &Server) -> Result<Keyed, ClientError> {
    let key = match &server.key {
        Some(key) => key.clone(),
        None => std::fs::read_to_string(&server.key_file)
            .map_err(|source| ClientError::NoKey { path: server.key_file.clone(), source })?,
    };
    let bearer = format!("Bearer {}", key.trim()).parse().map_err(|_| ClientError::BadKey)?;
    let failed = |source| ClientError::Connect { server: server.server.clone(), source };
    let channel = Channel::from_shared(server.server.clone())
        .map_err(|_| ClientError::NoServer(server.server.clone()))?
        .connect()
        .await
        .map_err(failed)?;
    Ok(InterceptedService::new(channel, Bearer(bearer)))
}

pub(crate) async fn tenant(server: &Server, command: TenantCommand) -> Result<String, ClientError> {
    let mut admin = connect(server).await?;
    match command {
        TenantCommand::Create { tenant, name } => {
            let tenant = v1::Tenant { tenant_id: tenant, display_name: name, created_at: None };
            let made = admin.create_tenant(v1::CreateTenantRequest { tenant: Some(tenant) }).await?.into_inner();
            Ok(format!("{}\n", made.tenant.unwrap_or_default().tenant_id))
        }
        TenantCommand::List => {
            let list = admin.list_tenants(v1::ListTenantsRequest {}).await?.into_inner();
            Ok(lines(list.tenants.into_iter().map(|t| [t.tenant_id, t.display_name])))
        }
    }
}

pub(crate) async fn app(server: &Server, command: AppCommand) -> Result<String, ClientError> {
    let mut admin = connect(server).await?;
    match command {
        AppCommand::Create { app, tenant, name, time_zone } => {
            let app = v1::App { app_id: app, display_name: name, time_zone, created_at: None };
            let request = v1::CreateAppRequest { tenant_id: tenant, app: Some(app) };
            let made = admin.create_app(request).await?.into_inner();
            Ok(format!("{}\n", made.app.unwrap_or_default().app_id))
        }
        AppCommand::List { tenant } => {
            let list = admin.list_apps(v1::ListAppsRequest { tenant_id: tenant }).await?.into_inner();
            Ok(lines(list.apps.into_iter().map(|a| [a.app_id, a.display_name, a.time_zone])))
        }
    }
}

pub(crate) async fn key(server: &Server, command: KeyCommand) -> Result<String, ClientError> {
    let mut admin = connect(server).await?;
    match command {
        KeyCommand::Create { tenant, can, apps, name, test, cidrs, origins, filters } => {
            let permissions = can
                .into_iter()
                .map(|word| Permission::from_name(&word).map(|p| p as i32).ok_or(ClientError::NoPermission(word)))
                .collect::<Result<_, _>>()?;
            let request = v1::CreateKeyRequest {
                tenant_id: tenant,
                display_name: name,
                permissions,
                app_ids: apps,
                environment: if test { v1::KeyEnvironment::Test } else { v1::KeyEnvironment::Live }.into(),
                allowed_cidrs: cidrs,
                allowed_origins: origins,
                filters: filters.iter().map(|text| filter(text)).collect::<Result<_, _>>()?,
                ..v1::CreateKeyRequest::default()
            };
            Ok(format!("{}\n", admin.create_key(request).await?.into_inner().secret))
        }
        KeyCommand::Rotate { key_id, tenant, overlap_hours } => {
            let overlap = Some(WireDuration { seconds: i64::from(overlap_hours) * 3_600, nanos: 0 });
            let request = v1::RotateKeyRequest { tenant_id: tenant, key_id, overlap };
            Ok(format!("{}\n", admin.rotate_key(request).await?.into_inner().secret))
        }
        KeyCommand::List { tenant } => {
            let list = admin.list_keys(v1::ListKeysRequest { tenant_id: tenant }).await?.into_inner();
            Ok(lines(list.keys.into_iter().map(|k| {
                let can: Vec<_> = k.permissions.iter().filter_map(|n| permission_name(*n)).collect();
                let apps = if k.app_ids.is_empty() { "all apps".to_owned() } else { k.app_ids.join(",") };
                let (state, used) = (state(&k), k.last_used_at.map_or("never".to_owned(), |time| time.to_string()));
                [k.key_id, can.join(","), apps, state, format!("used {used}"), k.display_name]
            })))
        }
        KeyCommand::Revoke { key_id, tenant } => {
            admin.revoke_key(v1::RevokeKeyRequest { tenant_id: tenant, key_id: key_id.clone() }).await?;
            Ok(format!("{key_id} revoked\n"))
        }
    }
}

pub(crate) async fn replay(server: &Server, command: ReplayCommand) -> Result<String, ClientError> {
    let mut admin = connect(server).await?;
    match command {
        ReplayCommand::Start { from, to, ranges } => {
            let [from, to] = [from, to].map(|time| time.map(|time| time_to_wire(time.as_millisecond())));
            let started = admin.start_replay(v1::StartReplayRequest { from, to, ranges }).await?.into_inner();
            Ok(format!("{}\n", started.replay.unwrap_or_default().replay_id))
        }
        ReplayCommand::Show { replay_id } => {
            let replay = admin.get_replay(v1::GetReplayRequest { replay_id }).await?.into_inner().replay;
            let replay = replay.unwrap_or_default();
            let tables = replay.tables.iter().map(|table| {
                let v1::ReplayedTable { table, rows_before, rows_after } = table;
                format!("{table}\t{rows_before} rows before\t{rows_after} after\n")
            });
            let tables: String = tables.collect();
            Ok(replay_line(replay) + &tables)
        }
        ReplayCommand::List => {
            let mut list = String::new();
            let mut page_token = String::new();
            loop {
                let request = v1::ListReplaysRequest { page_size: 0, page_token };
                let page = admin.list_replays(request).await?.into_inner();
                list.extend(page.replays.into_iter().map(replay_line));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return Ok(list);
                }
            }
        }
        ReplayCommand::Cancel { replay_id } => {
            let replay = admin.cancel_replay(v1::CancelReplayRequest { replay_id }).await?.into_inner().replay;
            Ok(replay_line(replay.unwrap_or_default()))
        }
    }
}

pub(crate) async fn topic(server: &Server, command: TopicCommand) -> Result<String, ClientError> {
    let mut admin = connect(server).await?;
    let topic = match command {
        TopicCommand::Show => admin.get_topic(v1::GetTopicRequest {}).await?.into_inner().topic,
        TopicCommand::Grow { partitions } => {
            admin.grow_topic(v1::GrowTopicRequest { partitions }).await?.into_inner().topic
        }
    };
    let topic = topic.unwrap_or_default();
    let state = topic.state().as_str_name().trim_start_matches("STATE_").to_lowercase();
    let mut line = format!("{}  {} partitions  {state}", topic.name, topic.partitions);
    if topic.growing_to > 0 {
        line += &format!(" to {}", topic.growing_to);
    }
    if topic.waiting_partitions > 0 {
        line += &format!(", {} new ones wait for what was sent before", topic.waiting_partitions);
    }
    for writer in topic.unheard_writers {
        line += &format!("\n  waits for {writer}");
    }
    Ok(line + "\n")
}

fn replay_line(replay: v1::Replay) -> String {
    let state = State::try_from(replay.state).unwrap_or_default().as_str_name().trim_start_matches("STATE_");
    let read = format!("{} of {} records", replay.records_read, replay.records);
    lines([[replay.replay_id, state.to_lowercase(), read, replay.message]].into_iter())
}

/// Whether a key is good, and until when.
fn state(key: &v1::Key) -> String {
    let ended = |end| instant(end).is_some_and(|end_ms| end_ms <= now_ms());
    match &key.expires_at {
        _ if key.revoked_at.is_some() => "revoked".to_owned(),
        Some(end) if ended(end) => "expired".to_owned(),
        Some(end) => format!("good until {end}"),
        None => "good".to_owned(),
    }
}

fn permission_name(number: i32) -> Option<&'static str> {
    Permission::ALL.into_iter().find(|p| *p as i32 == number).map(Permission::name)
}

fn filter(text: &str) -> Result<v1::ReadFilter, ClientError> {
    let (property, values) = text.split_once('=').ok_or_else(|| ClientError::NoFilter(text.to_owned()))?;
    Ok(v1::ReadFilter { property: property.to_owned(), values: values.split(',').map(str::to_owned).collect() })
}

fn lines<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    rows.map(|row| row.join("\t") + "\n").collect()
}
