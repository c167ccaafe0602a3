//! How questions are asked: once, as a stream, as a subscription, or for a file.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Streaming};

use crate::{
    Answer, Client, Error, Flushed, Metric, Question, Row, Update,
    client::{limited, within},
    live::Live,
    questions::{Asked, duration},
    v1::{self, ExportFormat as Format, Priority},
};

/// How often a question is asked while the server can't be reached.
const ATTEMPTS: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A question that is about to be asked: await it for an [`Answer`]. While the server can't be reached it is asked again, up to four times,
/// as long as its timeout allows.
#[must_use = "it is asked when it is awaited, streamed, subscribed or exported"]
#[derive(Debug, Clone)]
pub struct Ask<Q> {
    client: Client,
    asked: Q,
    app: String,
    options: v1::ReadOptions,
    timeout: Duration,
    min_interval: Option<Duration>,
    wrong: Option<Error>,
}

impl<Q> Ask<Q> {
    pub(crate) fn new(client: Client, asked: Q) -> Self {
        let mut options = v1::ReadOptions::default();
        if client.0.read_your_writes {
            options.position_token = client.token();
        }
        let (app, timeout) = (client.0.app.clone(), client.0.timeout);
        Self { client, asked, app, options, timeout, min_interval: None, wrong: None }
    }

    /// Has the answer include what the flush wrote.
    pub fn after(self, flushed: &Flushed) -> Self {
        self.after_token(&flushed.token)
    }

    /// Has the answer include what the token covers.
    pub fn after_token(mut self, token: impl Into<String>) -> Self {
        self.options.position_token = token.into();
        self
    }

    /// How long the server waits for that, at most 30 seconds. Default: as long as the call may take.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.options.max_wait_ms = milliseconds(wait);
        self
    }

    /// The IANA name of the zone in which days, weeks and months begin. Default: the app's.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.options.time_zone = name.into();
        self
    }

    /// How urgent it is. Default: as urgent as the key allows.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.set_priority(priority);
        self
    }

    /// How old an earlier answer may be that is given while the warehouse can't be reached. Default: none is.
    pub fn max_staleness(mut self, age: Duration) -> Self {
        match duration(age) {
            Ok(age) => self.options.max_staleness = Some(age),
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// Asks about another app than the client's.
    pub fn app(mut self, id: impl Into<String>) -> Self {
        self.app = id.into();
        self
    }

    /// How long it may take: an answer, or a stream to its end. Default: the client's; subscriptions and exports take as long as they take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is said of the reading, for a call of so long.
    fn options(&mut self, limit: Duration) -> Result<v1::ReadOptions, Error> {
        if self.options.max_wait_ms == 0 {
            self.options.max_wait_ms = milliseconds(limit);
        }
        self.wrong.take().map_or_else(|| Ok(self.options.clone()), Err)
    }

    /// Asks until there is an answer.
    async fn answered<F: Future<Output = Result<Option<v1::Result>, Error>>>(
        self,
        mut ask: impl FnMut(Client, Duration) -> F,
    ) -> Result<Answer, Error> {
        let mut again = Retries::until(Instant::now() + self.timeout);
        loop {
            match ask(self.client.clone(), again.left(self.timeout)).await {
                Ok(result) => return Ok(Answer::of_wire(result.unwrap_or_default())),
                Err(error) => again.wait(error).await?,
            }
        }
    }
}

impl IntoFuture for Ask<Question> {
    type Output = Result<Answer, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let options = self.options(self.timeout)?;
            let app_id = self.app.clone();
            match self.asked.0.clone() {
                Asked::Sql(sql) => {
                    let request = v1::SqlRequest { sql, app_id, options: Some(options) };
                    let ask = |client: Client, left| {
                        let request = limited(request.clone(), left);
                        async move { Ok(within(left, client.0.query.clone().sql(request)).await?.result) }
                    };
                    self.answered(ask).await
                }
                Asked::Query(query) => {
                    let query = Some(query.wire(app_id)?);
                    let request = v1::QueryRequest { query, options: Some(options), ..Default::default() };
                    let ask = |client: Client, left| {
                        let request = limited(request.clone(), left);
                        async move { Ok(within(left, client.0.query.clone().query(request)).await?.result) }
                    };
                    self.answered(ask).await
                }
            }
        })
    }
}

impl IntoFuture for Ask<Metric> {
    type Output = Result<Answer, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let options = Some(self.options(self.timeout)?);
            let Metric { name, version, .. } = self.asked.clone();
            let evaluation = Some(self.asked.clone().wire()?);
            let request = v1::EvaluateRequest { app_id: self.app.clone(), name, version, evaluation, options };
            let ask = |client: Client, left| {
                let request = limited(request.clone(), left);
                async move { Ok(within(left, client.0.metrics.clone().evaluate(request)).await?.result) }
            };
            self.answered(ask).await
        })
    }
}

impl Ask<Question> {
    /// Answers with any number of rows, as they come.
    ///
    /// # Errors
    /// In the stream, which ends with it: as an answer's; and [`Code::Unavailable`] if it breaks off.
    pub fn stream(self) -> impl Stream<Item = Result<Row, Error>> + Send + Unpin + 'static {
        let started = stream::once(async move {
            let until = Instant::now() + self.timeout;
            let parts = timeout_at(until, self.parts()).await.map_err(|_| Error::late())??;
            Ok::<_, Error>(rows(parts, until))
        });
        futures::TryStreamExt::try_flatten(started).boxed()
    }

    async fn parts(mut self) -> Result<Parts, Error> {
        let options = Some(self.options(self.timeout)?);
        let (app_id, limit, mut query) = (self.app, self.timeout, self.client.0.query.clone());
        Ok(match self.asked.0 {
            Asked::Sql(sql) => {
                let answer = query.sql_stream(limited(v1::SqlStreamRequest { sql, app_id, options }, limit)).await?;
                answer.into_inner().map(|part| Ok(part?.part.and_then(|part| part.part))).boxed()
            }
            Asked::Query(typed) => {
                let typed = Some(typed.wire(app_id)?);
                let request = limited(v1::QueryStreamRequest { query: typed, options }, limit);
                let answer = query.query_stream(request).await?;
                answer.into_inner().map(|part| Ok(part?.part.and_then(|part| part.part))).boxed()
            }
        })
    }

    /// The least time from one update of a subscription to the next, 0.2 s to an hour. Default: 1 s.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = Some(interval);
        self
    }

    /// Answers now, and again whenever the answer changes, until the stream is dropped. Each update has the whole answer, put together from what
    /// the server says is different. Where the server goes away it is asked again.
    ///
    /// # Errors
    /// In the stream, which ends with it: as an answer's.
    pub fn subscribe(mut self) -> impl Stream<Item = Result<Update, Error>> + Send + Unpin + 'static {
        let made = self.options(LONGEST_WAIT).and_then(|options| {
            let min_interval = self.min_interval.map(duration).transpose()?;
            let question = Some(match self.asked.0 {
                Asked::Sql(sql) => v1::subscribe_request::Question::Sql(v1::SqlQuery { sql, app_id: self.app }),
                Asked::Query(query) => v1::subscribe_request::Question::Query(query.wire(self.app)?),
            });
            let request = v1::SubscribeRequest { question, options: Some(options), min_interval };
            let (pushes, live, again) = (None, Live::default(), Retries::default());
            Ok(Subscription { client: self.client, request, pushes, live, again })
        });
        unfolded(made, |mut subscription| async move { Ok(Some((subscription.next().await?, subscription))) })
    }

    /// Answers with a file of any length, piece by piece, at background priority; the file is whole when the stream ends without an error. The key
    /// needs the `export` permission. Where the server goes away meanwhile, it goes on behind the last piece.
    ///
    /// # Errors
    /// In the stream, which ends with it: as an answer's.
    pub fn export(mut self, format: Format) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + 'static {
        let made = self.options(LONGEST_WAIT).and_then(|options| {
            let question = Some(match self.asked.0 {
                Asked::Sql(sql) => v1::export_request::Question::Sql(v1::SqlQuery { sql, app_id: self.app }),
                Asked::Query(query) => v1::export_request::Question::Query(query.wire(self.app)?),
            });
            let options = Some(options);
            let request = v1::ExportRequest { question, options, format: format.into(), ..Default::default() };
            Ok(Export { client: self.client, request, pieces: None, again: Retries::default(), whole: false })
        });
        unfolded(made, |mut export| async move { Ok(export.next().await?.map(|piece| (piece, export))) })
    }
}

type Parts = stream::BoxStream<'static, Result<Option<v1::result_part::Part>, Error>>;

/// The rows of a streamed answer, until its end or a time.
fn rows(parts: Parts, until: Instant) -> impl Stream<Item = Result<Row, Error>> + Send {
    let batches = stream::try_unfold((parts, Arc::default()), move |(mut parts, mut columns)| async move {
        use v1::result_part::Part;
        loop {
            let part = timeout_at(until, parts.next()).await.map_err(|_| Error::late())?;
            let rows = match part.ok_or_else(|| Error::broke_off("the answer"))?? {
                Some(Part::Header(header)) => {
                    columns = header.columns.into();
                    continue;
                }
                Some(Part::Rows(batch)) => batch.rows,
                Some(Part::End(_)) => return Ok::<_, Error>(None),
                None => continue,
            };
            let rows: Vec<_> = rows.into_iter().map(|row| Ok(Row::of_wire(&columns, row.values))).collect();
            return Ok(Some((stream::iter(rows), (parts, columns))));
        }
    });
    futures::TryStreamExt::try_flatten(batches)
}

/// What comes of a state, if it could be made.
fn unfolded<S, T, F>(
    made: Result<S, Error>,
    next: impl FnMut(S) -> F + Send + 'static,
) -> impl Stream<Item = Result<T, Error>> + Send + Unpin + 'static
where
    S: Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<Option<(T, S)>, Error>> + Send + 'static,
{
    match made {
        Ok(state) => stream::try_unfold(state, next).boxed(),
        Err(error) => stream::once(async { Err(error) }).boxed(),
    }
}

struct Subscription {
    client: Client,
    request: v1::SubscribeRequest,
    pushes: Option<Streaming<v1::SubscribeResponse>>,
    live: Live,
    again: Retries,
}

impl Subscription {
    async fn next(&mut self) -> Result<Update, Error> {
        loop {
            match self.push().await {
                Ok(push) => {
                    self.again = Retries::default();
                    if let Some(update) = self.live.push(push) {
                        return Ok(update);
                    }
                }
                Err(error) => {
                    self.pushes = None;
                    self.again.wait(error).await?;
                }
            }
        }
    }

    async fn push(&mut self) -> Result<v1::SubscribeResponse, Error> {
        let pushes = match self.pushes.take() {
            Some(pushes) => pushes,
            None => self.client.0.query.clone().subscribe(self.request.clone()).await?.into_inner(),
        };
        let push = self.pushes.insert(pushes).message().await?;
        push.ok_or_else(|| Error::broke_off("the subscription"))
    }
}

struct Export {
    client: Client,
    request: v1::ExportRequest,
    pieces: Option<Streaming<v1::ExportResponse>>,
    again: Retries,
    whole: bool,
}

impl Export {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.whole {
            match self.piece().await {
                Ok(piece) => {
                    self.again = Retries::default();
                    self.request.resume_token = piece.resume_token;
                    self.whole = piece.last;
                    if !piece.data.is_empty() {
                        return Ok(Some(piece.data.into()));
                    }
                }
                Err(error) => {
                    self.pieces = None;
                    self.again.wait(error).await?;
                }
            }
        }
        Ok(None)
    }

    async fn piece(&mut self) -> Result<v1::ExportResponse, Error> {
        let pieces = match self.pieces.take() {
            Some(pieces) => pieces,
            None => self.client.0.query.clone().export(self.request.clone()).await?.into_inner(),
        };
        let piece = self.pieces.insert(pieces).message().await?;
        piece.ok_or_else(|| Error::broke_off("the export"))
    }
}

/// Counts how often something was asked in vain.
#[derive(Debug, Default)]
struct Retries {
    count: u32,
    until: Option<Instant>,
}

impl Retries {
    fn until(until: Instant) -> Self {
        Self { count: 0, until: Some(until) }
    }

    fn left(&self, otherwise: Duration) -> Duration {
        self.until.map_or(otherwise, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits before it is asked again, or returns the error if it isn't to be.
    async fn wait(&mut self, error: Error) -> Result<(), Error> {
        self.count += 1;
        if error.code() != Some(Code::Unavailable) || self.count >= ATTEMPTS {
            return Err(error);
        }
        let drawn = (Duration::from_millis(200) * (1 << self.count)).mul_f64(rand::random());
        let pause = error.retry_after().unwrap_or_default().max(drawn);
        if self.until.is_some_and(|until| Instant::now() + pause >= until) {
            return Err(error);
        }
        sleep(pause).await;
        Ok(())
    }
}

fn milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.min(LONGEST_WAIT).as_millis()).unwrap_or(u32::MAX).max(1)
}
