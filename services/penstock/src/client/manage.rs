//! Tenants, apps, keys, reports, replays and partitions: the Admin service from a terminal.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use model::Permission;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    ClientError, Link, Show, Target,
    settings::settings,
    show::{Column, Progress, note, text, word},
};
use crate::cli::{AppCommand, KeyCommand, ReplayCommand, ReportCommand, Signs, TenantCommand, TopicCommand};

/// How often it is asked how far something is.
const LOOK: Duration = Duration::from_millis(500);
/// For how long a server that is asked may be away meanwhile.
const AWAY: Duration = Duration::from_secs(60);

pub(super) async fn whoami(target: &Target, show: &mut Show) -> Result<(), ClientError> {
    let about = Link::open(target).await?.call("QueryService.Describe", json!({"app_id": target.app})).await?;
    if show.is_json() {
        return show.object(&about, "");
    }
    let server = &target.server;
    let (tenant, key, can) = (text(&about["tenant_id"]), text(&about["key_id"]), text(&about["permissions"]));
    show.object(&about, &format!("{server}: tenant {tenant}, key {key} of {}, may {can}\n", target.whence))?;
    show.objects(about["apps"].as_array().map_or(&[], Vec::as_slice), &APPS)
}

pub(super) async fn tenant(target: &Target, command: TenantCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    match command {
        TenantCommand::Create { tenant, name } => {
            let request = json!({"tenant": {"tenant_id": tenant, "display_name": name}});
            let made = link.call("AdminService.CreateTenant", request).await?;
            show.object(&made["tenant"], &text(&made["tenant"]["tenant_id"]))
        }
        TenantCommand::List => {
            let columns: [Column; 3] = [
                ("tenant", |t| text(&t["tenant_id"])),
                ("name", |t| text(&t["display_name"])),
                ("created", |t| text(&t["created_at"])),
            ];
            show.objects(&link.list("AdminService.ListTenants", json!({}), "tenants").await?, &columns)
        }
        TenantCommand::Quota { of, quota, default } => {
            let (tenant, quota) = (target.tenant(of.tenant), json!(quota));
            let is_set = default || quota.as_object().is_some_and(|quota| quota.values().any(|value| !value.is_null()));
            let answer = match is_set {
                true => link.call("AdminService.SetTenantQuota", json!({"tenant_id": tenant, "quota": quota})).await?,
                false => link.call("AdminService.GetTenantQuota", json!({"tenant_id": tenant})).await?,
            };
            let names = [
                "events_per_second",
                "events_burst",
                "bytes_per_second",
                "bytes_burst",
                "requests_per_second",
                "requests_burst",
                "query_bytes_per_second",
                "query_bytes_burst",
            ];
            show.object(&answer["quota"], &fields(&answer["quota"], &names))
        }
        TenantCommand::Retention { of, app, days, default } => {
            let mut request = json!({"tenant_id": target.tenant(of.tenant), "app_id": app});
            let method = match days.is_some() || default {
                true => {
                    request["days"] = json!(days);
                    "AdminService.SetTenantRetention"
                }
                false => "AdminService.GetTenantRetention",
            };
            let answer = link.call(method, request).await?;
            let kept = match answer["effective_days"].as_u64() {
                None | Some(0) => "events are kept for ever".to_owned(),
                Some(days) => format!("events are kept for {days} days"),
            };
            let whence = if answer["days"].is_null() { "not set here" } else { "set here" };
            show.object(&answer, &format!("{kept} ({whence})"))
        }
        TenantCommand::Settings { of, app, set } => {
            let place = json!({"tenant_id": target.tenant(of.tenant), "app_id": app});
            settings(&mut link, place, set, show).await
        }
        TenantCommand::Branding { of, app, set } => {
            let place = json!({"tenant_id": target.tenant(of.tenant), "app_id": app});
            branding(&mut link, place, set, show).await
        }
        TenantCommand::Domains { of, set } => {
            let tenant = target.tenant(of.tenant);
            let answer = match set {
                Some(mut domains) => {
                    domains.retain(|domain| !domain.is_empty());
                    let request = json!({"tenant_id": tenant, "domains": domains});
                    link.call("AdminService.SetTenantDomains", request).await?
                }
                None => link.call("AdminService.GetBranding", json!({"tenant_id": tenant})).await?,
            };
            let domains: Vec<_> = answer["domains"].as_array().into_iter().flatten().map(text).collect();
            show.object(&json!({"domains": domains}), &domains.join("\n"))
        }
    }
}

/// What of an object is set, a line each.
fn fields(object: &Value, names: &[&str]) -> String {
    let set = names.iter().filter(|name| !object[**name].is_null());
    let lines: Vec<_> = set.map(|name| format!("{name}: {}", text(&object[*name]))).collect();
    if lines.is_empty() { "nothing is set: the server's setting holds".to_owned() } else { lines.join("\n") }
}

/// Shows it, or changes what is said of it and leaves the rest.
async fn branding(
    link: &mut Link,
    place: Value,
    set: Vec<(String, String)>,
    show: &mut Show,
) -> Result<(), ClientError> {
    let mut answer = link.call("AdminService.GetBranding", place.clone()).await?;
    if !set.is_empty() {
        let mut branding = answer["branding"].take();
        for (field, value) in set {
            branding[field] = if value.is_empty() { Value::Null } else { json!(value) };
        }
        let mut request = place;
        request["branding"] = branding;
        answer = link.call("AdminService.SetBranding", request).await?;
    }
    let names = [
        "product_name",
        "logo_url",
        "icon_url",
        "primary_color",
        "accent_color",
        "mail_from",
        "support_url",
        "docs_url",
    ];
    show.object(&answer, &fields(&answer["effective"], &names))
}

const APPS: [Column; 3] =
    [("app", |a| text(&a["app_id"])), ("name", |a| text(&a["display_name"])), ("days of", |a| text(&a["time_zone"]))];

pub(super) async fn app(target: &Target, command: AppCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    match command {
        AppCommand::Create { app, of, name, time_zone } => {
            let app = json!({"app_id": app, "display_name": name, "time_zone": time_zone});
            let request = json!({"tenant_id": target.tenant(of.tenant), "app": app});
            let made = link.call("AdminService.CreateApp", request).await?;
            show.object(&made["app"], &text(&made["app"]["app_id"]))
        }
        AppCommand::List { of } => {
            let request = json!({"tenant_id": target.tenant(of.tenant)});
            show.objects(&link.list("AdminService.ListApps", request, "apps").await?, &APPS)
        }
    }
}

const KEYS: [Column; 6] = [
    ("key", |k| text(&k["key_id"])),
    ("may", |k| word(&k["permissions"], "PERMISSION_")),
    ("apps", |k| if k["app_ids"] == json!([]) { "all apps".to_owned() } else { text(&k["app_ids"]) }),
    ("state", state),
    ("used", |k| if k["last_used_at"].is_null() { "never".to_owned() } else { text(&k["last_used_at"]) }),
    ("name", |k| text(&k["display_name"])),
];

pub(super) async fn key(target: &Target, command: KeyCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    match command {
        KeyCommand::Create {
            of,
            can,
            apps,
            name,
            test,
            cidrs,
            origins,
            filters,
            expires,
            priority,
            signs,
            public_key,
        } => {
            let public_key = public_key.map(|file| ed25519(&file)).transpose()?;
            let permission = |known: Permission| format!("PERMISSION_{}", known.name().to_uppercase());
            let filter = |(property, values): (String, String)| json!({"property": property, "values": values.split(',').collect::<Vec<_>>()});
            let request = json!({
                "tenant_id": target.tenant(of.tenant),
                "display_name": name,
                "permissions": can.into_iter().map(permission).collect::<Vec<_>>(),
                "app_ids": apps,
                "environment": if test { "KEY_ENVIRONMENT_TEST" } else { "KEY_ENVIRONMENT_LIVE" },
                "allowed_cidrs": cidrs,
                "allowed_origins": origins,
                "filters": filters.into_iter().map(filter).collect::<Vec<_>>(),
                "expires_at": expires.map(|at| at.to_string()),
                "priority": priority.map(|priority| format!("PRIORITY_{}", priority.name().to_uppercase())),
                "kind": match signs {
                    None => "KEY_KIND_BEARER",
                    Some(Signs::Hs256) => "KEY_KIND_HS256",
                    Some(Signs::Eddsa) => "KEY_KIND_EDDSA",
                },
                "public_key": public_key.unwrap_or_default(),
            });
            let made = link.call("AdminService.CreateKey", request).await?;
            let said = match (signs, text(&made["secret"]), text(&made["key"]["key_id"])) {
                (None, secret, _) => secret,
                (Some(Signs::Hs256), secret, id) => format!("kid     {id}\nsecret  {secret}"),
                (Some(Signs::Eddsa), _, id) => format!("kid     {id}"),
            };
            show.object(&made, &said)
        }
        KeyCommand::Rotate { key_id, of, overlap_hours } => {
            let overlap = format!("{}s", u32::from(overlap_hours) * 3_600);
            let request = json!({"tenant_id": target.tenant(of.tenant), "key_id": key_id, "overlap": overlap});
            let made = link.call("AdminService.RotateKey", request).await?;
            show.object(&made, &text(&made["secret"]))
        }
        KeyCommand::List { of } => {
            let request = json!({"tenant_id": target.tenant(of.tenant)});
            show.objects(&link.list("AdminService.ListKeys", request, "keys").await?, &KEYS)
        }
        KeyCommand::Revoke { key_id, of } => {
            let request = json!({"tenant_id": target.tenant(of.tenant), "key_id": key_id});
            link.call("AdminService.RevokeKey", request).await?;
            show.object(&json!({"key_id": key_id, "revoked": true}), &format!("{key_id} revoked"))
        }
    }
}

/// The 32 bytes of the public key in a PEM file, in base64.
fn ed25519(file: &Path) -> Result<String, ClientError> {
    /// What stands before them: RFC 8410, section 4.
    const BEFORE: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let pem = std::fs::read_to_string(file).map_err(|source| ClientError::NoFile { path: file.to_owned(), source })?;
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64.decode(body).ok().filter(|_| pem.contains("-----BEGIN PUBLIC KEY-----"));
    let key = der.as_deref().and_then(|der| der.strip_prefix(&BEFORE)).filter(|key| key.len() == 32);
    let key = key.ok_or_else(|| {
        let what = "is no Ed25519 public key; `openssl genpkey -algorithm ed25519` makes a private one, and `openssl pkey -pubout` its public one";
        ClientError::Mistake(format!("{} {what}", file.display()))
    })?;
    Ok(BASE64.encode(key))
}

/// Whether a key is good, and until when.
fn state(key: &Value) -> String {
    let end = text(&key["expires_at"]);
    match end.parse::<jiff::Timestamp>() {
        _ if !key["revoked_at"].is_null() => "revoked".to_owned(),
        Ok(at) if at <= jiff::Timestamp::now() => "expired".to_owned(),
        Ok(_) => format!("good until {end}"),
        Err(_) => "good".to_owned(),
    }
}

const REPORTS: [Column; 5] = [
    ("report", |r| text(&r["report_id"])),
    ("app", |r| text(&r["app_id"])),
    ("schedule", |r| format!("{} {}", text(&r["schedule"]), text(&r["time_zone"]))),
    ("next", |r| match text(&r["ended"]) {
        ended if !ended.is_empty() => format!("ended: {ended}"),
        _ => text(&r["next_run_at"]),
    }),
    ("name", |r| text(&r["display_name"])),
];

const RUNS: [Column; 4] = [
    ("run", |r| text(&r["run_id"])),
    ("scheduled", |r| text(&r["scheduled_at"])),
    ("outcome", |r| match (&r["result"]["rows"], text(&r["failure"])) {
        (Value::Array(rows), _) => format!("{} rows", rows.len()),
        (_, failure) if failure.is_empty() => "not yet answered".to_owned(),
        (_, failure) => failure,
    }),
    ("delivery", |r| match (r["deliveries"].as_u64(), &r["delivered_at"]) {
        (None | Some(0), _) => String::new(),
        (Some(n), Value::Null) => format!("not delivered, sent {n} times: {}", text(&r["delivery_failure"])),
        (Some(n), _) => format!("delivered, sent {n} times"),
    }),
];

pub(super) async fn report(target: &Target, command: ReportCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    match command {
        ReportCommand::Create { sql, mut app, schedule, time_zone, webhook, name } => {
            target.app(&mut app);
            let report = json!({"display_name": name, "app_id": app, "schedule": schedule, "time_zone": time_zone,
                "question": {"sql": {"sql": sql}}, "webhook_url": webhook});
            let made = link.call("AdminService.CreateReport", json!({ "report": report })).await?;
            show.object(&made, &format!("{}\t{}", text(&made["report"]["report_id"]), text(&made["webhook_secret"])))
        }
        ReportCommand::List => {
            show.objects(&link.list("AdminService.ListReports", json!({}), "reports").await?, &REPORTS)
        }
        ReportCommand::Show { report_id } => {
            let report = link.call("AdminService.GetReport", json!({"report_id": report_id})).await?;
            show.objects(&[report["report"].clone()], &REPORTS)
        }
        ReportCommand::Runs { report_id } => {
            let request = json!({"report_id": report_id});
            show.objects(&link.list("AdminService.ListReportRuns", request, "runs").await?, &RUNS)
        }
        ReportCommand::Delete { report_id } => {
            link.call("AdminService.DeleteReport", json!({"report_id": report_id})).await?;
            show.object(&json!({"report_id": report_id, "deleted": true}), &format!("{report_id} deleted"))
        }
    }
}

const REPLAYS: [Column; 5] = [
    ("replay", |r| text(&r["replay_id"])),
    ("state", |r| word(&r["state"], "STATE_")),
    ("read", |r| format!("{} of {} records", r["records_read"], r["records"])),
    ("rows before > after", |r| {
        let table = |t: &Value| format!("{} {} > {}", text(&t["table"]), t["rows_before"], t["rows_after"]);
        r["tables"].as_array().map(|tables| tables.iter().map(table).collect::<Vec<_>>().join(", ")).unwrap_or_default()
    }),
    ("message", |r| text(&r["message"])),
];

pub(super) async fn replay(target: &Target, command: ReplayCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    let answer = match command {
        ReplayCommand::Start { from, to, ranges, wait } => {
            let ranges: Vec<_> = ranges
                .iter()
                .map(
                    |r| json!({"partition": r.partition, "first_offset": r.first_offset, "last_offset": r.last_offset}),
                )
                .collect();
            let [from, to] = [from, to].map(|time| time.map(|time| time.to_string()));
            let request = json!({"from": from, "to": to, "ranges": ranges});
            let started = link.call("AdminService.StartReplay", request).await?;
            let id = text(&started["replay"]["replay_id"]);
            if !wait {
                return show.object(&started["replay"], &id);
            }
            // Whoever stops waiting wants to look at it later.
            let what = format!("the replay {id} goes on, whether it is waited for or not");
            note("GOES_ON", &what, show.is_json());
            let ended = ended(&mut link, &id).await?;
            show.objects(std::slice::from_ref(&ended), &REPLAYS)?;
            return match word(&ended["state"], "STATE_").as_str() {
                "done" => Ok(()),
                state => {
                    let what = format!("the replay {id} is {state}: {}", text(&ended["message"]));
                    Err(ClientError::Proven { what, next: format!("penstock replay show {id}") })
                }
            };
        }
        ReplayCommand::List => {
            return show.objects(&link.list("AdminService.ListReplays", json!({}), "replays").await?, &REPLAYS);
        }
        ReplayCommand::Show { replay_id } => {
            link.call("AdminService.GetReplay", json!({"replay_id": replay_id})).await?
        }
        ReplayCommand::Cancel { replay_id } => {
            link.call("AdminService.CancelReplay", json!({"replay_id": replay_id})).await?
        }
    };
    show.objects(&[answer["replay"].clone()], &REPLAYS)
}

/// The replay, once it is no longer going on.
async fn ended(link: &mut Link, id: &str) -> Result<Value, ClientError> {
    let mut progress = Progress::new();
    loop {
        let replay = link.call("AdminService.GetReplay", json!({"replay_id": id})).await?["replay"].take();
        let state = word(&replay["state"], "STATE_");
        if ["done", "failed", "cancelled"].contains(&state.as_str()) {
            return Ok(replay);
        }
        let [read, of] = ["records_read", "records"].map(|count| replay[count].as_f64().unwrap_or(0.0));
        progress.show((of > 0.0).then(|| read / of), |_| format!("{state}: {read} of {of} records read"));
        sleep(LOOK).await;
    }
}

pub(super) async fn topic(target: &Target, command: TopicCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    let topic = match command {
        TopicCommand::Show => link.call("AdminService.GetTopic", json!({})).await?["topic"].take(),
        TopicCommand::Grow { partitions, wait } => {
            let asked = link.call("AdminService.GrowTopic", json!({"partitions": partitions})).await?["topic"].take();
            if wait {
                // Whoever stops waiting wants to look at it later.
                let what = "it grows, whether it is waited for or not; penstock topic show says how far it is";
                note("GOES_ON", what, show.is_json());
                grown(&mut link, &asked, partitions).await?
            } else {
                asked
            }
        }
    };
    show.object(&topic, &far(&topic))
}

/// The topic, once all of its partitions are in use.
async fn grown(link: &mut Link, asked: &Value, partitions: u32) -> Result<Value, ClientError> {
    let before = asked["partitions"].as_u64().unwrap_or(0);
    let new = u64::from(partitions).saturating_sub(before);
    let (mut progress, mut heard) = (Progress::new(), Instant::now());
    loop {
        match link.call("AdminService.GetTopic", json!({})).await {
            Ok(mut answer) => {
                heard = Instant::now();
                let topic = answer["topic"].take();
                let state = word(&topic["state"], "STATE_");
                if state == "steady" && topic["partitions"].as_u64() >= Some(u64::from(partitions)) {
                    return Ok(topic);
                }
                let waiting = topic["waiting_partitions"].as_u64().filter(|_| state == "draining" && new > 0);
                let part = waiting.map(|waiting| new.saturating_sub(waiting) as f64 / new as f64);
                progress.show(part, |_| far(&topic).lines().map(str::trim).collect::<Vec<_>>().join(", "));
            }
            // It may be busy with just this.
            Err(error) if error.is_away() && heard.elapsed() < AWAY => {}
            Err(error) => return Err(error),
        }
        sleep(LOOK).await;
    }
}

/// How far the topic is, in words.
fn far(topic: &Value) -> String {
    let mut line =
        format!("{}  {} partitions  {}", text(&topic["name"]), topic["partitions"], word(&topic["state"], "STATE_"));
    let more = |field: &str| topic[field].as_u64().filter(|n| *n > 0);
    if let Some(to) = more("growing_to") {
        line += &format!(" to {to}");
    }
    if let Some(waiting) = more("waiting_partitions") {
        line += &format!(", {waiting} new ones wait for what was sent before");
    }
    for writer in topic["unheard_writers"].as_array().into_iter().flatten() {
        line += &format!("\n  waits for {}", text(writer));
    }
    line
}
