//! What is kept of events and changes: whether all are there, what was refused, who is erased, who changed what.

use serde_json::{Value, json};

use super::{
    ClientError, Link, Show, Target,
    show::{Column, Progress, text, word},
};
use crate::cli::{AuditCommand, ErasureCommand, OfApp, ReconcileArguments};

/// The request's tenant and app.
fn place(target: &Target, of: OfApp) -> Value {
    let mut app = of.app;
    target.app(&mut app);
    json!({"tenant_id": target.tenant(of.of.tenant), "app_id": app})
}

const HOURS: [Column; 9] = [
    ("hour", |h| text(&h["start"])),
    ("accepted", |h| text(&h["accepted"])),
    ("stored", |h| text(&h["stored"])),
    ("duplicates", |h| text(&h["duplicates"])),
    ("dead letters", |h| text(&h["dead_letters"])),
    ("expired", |h| text(&h["expired"])),
    ("erased", |h| text(&h["erased"])),
    ("missing", |h| text(&h["missing"])),
    ("doubled", |h| text(&h["doubled"])),
];

/// Says what became of each hour's events, and fails with the place of those that aren't accounted for.
pub(super) async fn reconcile(
    target: &Target,
    arguments: ReconcileArguments,
    show: &mut Show,
) -> Result<(), ClientError> {
    let to = arguments.to.unwrap_or_else(jiff::Timestamp::now);
    let from = arguments.from.unwrap_or_else(|| to.saturating_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(to));
    let mut request = place(target, arguments.of);
    request["from"] = json!(from.to_string());
    request["to"] = json!(to.to_string());
    let mut link = Link::open(target).await?;
    let asked = link.call("AdminService.Reconcile", request);
    let answer = Progress::new().waiting("the log and the warehouse are compared", asked).await?;
    if show.is_json() {
        show.object(&answer, "")?;
    } else {
        let mut hours = answer["hours"].as_array().cloned().unwrap_or_default();
        hours.retain(|hour| ["accepted", "missing", "doubled"].iter().any(|count| hour[*count] != 0));
        show.objects(&hours, &HOURS)?;
        let [until, since] = ["settled_until", "checked_since"].map(|time| text(&answer[time]));
        let mut said = match until.as_str() {
            "" => "nothing of it is settled yet: ask again in a moment".to_owned(),
            until => format!("what was taken until {until} is settled"),
        };
        if !since.is_empty() {
            said += &format!("\nbefore {since} the log no longer tells what is missing");
        }
        show.object(&answer, &said)?;
    }
    let differences = answer["differences"].as_array().map_or(&[][..], Vec::as_slice);
    if differences.is_empty() {
        return Ok(());
    }
    let range = |d: &Value| format!("--range {}:{}-{}", d["partition"], d["first_offset"], d["last_offset"]);
    let said = |d: &Value| format!("{} {} in partition {}", d["events"], word(&d["kind"], "KIND_"), d["partition"]);
    let what = differences.iter().map(said).collect::<Vec<_>>().join(", ");
    let ranges = differences.iter().map(range).collect::<Vec<_>>().join(" ");
    let next = format!("penstock replay start --wait {ranges} makes them anew of the log, with an operator's key");
    Err(ClientError::Proven { what: format!("not all events are accounted for: {what}"), next })
}

const DEAD_LETTERS: [Column; 6] = [
    ("received", |d| text(&d["received_at"])),
    ("why", |d| text(&d["code"])),
    ("event", |d| text(&d["event"]["event_type"])),
    ("user", |d| text(&d["event"]["user_id"])),
    ("of", |d| text(&d["event"]["timestamp"])),
    ("id", |d| text(&d["event"]["event_id"])),
];

pub(super) async fn dead_letters(target: &Target, of: OfApp, show: &mut Show) -> Result<(), ClientError> {
    let request = place(target, of);
    let kept = Link::open(target).await?.list("AdminService.ListDeadLetters", request, "dead_letters").await?;
    show.objects(&kept, &DEAD_LETTERS)
}

const ERASURES: [Column; 6] = [
    ("erasure", |e| text(&e["erasure_id"])),
    ("app", |e| text(&e["app_id"])),
    ("user", |e| text(&e["user_id"])),
    ("state", |e| word(&e["state"], "STATE_")),
    ("requested", |e| text(&e["requested_at"])),
    ("events", |e| text(&e["events_deleted"])),
];

pub(super) async fn erasure(target: &Target, command: ErasureCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    match command {
        ErasureCommand::Start { user, of } => {
            let mut request = place(target, of);
            request["user_id"] = json!(user);
            let taken = link.call("AdminService.EraseUser", request).await?;
            show.object(&taken["erasure"], &text(&taken["erasure"]["erasure_id"]))
        }
        ErasureCommand::Show { erasure_id, of } => {
            let request = json!({"tenant_id": target.tenant(of.tenant), "erasure_id": erasure_id});
            let erasure = link.call("AdminService.GetErasure", request).await?;
            show.objects(&[erasure["erasure"].clone()], &ERASURES)
        }
        ErasureCommand::List { of } => {
            show.objects(&link.list("AdminService.ListErasures", place(target, of), "erasures").await?, &ERASURES)
        }
    }
}

const ENTRIES: [Column; 6] = [
    ("at", |e| text(&e["at"])),
    ("method", |e| text(&e["method"])),
    ("object", |e| text(&e["object"])),
    ("by key", |e| text(&e["key_id"])),
    ("from", |e| text(&e["address"])),
    ("app", |e| text(&e["app_id"])),
];

pub(super) async fn audit(target: &Target, command: AuditCommand, show: &mut Show) -> Result<(), ClientError> {
    let mut link = Link::open(target).await?;
    match command {
        AuditCommand::List { of, from, to, method, key_id } => {
            let [from, to] = [from, to].map(|time| time.map(|time| time.to_string()));
            let request = json!({"tenant_id": target.tenant(of.tenant), "from": from, "to": to, "method": method, "key_id": key_id});
            show.objects(&link.list("AdminService.ListAuditEntries", request, "entries").await?, &ENTRIES)
        }
        AuditCommand::Verify { of, entries, hash } => {
            let request =
                json!({"tenant_id": target.tenant(of.tenant), "expected_entries": entries, "expected_hash": hash});
            let answer = link.call("AdminService.VerifyAudit", request).await?;
            let (count, last) = (&answer["entries"], text(&answer["last_hash"]));
            show.object(&answer, &format!("{count} entries, the last with the hash {last}"))?;
            let next =
                "compare with the copy that is kept elsewhere; docs/security.md says what the log proves".to_owned();
            match (answer["broken_sequence"].as_u64(), &answer["contains_expected"]) {
                (Some(at), _) if at > 0 => {
                    let what = format!("the audit log is broken at entry {at}: {}", text(&answer["broken_reason"]));
                    Err(ClientError::Proven { what, next })
                }
                (_, Value::Bool(false)) => {
                    let what = format!("entry {entries} with this hash is no longer in the audit log");
                    Err(ClientError::Proven { what, next })
                }
                _ => Ok(()),
            }
        }
    }
}
