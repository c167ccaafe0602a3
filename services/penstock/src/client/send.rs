//! `penstock send`: a file of events, or what comes by standard input, each counted once.
//!
//! [`read`] makes events of lines in a thread of its own. Here they go in batches on one stream, as many unanswered as the server wants; what
//! is not answered when it breaks off is sent again on the next one, under the same ids.

mod read;
mod verdicts;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use api::{
    status::from_status,
    v1::{self, ingest_service_client::IngestServiceClient},
};
use model::ErrorCode;
use prost::Message;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{ClientError, Show, Target, keyed, show::Progress};
use crate::cli::SendArguments;
pub(super) use read::Line;
use read::Source;
pub(super) use verdicts::Verdicts;

/// A batch is cut at either; the server's limits are 10,000 and 1 MiB.
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 512 << 10;
/// Lines that are read ahead.
pub(super) const AHEAD: usize = 256;
/// Batches unanswered at once before the server has said how many.
const FIRST_CREDITS: usize = 16;
/// Who gets no answer for so long gives up.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(1);

/// Events on their way, and the lines that they come from.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u64>,
    events: Vec<v1::Event>,
    bytes: usize,
}

/// Sends all events, says what became of them, and fails if one was refused.
pub(super) async fn send(target: &Target, arguments: SendArguments, show: &mut Show) -> Result<(), ClientError> {
    let source = Source::open(&arguments)?;
    let verdicts = Verdicts::new(arguments.rejected.as_deref(), source.counted(), show)?;
    let connected = keyed(target).await?;
    let (size, read) = (source.size.filter(|size| *size > 0), source.read.clone());
    let (line_sender, lines) = mpsc::channel(AHEAD);
    std::thread::spawn(move || source.lines(&line_sender));
    let part = move |_: u64| size.map(|size| read.so_far() as f64 / size as f64);
    deliver(target, connected, &arguments.app, lines, verdicts, part).await?.finish(show)
}

/// Sends all lines, wherever it breaks off, and says what became of them. `part` says how much is done of all, by how many are answered.
pub(super) async fn deliver(
    target: &Target,
    connected: super::Keyed,
    app: &str,
    lines: mpsc::Receiver<Result<Line, ClientError>>,
    verdicts: Verdicts,
    part: impl Fn(u64) -> Option<f64> + Send + 'static,
) -> Result<Verdicts, ClientError> {
    let mut connected = Some(connected);
    let mut sending = Sending {
        app: app.to_owned(),
        lines,
        held: None,
        at_end: false,
        unanswered: VecDeque::new(),
        next: 0,
        credits: FIRST_CREDITS,
        verdicts,
        progress: Progress::new(),
        part: Box::new(part),
    };
    let mut heard = Instant::now();
    loop {
        let before = sending.verdicts.answered();
        let channel = match connected.take() {
            Some(channel) => Ok(channel),
            None => keyed(target).await,
        };
        let ended = match channel {
            Ok(channel) => match sending.stream(IngestServiceClient::new(channel)).await? {
                None => return Ok(sending.verdicts),
                Some(ended) => ended,
            },
            Err(ClientError::Connect { source, .. }) => Status::unavailable(source.to_string()), // it was there before
            Err(error) => return Err(error),
        };
        if sending.verdicts.answered() > before {
            heard = Instant::now();
        }
        let error = from_status(&ended);
        // A server that is killed says nothing of when to come again.
        let is_passing = matches!(error.code, ErrorCode::Unavailable | ErrorCode::ResourceExhausted)
            || matches!(ended.code(), Code::Unknown | Code::Cancelled);
        if !is_passing || heard.elapsed() > PATIENCE {
            return Err(ClientError::BrokenOff { answered: sending.verdicts.answered(), why: Box::new(ended) });
        }
        sleep(error.retry_after.unwrap_or(PAUSE)).await;
    }
}

/// How far the sending is.
struct Sending {
    app: String,
    lines: mpsc::Receiver<Result<Line, ClientError>>,
    /// A line that didn't fit in the batch before.
    held: Option<Line>,
    at_end: bool,
    unanswered: VecDeque<Batch>,
    /// The number of the first batch that is unanswered.
    next: u64,
    credits: usize,
    verdicts: Verdicts,
    progress: Progress,
    part: Box<dyn Fn(u64) -> Option<f64> + Send>,
}

impl Sending {
    /// Sends what is unanswered and what follows; why the stream ended before all was answered, if it did.
    async fn stream(&mut self, mut client: IngestServiceClient<super::Keyed>) -> Result<Option<Status>, ClientError> {
        let (sender, receiver) = mpsc::channel(self.unanswered.len().max(1));
        for (sequence, batch) in (self.next..).zip(&self.unanswered) {
            let _ = sender.try_send(self.request(sequence, batch)); // there is room for all of them
        }
        let mut answers: Streaming<_> = match client.publish_stream(ReceiverStream::new(receiver)).await {
            Ok(answers) => answers.into_inner(),
            Err(refused) => return Ok(Some(refused)),
        };
        while !(self.at_end && self.unanswered.is_empty()) {
            let has_room = !self.at_end && self.unanswered.len() < self.credits;
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => self.answered(answer)?,
                    Ok(None) => return Ok(Some(Status::unavailable("the stream ended"))),
                    Err(status) => return Ok(Some(status)),
                },
                batch = batch(&mut self.lines, &mut self.held, &mut self.verdicts), if has_room => match batch? {
                    Some(batch) => {
                        let request = self.request(self.next + self.unanswered.len() as u64, &batch);
                        self.unanswered.push_back(batch);
                        let _ = sender.send(request).await; // if the stream is broken, its end says why
                    }
                    None => self.at_end = true,
                },
            }
            let verdicts = &self.verdicts;
            self.progress.show((self.part)(verdicts.answered()), |progress| {
                format!("{verdicts}, {:.0} a second", progress.rate(verdicts.answered() as f64))
            });
        }
        Ok(None)
    }

    fn request(&self, sequence: u64, batch: &Batch) -> v1::PublishStreamRequest {
        let batch = v1::PublishRequest {
            app_id: self.app.clone(),
            events: batch.events.clone(),
            position_token: self.verdicts.position_token.clone(),
        };
        v1::PublishStreamRequest { sequence, batch: Some(batch) }
    }

    fn answered(&mut self, answer: v1::PublishStreamResponse) -> Result<(), ClientError> {
        let (Some(batch), Some(verdict)) = (self.unanswered.pop_front(), answer.acknowledgement) else {
            return Ok(());
        };
        self.next += 1;
        self.credits = if answer.credits == 0 { FIRST_CREDITS } else { answer.credits as usize };
        self.verdicts.accepted(u64::from(verdict.accepted), verdict.position_token);
        for rejection in verdict.rejections {
            let index = rejection.index as usize;
            if let (Some(line), Some(event)) = (batch.lines.get(index), batch.events.get(index)) {
                let field = rejection.field.trim_start_matches(&format!("events[{index}]")).trim_start_matches('.');
                self.verdicts.refused(*line, &rejection.code, field, &rejection.message, Ok(event))?;
            }
        }
        Ok(())
    }
}

/// What has been read, as far as it fits: one event at least, none at the end.
async fn batch(
    lines: &mut mpsc::Receiver<Result<Line, ClientError>>,
    held: &mut Option<Line>,
    verdicts: &mut Verdicts,
) -> Result<Option<Batch>, ClientError> {
    let mut batch = Batch::default();
    loop {
        let line = match held.take() {
            Some(line) => line,
            None if batch.events.is_empty() => match lines.recv().await.transpose()? {
                Some(line) => line,
                None => return Ok(None),
            },
            None => match lines.try_recv() {
                Ok(line) => line?,
                Err(_) => return Ok(Some(batch)),
            },
        };
        match line {
            Line::Event { number, event } => {
                let bytes = event.encoded_len();
                if !batch.events.is_empty() && batch.bytes + bytes > BATCH_BYTES {
                    *held = Some(Line::Event { number, event });
                    return Ok(Some(batch));
                }
                batch.bytes += bytes;
                batch.lines.push(number);
                batch.events.push(event);
                if batch.events.len() == BATCH_EVENTS {
                    return Ok(Some(batch));
                }
            }
            Line::None { number, text, error } => {
                let violation = error.violations.into_iter().next();
                let (code, field, message) =
                    violation.map_or_else(Default::default, |v| (v.reason.into_owned(), v.field, v.description));
                let field = field.trim_start_matches("events[0]").trim_start_matches('.');
                verdicts.refused(number, &code, field, &message, Err(&text))?;
            }
        }
    }
}
