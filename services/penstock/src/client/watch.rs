//! `penstock watch`: an answer as it changes.

use std::{
    io::{self, Write},
    time::Duration,
};

use api::{
    convert,
    status::from_status,
    v1::{
        Column, Row, SqlQuery, SubscribeRequest, Value, query_service_client::QueryServiceClient,
        subscribe_request::Question, subscribe_response::Push, value::Kind,
    },
};
use model::ErrorCode;
use serde_json::json;
use tokio::signal;
use tonic::{Status, Streaming};

use super::{ClientError, Show, Target, keyed, show::one_line};
use crate::cli::WatchArguments;

/// Writes each push as lines: `=` and the columns before a whole answer, `+` and a row that is new or changed, `-` and the key of one
/// that is gone. As JSON each is an object with one of `columns`, `row` and `removed`.
pub(super) async fn watch(target: &Target, arguments: WatchArguments, show: &mut Show) -> Result<(), ClientError> {
    let interval = Duration::from_secs_f64(arguments.interval.clamp(0.0, 1e6));
    let request = SubscribeRequest {
        question: Some(Question::Sql(SqlQuery { sql: arguments.sql, app_id: arguments.app })),
        min_interval: prost_types::Duration::try_from(interval).ok(),
        ..SubscribeRequest::default()
    };
    pushes(target, request, |push| {
        match push {
            Push::State(state) => {
                let result = state.result.unwrap_or_default();
                let names: Vec<_> = result.columns.iter().map(|column: &Column| column.name.as_str()).collect();
                if show.is_json() {
                    writeln!(show.out(), "{}", json!({ "columns": names }))?;
                } else {
                    writeln!(show.out(), "=\t{}", names.join("\t"))?;
                }
                rows(show, "+", &result.rows)?;
            }
            Push::Change(change) => {
                rows(show, "-", &change.removed)?;
                rows(show, "+", &change.upserted)?;
            }
            Push::Heartbeat(_) => {}
        }
        show.out().flush()
    })
    .await
}

/// Hands each push on until Ctrl-C. Where the server sends it away for a while it comes again.
pub(super) async fn pushes(
    target: &Target,
    request: SubscribeRequest,
    take: impl FnMut(Push) -> io::Result<()>,
) -> Result<(), ClientError> {
    tokio::select! {
        failed = until_it_fails(target, request, take) => failed,
        _ = signal::ctrl_c() => Ok(()),
    }
}

async fn until_it_fails(
    target: &Target,
    request: SubscribeRequest,
    mut take: impl FnMut(Push) -> io::Result<()>,
) -> Result<(), ClientError> {
    let mut channel = keyed(target).await?;
    loop {
        let mut client = QueryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let ended = match client.subscribe(request.clone()).await {
            Ok(subscribed) => follow(subscribed.into_inner(), &mut take).await?,
            Err(refused) => refused,
        };
        let error = from_status(&ended);
        let Some(pause) = error.retry_after.filter(|_| error.code == ErrorCode::Unavailable) else {
            return Err(ended.into());
        };
        channel = loop {
            tokio::time::sleep(pause).await;
            match keyed(target).await {
                Err(ClientError::Connect { .. }) => {} // it was there before
                connected => break connected?,
            }
        };
    }
}

/// Hands the pushes on, and returns why they ended.
async fn follow(
    mut pushes: Streaming<api::v1::SubscribeResponse>,
    take: &mut impl FnMut(Push) -> io::Result<()>,
) -> io::Result<Status> {
    loop {
        match pushes.message().await {
            Ok(Some(message)) => message.push.map_or(Ok(()), &mut *take)?,
            Ok(None) => return Ok(Status::aborted("the stream ended")),
            Err(status) => return Ok(status),
        }
    }
}

fn rows(show: &mut Show, mark: &str, rows: &[Row]) -> Result<(), io::Error> {
    let is_json = show.is_json();
    rows.iter().try_for_each(|row| {
        if is_json {
            let name = if mark == "-" { "removed" } else { "row" };
            let values: Vec<_> = row.values.iter().map(plain).collect();
            return writeln!(show.out(), "{}", json!({ name: values }));
        }
        let values: Vec<_> = row.values.iter().map(text).collect();
        writeln!(show.out(), "{mark}\t{}", values.join("\t"))
    })
}

/// A value as JSON has it; an instant is text.
pub(super) fn plain(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::Null(_)) => serde_json::Value::Null,
        Some(Kind::Number(x)) => json!(x),
        Some(Kind::Integer(i)) => json!(i),
        Some(Kind::String(text)) => json!(text),
        Some(Kind::Bool(b)) => json!(b),
        Some(Kind::Time(_)) => json!(text(value)),
    }
}

pub(super) fn text(value: &Value) -> String {
    match &value.kind {
        None | Some(Kind::Null(_)) => "NULL".to_owned(),
        Some(Kind::Number(x)) => x.to_string(),
        Some(Kind::Integer(i)) => i.to_string(),
        Some(Kind::String(text)) => one_line(text),
        Some(Kind::Bool(b)) => b.to_string(),
        Some(Kind::Time(time)) => {
            let time = convert::instant(time).and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            time.map_or_else(String::new, |time| time.to_string())
        }
    }
}
