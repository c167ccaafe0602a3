//! The gRPC side of the service.

use std::{pin::Pin, sync::Arc};

use api::{
    convert::{self, priority_from_wire},
    status::to_status,
    v1::{
        self, explain_request, export_request,
        query_service_server::{QueryService, QueryServiceServer},
        subscribe_request,
    },
};
use formula::{Param, SealedPlan};
use futures::{Stream, StreamExt};
use mesh::{HttpService, context, deadline};
use model::{Error, Permission};
use tokio::time::Instant;
use tonic::{Request, Response, Status, codec::CompressionEncoding, service::Routes};
use tower::util::BoxCloneSyncService;

use crate::{
    answer,
    ask::{self, Asked, Words},
    choose::Chosen,
    describe::describe,
    export::export,
    live::Live,
    page::Page,
    run::{Caller, Engine},
};

/// A question is text; 1 MiB holds any that the compiler takes.
const MAX_REQUEST_BYTES: usize = 1 << 20;

pub(crate) fn service(engine: Arc<Engine>, live: Arc<Live>) -> HttpService {
    let server = QueryServiceServer::new(Grpc { engine, live })
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Gzip);
    BoxCloneSyncService::new(Routes::new(server).prepare())
}

struct Grpc {
    engine: Arc<Engine>,
    live: Arc<Live>,
}

type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Grpc {
    async fn answer(&self, asked: Result<Asked, Error>, caller: &Caller) -> Result<Option<v1::Result>, Status> {
        let asked = asked.map_err(|e| to_status(&e))?;
        self.engine.answer(&asked, caller).await.map(Some).map_err(|e| to_status(&e))
    }

    async fn stream<T: 'static>(
        &self,
        asked: Result<Asked, Error>,
        caller: &Caller,
        wrap: fn(v1::ResultPart) -> T,
    ) -> Result<Response<Parts<T>>, Status> {
        let asked = asked.map_err(|e| to_status(&e))?;
        let parts = self.engine.stream(&asked, caller).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(Box::pin(parts.map(move |part| part.map(wrap).map_err(|e| to_status(&e))))))
    }
}

fn caller<T>(request: &Request<T>, options: Option<v1::ReadOptions>) -> Result<Caller, Status> {
    let mut options = options.unwrap_or_default();
    let text = |header: &str| request.metadata().get(header).and_then(|v| v.to_str().ok());
    let context = context::of_grpc(request)?;
    if let Some(zone) = context.scope.time_zone.as_ref().filter(|_| options.time_zone.is_empty()) {
        options.time_zone.clone_from(zone);
    }
    let invalid = |error: Error| to_status(&error);
    let duration = |asked| convert::duration_from_wire("options.max_staleness", asked);
    let max_staleness = options.max_staleness.as_ref().map(duration).transpose();
    Ok(Caller {
        class: match options.priority {
            0 => context.priority,
            number => priority_from_wire("options.priority", number).map_err(invalid)?,
        }
        .max(context.scope.priority),
        max_staleness: max_staleness.map_err(invalid)?,
        route: convert::route_from_wire("options.route", options.route).map_err(invalid)?,
        deadline: text(deadline::HEADER).and_then(deadline::parse).map(|left| Instant::now() + left),
        traceparent: text("traceparent").map(str::to_owned),
        context,
        options,
    })
}

#[tonic::async_trait]
impl QueryService for Grpc {
    type QueryStreamStream = Parts<v1::QueryStreamResponse>;
    type SqlStreamStream = Parts<v1::SqlStreamResponse>;
    type SubscribeStream = Parts<v1::SubscribeResponse>;
    type ExportStream = Parts<v1::ExportResponse>;

    async fn query(&self, request: Request<v1::QueryRequest>) -> Result<Response<v1::QueryResponse>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        let (mut request, now_ms) = (request.into_inner(), self.engine.now_ms());
        let page = Page::of(&request, now_ms).map_err(|e| to_status(&e))?;
        if let (Some(page), Some(query)) = (&page, &mut request.query) {
            page.narrow(query).map_err(|e| to_status(&e))?;
        }
        let asked = ask::typed(request.query, page.as_ref().map_or(now_ms, |page| page.now_ms));
        let mut result = self.answer(asked, &caller).await?;
        let next_page_token = page.zip(result.as_mut()).map_or_else(String::new, |(page, result)| page.cut(result));
        Ok(Response::new(v1::QueryResponse { result, next_page_token }))
    }

    async fn query_stream(
        &self,
        request: Request<v1::QueryStreamRequest>,
    ) -> Result<Response<Self::QueryStreamStream>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        let asked = ask::typed(request.into_inner().query, self.engine.now_ms());
        self.stream(asked, &caller, |part| v1::QueryStreamResponse { part: Some(part) }).await
    }

    async fn sql(&self, request: Request<v1::SqlRequest>) -> Result<Response<v1::SqlResponse>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        let request = request.into_inner();
        let asked = ask::sql(&request.sql, &request.app_id);
        Ok(Response::new(v1::SqlResponse { result: self.answer(asked, &caller).await? }))
    }

    async fn sql_stream(
        &self,
        request: Request<v1::SqlStreamRequest>,
    ) -> Result<Response<Self::SqlStreamStream>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        let request = request.into_inner();
        let asked = ask::sql(&request.sql, &request.app_id);
        self.stream(asked, &caller, |part| v1::SqlStreamResponse { part: Some(part) }).await
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        let v1::SubscribeRequest { question, min_interval, .. } = request.into_inner();
        let words = match question {
            Some(subscribe_request::Question::Sql(query)) => Words::Sql(query),
            Some(subscribe_request::Question::Query(query)) => Words::Typed(query.into()),
            None => return Err(to_status(&Words::missing())),
        };
        let pushes = self.live.subscribe(words, caller, min_interval).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(Box::pin(pushes.map(|push| push.map_err(|e| to_status(&e))))))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        caller.context.require(Permission::Export).map_err(|e| to_status(&e))?;
        let v1::ExportRequest { question, format, resume_token, .. } = request.into_inner();
        let words = match question {
            Some(export_request::Question::Sql(query)) => Words::Sql(query),
            Some(export_request::Question::Query(query)) => Words::Typed(query.into()),
            None => return Err(to_status(&Words::missing())),
        };
        let pieces = export(&self.engine, words, caller, format, &resume_token).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(Box::pin(pieces.map(|piece| piece.map_err(|e| to_status(&e))))))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let caller = caller(&request, request.get_ref().options.clone())?;
        let v1::ExplainRequest { question, analyze, .. } = request.into_inner();
        let words = match question {
            Some(explain_request::Question::Sql(query)) => Ok(Words::Sql(query)),
            Some(explain_request::Question::Query(query)) => Ok(Words::Typed(query.into())),
            None => Err(Words::missing()),
        };
        let asked = words.and_then(|words| words.at(self.engine.now_ms())).map_err(|e| to_status(&e))?;
        let plan = self.engine.seal(&asked, &caller).await.map_err(|e| to_status(&e))?;
        let chosen = self.engine.choose(&plan, &caller).await.map_err(|e| to_status(&e))?;
        let statement = analyze.then(|| chosen.statement.clone());
        let mut explained = explain(&plan, chosen);
        if let Some(statement) = statement {
            let answer = self.engine.answer(&asked, &caller).await.map_err(|e| to_status(&e))?;
            let info = answer.info.unwrap_or_default();
            (explained.actual_route, explained.actual) = (info.route, info.cost);
            if info.route() != v1::Route::Cache {
                let bytes = explained.actual.unwrap_or_default().read_bytes;
                let worked = self.engine.worked(&plan, statement, bytes, &caller).await.map_err(|e| to_status(&e))?;
                explained.actual_cpu_us = worked.unwrap_or_default().as_micros() as u64;
            }
        }
        Ok(Response::new(explained))
    }

    async fn describe(&self, request: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        let context = context::of_grpc(&request)?;
        let described = describe(&request.get_ref().app_id, &context, &self.engine).await;
        described.map(Response::new).map_err(|e| to_status(&e))
    }
}

fn explain(plan: &SealedPlan, chosen: Chosen) -> v1::ExplainResponse {
    let Chosen { statement, route, reason, estimated, estimated_work } = chosen;
    // The scope's own values are the tenant's business alone; the caller knows the app it asked about.
    let is_told = |p: &&Param| p.value != plan.tenant().as_str() && !p.name.starts_with("lock");
    v1::ExplainResponse {
        plan: plan.plan().to_string(),
        sql: statement.text().to_owned(),
        parameters: statement.params().iter().filter(is_told).map(|p| (p.name.clone(), p.value.clone())).collect(),
        columns: statement.columns().iter().map(answer::column).collect(),
        route: route.into(),
        route_reason: reason,
        estimated_bytes: estimated.bytes,
        estimated_rows: estimated.rows,
        estimated_cpu_us: estimated_work.as_micros() as u64,
        ..v1::ExplainResponse::default()
    }
}
