//! Answers of any length as files, which can be gone on with wherever they broke off.
//!
//! With its first piece an export fixes what `now` is and which position of the log it reads: nothing that is committed later is in
//! it. Single events are read in spans of time ([`Source::Events`]), each a query of its own, so that neither the warehouse sorts more than a
//! span nor this process holds more than a block; what comes next is what lies behind the last row. Any other answer is one
//! query ([`Source::Whole`]); to go on with it the rows that the caller has are computed again and passed over, if they are still the same.
//!
//! Every piece comes with a token ([`Mark`]) that says how far the caller is with it. It holds no rows and gives no access: who shows it asks the
//! question again, under a key of their own.

mod format;

use std::{ops::Range, sync::Arc};

use api::{
    convert::{self, time_to_wire},
    v1,
};
use formula::{EventPlace, SealedPlan};
use futures::{Stream, stream};
use model::{Error, ErrorCode, HOUR_MS, Position, Priority};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use storage::{
    Change,
    warehouse::{Cell, RowBlock},
};
use tokio::time::{Instant, sleep};

use crate::{
    ask::Words,
    flight::Frontier,
    freshness::Fresh,
    kept::Question,
    run::{Caller, Engine, Running},
};
pub use format::{Format, Writer};

/// Spans of time grow and shrink between these, so that each has about so many rows.
const SPANS_MS: Range<i64> = 1_000..32 * 24 * HOUR_MS;
const FIRST_SPAN_MS: i64 = 60_000;
const SPAN_ROWS: Range<u64> = 20_000..200_000;
/// So much is noted of what is asked.
const MOST_NOTED_BYTES: usize = 64 * 1024;

/// How far a caller is: what a token holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    /// Of the question and the format.
    question: [u8; 16],
    /// What now is.
    now_ms: i64,
    /// What is read.
    pin: Position,
    /// Everything acknowledged before this instant is in it.
    complete_until_ms: i64,
    /// The times of the events that are left.
    times: Option<(i64, i64)>,
    /// The last event.
    after: Option<[i64; 4]>,
    /// Of the rows so far, where they are computed again.
    check: [u8; 16],
    rows: u64,
    bytes: u64,
}

/// An export that goes on.
struct Export {
    engine: Arc<Engine>,
    caller: Caller,
    plan: SealedPlan,
    fresh: Fresh,
    writer: Writer,
    mark: Mark,
    source: Source,
    block: Option<(RowBlock, usize)>,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    Head,
    Rows,
    Over,
}

/// Where rows come from.
enum Source {
    /// Spans of time of this length, one after the other.
    Events { span_ms: i64, span: Option<Span> },
    /// One query.
    Whole(Running),
}

/// The query of a span.
struct Span {
    running: Running,
    end_ms: i64,
    rows: u64,
}

/// The export, from the beginning or from where a token says.
pub(crate) async fn export(
    engine: &Arc<Engine>,
    words: Words,
    mut caller: Caller,
    format: i32,
    token: &str,
) -> Result<impl Stream<Item = Result<v1::ExportResponse, Error>> + Send + use<>, Error> {
    let format = Format::from_wire(format)?;
    caller.class = Priority::Background;
    let given = match token {
        "" => None,
        token => Some(engine.freshness.token_key.open::<Mark>(token).ok_or_else(not_ours)?),
    };
    let now_ms = given.as_ref().map_or_else(|| engine.now_ms(), |mark| mark.now_ms);
    let plan = engine.seal(&words.at(now_ms)?, &caller).await?;
    let question = question(&plan, format)?;
    if given.as_ref().is_some_and(|mark| mark.question != question) {
        return Err(not_ours());
    }
    note(engine, &plan, &caller, format, given.is_some()).await?;
    let wanted = engine.freshness.wanted(&caller.options)?;
    let wanted = given.as_ref().map(|mark| &mark.pin).or(wanted.as_ref());
    let (fresh, _) = engine.freshness.ready(wanted, &caller.options, None).await?;
    let columns = plan.plan().columns().cloned().collect();
    let mark = given.clone().unwrap_or_else(|| Mark {
        question,
        now_ms,
        pin: fresh.reached.clone(),
        complete_until_ms: complete_until_ms(&fresh),
        times: None,
        after: None,
        check: [0; 16],
        rows: 0,
        bytes: 0,
    });
    let plan = plan.as_of(&mark.pin);
    let mut export = Export {
        engine: Arc::clone(engine),
        source: Source::Events { span_ms: FIRST_SPAN_MS, span: None },
        writer: Writer::new(format, columns),
        stage: if given.is_some() { Stage::Rows } else { Stage::Head },
        block: None,
        caller,
        plan,
        fresh,
        mark,
    };
    export.begin().await?;
    // What fails at once is told as a refusal.
    let first = export.next().await?;
    let first = first.map(|piece| v1::ExportResponse { content_type: format.content_type().to_owned(), ..piece });
    let rest =
        stream::try_unfold(export, |mut export| async move { Ok(export.next().await?.map(|piece| (piece, export))) });
    Ok(futures::StreamExt::chain(stream::iter(first.map(Ok)), rest))
}

/// Notes who takes what out, before any of it is read: what can't be noted is not given out.
async fn note(engine: &Engine, plan: &SealedPlan, caller: &Caller, format: Format, resumed: bool) -> Result<(), Error> {
    let (app, mut asked) = (plan.plan().app().to_string(), plan.plan().to_string());
    asked.truncate(asked.floor_char_boundary(MOST_NOTED_BYTES));
    let after = json!({"plan": asked, "content_type": format.content_type(), "resumed": resumed});
    let change = Change { object: format!("apps/{app}/export"), app, after, ..Change::default() };
    let act = engine.act("QueryService/Export", caller);
    Ok(engine.audit.note(Some(plan.tenant()), &act, &change).await?)
}

impl Export {
    /// Finds out which times there are, or begins the one query.
    async fn begin(&mut self) -> Result<(), Error> {
        if !self.plan.is_of_events() {
            let running = self.run(self.plan.ordered()).await?;
            return self.pass_over(running).await;
        }
        if self.mark.times.is_some() {
            return Ok(());
        }
        let range = self.plan.plan().range();
        let first = match range.from_ms {
            Some(from_ms) => Some(from_ms),
            None => self.edge(false).await?,
        };
        let end = match range.to_ms {
            Some(to_ms) => Some(to_ms),
            None => self.edge(true).await?.map(|last| last + 1),
        };
        // Without any event there is nothing to read.
        self.mark.times = Some(first.zip(end).unwrap_or((0, 0)));
        Ok(())
    }

    async fn edge(&mut self, last: bool) -> Result<Option<i64>, Error> {
        let mut running = self.run(self.plan.edge(last)).await?;
        let mut time = None;
        while let Some(block) = running.next().await? {
            time = block.columns.first().and_then(|column| column.cells.first()).and_then(whole).or(time);
        }
        Ok(time)
    }

    /// Begins a query when its turn comes, however long that takes; only the first is refused.
    async fn run(&mut self, plan: SealedPlan) -> Result<Running, Error> {
        loop {
            let frontier = Frontier::new(self.fresh.at, self.fresh.reached.clone());
            let work = self.engine.export_work(&plan, &self.caller)?;
            match self.engine.run(work, self.fresh.clone(), &frontier, Instant::now()).await {
                Err(Error { code: ErrorCode::ResourceExhausted, retry_after: Some(pause), .. })
                    if self.mark.rows > 0 =>
                {
                    sleep(pause).await;
                }
                begun => return begun,
            }
        }
    }

    /// The next piece; none at the end.
    async fn next(&mut self) -> Result<Option<v1::ExportResponse>, Error> {
        match self.stage {
            Stage::Over => return Ok(None),
            Stage::Head => {
                self.stage = Stage::Rows;
                let head = self.writer.head();
                return Ok(Some(self.piece(head, false)));
            }
            Stage::Rows => {}
        }
        let (block, from) = match self.block.take() {
            Some(left) => left,
            None => match self.next_block().await? {
                Some(block) => (block, 0),
                None => {
                    self.stage = Stage::Over;
                    let tail = self.writer.tail();
                    return Ok(Some(self.piece(tail, true)));
                }
            },
        };
        let rows = self.writer.some(&block, from);
        let bytes = self.writer.rows(&block, rows.clone());
        self.mark.rows += rows.len() as u64;
        match self.source {
            Source::Events { .. } => self.mark.after = Some(place(&block, rows.end - 1)?),
            Source::Whole(_) => self.check(&block, rows.clone()),
        }
        if rows.end < block.rows {
            self.block = Some((block, rows.end));
        }
        Ok(Some(self.piece(bytes, false)))
    }

    fn piece(&mut self, data: Vec<u8>, last: bool) -> v1::ExportResponse {
        self.mark.bytes += data.len() as u64;
        let watermark = v1::Watermark {
            complete_until: Some(time_to_wire(self.mark.complete_until_ms)),
            position_token: self.engine.freshness.token_key.sign(&self.mark.pin),
        };
        v1::ExportResponse {
            data,
            resume_token: self.engine.freshness.token_key.sign(&self.mark),
            rows: self.mark.rows,
            bytes: self.mark.bytes,
            last,
            watermark: Some(watermark),
            content_type: String::new(),
        }
    }

    async fn next_block(&mut self) -> Result<Option<RowBlock>, Error> {
        loop {
            let (span_ms, span) = match &mut self.source {
                Source::Whole(running) => return running.next().await,
                Source::Events { span_ms, span } => (span_ms, span),
            };
            if let Some(Span { running, end_ms, rows }) = span {
                match running.next().await {
                    Ok(Some(block)) => {
                        *rows += block.rows as u64;
                        return Ok(Some(block));
                    }
                    Ok(None) => {
                        *span_ms = next_span(*span_ms, *rows);
                        if let Some((from, _)) = &mut self.mark.times {
                            *from = *end_ms;
                        }
                    }
                    // More than can be sorted at once.
                    Err(Error { code: ErrorCode::ResourceExhausted, .. })
                        if *rows == 0 && *span_ms > SPANS_MS.start =>
                    {
                        *span_ms = (*span_ms / 16).max(SPANS_MS.start);
                    }
                    Err(error) => return Err(error),
                }
                *span = None;
            }
            let span_ms = *span_ms;
            let Some((from, end)) = self.mark.times.filter(|(from, end)| from < end) else { return Ok(None) };
            let after = self.mark.after.filter(|[time_ms, ..]| *time_ms >= from);
            let from = after.map_or(from, |[time_ms, ..]| time_ms);
            let end_ms = from.saturating_add(span_ms).min(end);
            let after = after.map(|[time_ms, incarnation, partition, offset]| EventPlace {
                time_ms,
                incarnation,
                partition,
                offset,
            });
            let running = self.run(self.plan.piece(&(from..end_ms), after)).await?;
            if let Source::Events { span, .. } = &mut self.source {
                *span = Some(Span { running, end_ms, rows: 0 });
            }
        }
    }

    /// Passes over the rows that the caller has, which must be the same still.
    async fn pass_over(&mut self, mut running: Running) -> Result<(), Error> {
        let (mut left, check) = (self.mark.rows, std::mem::take(&mut self.mark.check));
        while left > 0 {
            let block = running.next().await?.ok_or_else(changed)?;
            let passed = block.rows.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.check(&block, 0..passed);
            left -= passed as u64;
            if passed < block.rows {
                self.block = Some((block, passed));
            }
        }
        if self.mark.check != check {
            return Err(changed());
        }
        self.source = Source::Whole(running);
        Ok(())
    }

    /// Adds rows to what they are known by: their keys, or all that isn't rounded.
    fn check(&mut self, block: &RowBlock, rows: Range<usize>) {
        let keys = self.plan.plan().row_key();
        let is_known_by = |place: &usize| keys.is_empty() || keys.contains(place);
        let places: Vec<_> = (0..block.columns.len()).filter(is_known_by).collect();
        for row in rows {
            let mut hash = Sha256::new_with_prefix(self.mark.check);
            for place in &places {
                match &block.columns[*place].cells[row] {
                    Cell::Number(x) if !keys.is_empty() => hash.update(x.to_le_bytes()),
                    Cell::Number(_) | Cell::Null => hash.update([0]),
                    Cell::Integer(i) | Cell::Time(i) => hash.update(i.to_le_bytes()),
                    Cell::Bool(b) => hash.update([u8::from(*b)]),
                    Cell::String(text) => {
                        hash.update((text.len() as u64).to_le_bytes());
                        hash.update(text);
                    }
                }
            }
            self.mark.check.copy_from_slice(&hash.finalize()[..16]);
        }
    }
}

fn next_span(span_ms: i64, rows: u64) -> i64 {
    let next = if rows < SPAN_ROWS.start {
        span_ms.saturating_mul(2)
    } else if rows > SPAN_ROWS.end {
        span_ms / 2
    } else {
        span_ms
    };
    next.clamp(SPANS_MS.start, SPANS_MS.end)
}

/// The place of a row of [`SealedPlan::piece`].
fn place(block: &RowBlock, row: usize) -> Result<[i64; EventPlace::COLUMNS], Error> {
    let broken = || Error::internal("a row came without its place");
    let first = block.columns.len().checked_sub(EventPlace::COLUMNS).ok_or_else(broken)?;
    let mut place = [0; EventPlace::COLUMNS];
    for (number, column) in place.iter_mut().zip(&block.columns[first..]) {
        *number = column.cells.get(row).and_then(whole).ok_or_else(broken)?;
    }
    Ok(place)
}

fn whole(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(i) | Cell::Time(i) => Some(*i),
        _ => None,
    }
}

fn question(plan: &SealedPlan, format: Format) -> Result<[u8; 16], Error> {
    let mut question = Question::of_statement(&plan.compile()?);
    question.add_bytes(&[format as u8]);
    plan.plan().columns().for_each(|column| question.add_bytes(column.name.as_bytes()));
    let mut short = [0; 16];
    short.copy_from_slice(&question.digest()[..16]);
    Ok(short)
}

fn complete_until_ms(fresh: &Fresh) -> i64 {
    fresh.watermark.complete_until.as_ref().and_then(convert::instant).unwrap_or(0)
}

fn not_ours() -> Error {
    let description = "must be a token that an export of this very question in this format gave";
    Error::invalid("resume_token", "MALFORMED", description)
}

fn changed() -> Error {
    let message = "what was exported before is another now, by an erasure, a deletion or a replay: begin again";
    Error::new(ErrorCode::Conflict, message)
}
