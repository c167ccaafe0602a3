//! Turns how a statement went into an HTTP response, in the words ClickHouse's clients know.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::block::write_block;
use crate::encoding::{Encoder, Encoding};
use crate::error::QueryError;
use crate::execute::Done;
use crate::ffi::Stats;
use crate::flush::Flushes;
use crate::running::StopOnDrop;

/// The body of every response: whole, or streamed and broken off on purpose when the query fails.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, BrokenOff>;

/// The stream ended with an error: the connection is cut so that no client takes the answer for whole.
#[derive(Debug, thiserror::Error)]
#[error("the result is broken off")]
pub(crate) struct BrokenOff;

/// What is the same for every answer of one request.
pub(crate) struct Reply {
    pub(crate) query_id: String,
    pub(crate) version: String,
    pub(crate) timezone: String,
    pub(crate) native: bool,
    pub(crate) encoding: Encoding,
    /// Of the connection that the answer goes to.
    pub(crate) flushes: Flushes,
}

const READ_BYTES: usize = 256 << 10;
const TAG_BYTES: usize = 16;

impl Reply {
    fn head(&self, status: StatusCode, format: &str) -> http::response::Builder {
        Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, content_type(format))
            .header("x-clickhouse-query-id", text_value(&self.query_id))
            .header("x-clickhouse-timezone", text_value(&self.timezone))
            .header("x-clickhouse-server-display-name", "penstock")
    }

    /// An error known before anything was sent. Never compressed: a client must be able to read it.
    pub(crate) fn error(&self, error: &QueryError) -> Response<ResponseBody> {
        let head = self.head(error.status(), "TabSeparated").header("x-clickhouse-exception-code", error.code);
        finish(head, whole(error.body(&self.version).into()))
    }

    /// A result that is whole: its headers tell how the query ended.
    pub(crate) fn done(&self, done: &Done, body: Vec<u8>) -> Response<ResponseBody> {
        let mut wire = Wire::new(self.native, self.encoding);
        let body = if body.is_empty() { Ok(Vec::new()) } else { wire.push(body) };
        let body = body.and_then(|mut out| {
            out.extend(wire.finish()?);
            Ok(out)
        });
        match body {
            Ok(body) => {
                let head = self.head(StatusCode::OK, &done.format);
                finish(
                    self.encoded(head, &done.format).header("x-clickhouse-summary", summary(&done.stats)),
                    whole(body.into()),
                )
            }
            Err(error) => self.error(&QueryError::internal(format!("Can't encode the result: {error}."))),
        }
    }

    fn encoded(&self, head: http::response::Builder, format: &str) -> http::response::Builder {
        let head = head.header("x-clickhouse-format", text_value(format));
        match self.encoding.name() {
            Some(name) => head.header(header::CONTENT_ENCODING, name),
            None => head,
        }
    }

    /// A result of which `held` has been read and the rest still flows.
    pub(crate) fn stream(self, held: Vec<u8>, flow: Flow, format: &str) -> Response<ResponseBody> {
        let tag: String = uuid::Uuid::new_v4().simple().to_string().chars().take(TAG_BYTES).collect();
        let head = self.encoded(self.head(StatusCode::OK, format), format);
        let head = head
            .header("x-clickhouse-exception-tag", &tag)
            // What is known now; ClickHouse's own header says as little while a result still flows.
            .header("x-clickhouse-summary", summary(&Stats::default()));
        let wire = Wire::new(self.native, self.encoding);
        let (version, flushes) = (self.version, self.flushes);
        let state = Streaming { held: Some(held), flow, wire: Some(wire), tag, version, flushes, broken: false };
        let frames = stream::try_unfold(state, |mut state| async move {
            let frame = state.next_frame().await?;
            Ok(frame.map(|bytes| (Frame::data(bytes), state)))
        });
        finish(head, StreamBody::new(frames).boxed_unsync())
    }
}

/// A running query's output and, at its end, its outcome. Dropped early, it stops the query.
pub(crate) struct Flow {
    pub(crate) pipe: pipe::Receiver,
    pub(crate) outcome: oneshot::Receiver<Result<Done, QueryError>>,
    pub(crate) _stop: StopOnDrop,
}

impl Flow {
    /// Reads until `limit` bytes are held or the output ends; `true` if it ended.
    pub(crate) async fn fill(&mut self, held: &mut Vec<u8>, limit: usize) -> std::io::Result<bool> {
        while held.len() < limit {
            held.reserve(READ_BYTES);
            if self.pipe.read_buf(held).await? == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How the query ended, once its output has.
    pub(crate) async fn outcome(&mut self) -> Result<Done, QueryError> {
        (&mut self.outcome).await.unwrap_or_else(|_| Err(QueryError::internal("The query's thread is gone.")))
    }
}

/// The state of a streamed body.
struct Streaming {
    held: Option<Vec<u8>>,
    flow: Flow,
    /// Gone when the last frame has been made.
    wire: Option<Wire>,
    tag: String,
    version: String,
    flushes: Flushes,
    broken: bool,
}

impl Streaming {
    async fn next_frame(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        if self.broken {
            // The last frame leaves before the cut.
            self.flushes.next().await;
            return Err(BrokenOff);
        }
        let Some(wire) = &mut self.wire else { return Ok(None) };
        let mut piece = self.held.take().unwrap_or_default();
        let ended = match piece.is_empty() {
            true => self.flow.fill(&mut piece, 1).await.map_err(|_| BrokenOff)?,
            false => false,
        };
        if !ended {
            return wire.push(piece).map(|frame| Some(frame.into())).map_err(|_| BrokenOff);
        }
        let mut frame = Vec::new();
        if let Err(error) = self.flow.outcome().await {
            self.broken = true;
            let text = exception(&error, &self.tag, &self.version);
            frame = wire.push(text.into_bytes()).map_err(|_| BrokenOff)?;
        }
        let wire = self.wire.take().expect("taken once, here");
        frame.extend(wire.finish().map_err(|_| BrokenOff)?);
        Ok(Some(frame.into()))
    }
}

/// What ClickHouse 25.11 and later put behind a result that failed, under the tag of the response's header.
fn exception(error: &QueryError, tag: &str, version: &str) -> String {
    let message = error.body(version);
    format!("\r\n__exception__\r\n{tag}\r\n{message}{} {tag}\r\n__exception__\r\n", message.len())
}

/// Native blocks inside an HTTP encoding, either or both or none.
struct Wire {
    native: bool,
    encoder: std::io::Result<Encoder>,
}

impl Wire {
    fn new(native: bool, encoding: Encoding) -> Self {
        Self { native, encoder: Encoder::new(encoding) }
    }

    fn push(&mut self, data: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let data = match self.native {
            true => {
                let mut framed = Vec::with_capacity(data.len() / 2 + 64);
                write_block(&data, &mut framed);
                framed
            }
            false => data,
        };
        match &mut self.encoder {
            Ok(encoder) => encoder.push(data),
            Err(error) => Err(std::io::Error::other(error.to_string())),
        }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        self.encoder?.finish()
    }
}

/// The `X-ClickHouse-Summary` of these counters; its numbers are strings.
fn summary(stats: &Stats) -> String {
    serde_json::json!({
        "read_rows": stats.read_rows.to_string(),
        "read_bytes": stats.read_bytes.to_string(),
        "written_rows": stats.written_rows.to_string(),
        "written_bytes": stats.written_bytes.to_string(),
        "total_rows_to_read": stats.read_rows.to_string(),
        "result_rows": stats.result_rows.to_string(),
        "result_bytes": stats.result_bytes.to_string(),
        "elapsed_ns": stats.elapsed_ns.to_string(),
    })
    .to_string()
}

fn content_type(format: &str) -> &'static str {
    let format = format.to_ascii_lowercase();
    if format.starts_with("tabseparated") || format.starts_with("tsv") {
        "text/tab-separated-values; charset=UTF-8"
    } else if format.starts_with("csv") {
        if format.contains("withnames") {
            "text/csv; charset=UTF-8; header=present"
        } else {
            "text/csv; charset=UTF-8; header=absent"
        }
    } else if format.contains("eachrow") || format.starts_with("ndjson") || format.starts_with("jsonlines") {
        "application/x-ndjson; charset=UTF-8"
    } else if format.starts_with("json") {
        "application/json; charset=UTF-8"
    } else if format.starts_with("pretty") || format == "vertical" || format == "values" || format == "markdown" {
        "text/plain; charset=UTF-8"
    } else if format == "xml" {
        "application/xml; charset=UTF-8"
    } else {
        "application/octet-stream"
    }
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn whole(body: Bytes) -> ResponseBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn finish(head: http::response::Builder, body: ResponseBody) -> Response<ResponseBody> {
    head.body(body).expect("names are constants and values are checked")
}

/// A plain answer that is no query's.
pub(crate) fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<ResponseBody> {
    finish(Response::builder().status(status).header(header::CONTENT_TYPE, content_type), whole(body.into()))
}

/// Adds `Retry-After` to a refusal that time heals.
pub(crate) fn retry_after(mut response: Response<ResponseBody>, wait: Duration) -> Response<ResponseBody> {
    let name: HeaderName = header::RETRY_AFTER;
    response.headers_mut().insert(name, wait.as_secs().max(1).into());
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_counts_its_message() {
        let text = exception(&QueryError::syntax("x"), "0123456789abcdef", "1.2");
        let message = "Code: 62. DB::Exception: x (SYNTAX_ERROR) (version 1.2)\n";
        assert_eq!(
            text,
            format!(
                "\r\n__exception__\r\n0123456789abcdef\r\n{message}{} 0123456789abcdef\r\n__exception__\r\n",
                message.len()
            )
        );
    }

    #[test]
    fn the_summary_is_what_clients_parse() {
        let stats = Stats { read_rows: 7, ..Stats::default() };
        let parsed: std::collections::HashMap<String, String> = serde_json::from_str(&summary(&stats)).unwrap();
        assert_eq!(parsed["read_rows"], "7");
    }
}
