//! `penstock doctor`: what is well, what isn't, why, and what to do.
//!
//! From the outside in: the address ([`probe`]), the gateway's health, the clocks, the key, each role by a call that changes nothing, the warehouse by a
//! question, and how far behind its answer is. Then each process whose port for operators is known ([`process`]).

mod process;
mod roles;

use std::time::Duration;

use http::Uri;
use serde::Serialize;
use serde_json::json;
use storage::warehouse::rehearse;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{ClientError, Complaint, Show, Target, link::channel, probe, show::Colour};
use crate::{cli::DoctorArguments, config::Config, wire::now_ms};
use process::Before;

/// Where the documentation is, for who has the sources or the site.
const DOCS: &str = "docs/runbooks";
/// Clocks may differ by so much before it is worth a word. An event that is 5 minutes ahead is refused.
const CLOCKS: (i64, i64) = (30_000, 240_000);

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Not looked at.
    Skip,
    Warn,
    Fail,
}

/// A look.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    verdict: Verdict,
    /// What was seen.
    why: String,
    /// What to do; empty if nothing.
    next: String,
}

/// All looks so far; each is said at once.
struct Round<'a> {
    show: &'a mut Show,
    failed: usize,
}

impl Round<'_> {
    fn say(
        &mut self,
        check: &str,
        verdict: Verdict,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Result<(), ClientError> {
        let check = Check { check: check.to_owned(), verdict, why: why.into(), next: next.into() };
        self.failed += usize::from(verdict == Verdict::Fail);
        let (word, colour) = match verdict {
            Verdict::Ok => ("ok  ", Some(Colour::Green)),
            Verdict::Skip => ("skip", None),
            Verdict::Warn => ("warn", Some(Colour::Yellow)),
            Verdict::Fail => ("FAIL", Some(Colour::Red)),
        };
        let word = colour.map_or_else(|| word.to_owned(), |colour| colour.paint(word, self.show.is_terminal()));
        let mut text = format!("{word}  {:<20} {}", check.check, check.why);
        if !check.next.is_empty() {
            text += &format!("\n      next: {}", check.next);
        }
        let said = json!(check);
        self.show.object(&said, &text)
    }

    fn ok(&mut self, check: &str, why: impl Into<String>) -> Result<(), ClientError> {
        self.say(check, Verdict::Ok, why, "")
    }

    fn fail(&mut self, check: &str, why: impl Into<String>, next: impl Into<String>) -> Result<(), ClientError> {
        self.say(check, Verdict::Fail, why, next)
    }

    /// A failure as every command says it.
    fn refused(&mut self, check: &str, error: &ClientError) -> Result<(), ClientError> {
        let (why, next) = Complaint::from(error).into_parts();
        self.fail(check, why, next)
    }

    /// Well, worth a word, or wrong, by a measure and its two bounds.
    fn measured(
        &mut self,
        check: &str,
        measure: i64,
        bounds: (i64, i64),
        why: String,
        next: &str,
    ) -> Result<(), ClientError> {
        match measure {
            m if m > bounds.1 => self.say(check, Verdict::Fail, why, next),
            m if m > bounds.0 => self.say(check, Verdict::Warn, why, next),
            _ => self.ok(check, why),
        }
    }
}

/// Looks at everything, and fails if something is wrong.
pub(super) async fn doctor(target: &Target, arguments: DoctorArguments, show: &mut Show) -> Result<(), ClientError> {
    let mut round = Round { show, failed: 0 };
    let uri = target.server.parse::<Uri>().unwrap_or_default();
    let named = [arguments.ops, target.ops.clone()].into_iter().find(|ops| !ops.is_empty());
    let processes = Before::read(named, uri.host().unwrap_or_default()).await;
    if let Some(skew_ms) = public(target, &mut round).await? {
        let mut app = arguments.app;
        target.app(&mut app);
        roles::look(target, (target.tenant(arguments.of.tenant), app), skew_ms, &mut round).await?;
    }
    processes.look(&mut round).await?;
    match round.failed {
        0 => Ok(()),
        failed => Err(ClientError::Unwell(failed)),
    }
}

/// Tries a configuration's cluster, and fails if something is wrong.
pub(crate) async fn cluster(config: &Config, show: &mut Show) -> Result<(), ClientError> {
    let mut round = Round { show, failed: 0 };
    let options = &config.cluster;
    if options.shards.is_empty() {
        round.fail(
            "configuration",
            "its warehouse is no cluster",
            "name it with --config FILE, or set `cluster.shards`",
        )?;
        return Err(ClientError::Unwell(1));
    }
    let scratch = format!("penstock_doctor_{:08x}", rand::random::<u32>());
    let (topology, user) = (options.topology(), config.warehouse_user.as_str());
    match rehearse(&topology, &scratch, user, config.warehouse_password(), options.quorum()).await {
        Err(error) => round.fail("configuration", error.to_string(), "see docs/production.md")?,
        Ok(found) => {
            for (what, outcome) in found {
                match outcome {
                    Ok(seen) => round.ok(&what, seen)?,
                    Err(wrong) => {
                        round.fail(&what, wrong, format!("see docs/production.md; {scratch} may be left over"))?
                    }
                }
            }
        }
    }
    match round.failed {
        0 => Ok(()),
        failed => Err(ClientError::Unwell(failed)),
    }
}

/// The address and what answers there: by how much its clock is ahead, if anything does.
async fn public(target: &Target, round: &mut Round<'_>) -> Result<Option<i64>, ClientError> {
    let server = target.server.as_str();
    let channel = match channel(server).await {
        Ok(channel) => channel,
        Err(error) => {
            round.refused("server", &probe::explain(server, error).await)?;
            return Ok(None);
        }
    };
    let mut health = HealthClient::new(channel);
    let asked = tokio::time::timeout(Duration::from_secs(30), health.check(HealthCheckRequest::default())).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) => {
            round.refused("server", &probe::explain(server, status.into()).await)?;
            return Ok(None);
        }
        Err(_) => {
            round.fail("server", format!("{server} doesn't answer within 30 s"), format!("see {DOCS}/role-away.md"))?;
            return Ok(None);
        }
    };
    round.ok("server", format!("{server} answers"))?;
    let date = answer.metadata().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    if answer.get_ref().status() == ServingStatus::Serving {
        round.ok("health", "the gateway serves")?;
    } else {
        round.fail(
            "health",
            "the gateway starts or ends",
            "ask again in some seconds; its log says why if it stays so",
        )?;
    }
    let Some(date) = date else {
        round.say("clock", Verdict::Skip, "the server doesn't say its time", "")?;
        return Ok(Some(0));
    };
    // The server's time has whole seconds: half a one more is the likeliest.
    let skew_ms = date.timestamp().as_millisecond() + 500 - now_ms();
    let by = format!("{:.0} s {}", skew_ms.abs() as f64 / 1000.0, if skew_ms < 0 { "behind" } else { "ahead of" });
    let why = if skew_ms.abs() <= 1_500 {
        "the server's is this machine's".to_owned()
    } else {
        format!("the server's is {by} this machine's")
    };
    let next = "set both clocks by NTP: events that are 5 minutes ahead of the server's are refused";
    round.measured("clock", skew_ms.abs(), CLOCKS, why, next)?;
    Ok(Some(skew_ms))
}
