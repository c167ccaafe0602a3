//! A collector that keeps what it is sent by OTLP.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value,
    resource::v1::Resource,
    trace::v1 as otlp,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// A span as it came. Ids are hexadecimal; no parent is "".
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// Trace and span of each.
    pub links: Vec<(String, String)>,
    /// All that it says beside these: attributes, events, status.
    pub said: String,
}

/// A collector that listens on this machine until the test ends.
pub struct Collector {
    pub address: String,
    spans: Spans,
}

type Spans = Arc<Mutex<Vec<Span>>>;

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let spans = Spans::default();
        let service = TraceServiceServer::new(Receiver(Arc::clone(&spans)));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, spans }
    }

    /// One that outlives the test that starts it: others share it.
    pub async fn start_for_all() -> Self {
        let (started, starting) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _ = started.send(Self::start().await);
                std::future::pending::<()>().await;
            });
        });
        starting.await.unwrap()
    }

    /// The configuration of a process that reports to it, and samples of itself this part of the calls.
    pub fn configuration(&self, ratio: f64) -> String {
        format!("[telemetry]\notlp_endpoint = \"http://{}\"\ntrace_sample_ratio = {ratio:.1}\n", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().clone()
    }
}

struct Receiver(Spans);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_process in request.into_inner().resource_spans {
            let service = service_name(of_process.resource.unwrap_or_default());
            let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().extend(spans.map(|span| Span::new(service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Span {
    fn new(service: String, span: otlp::Span) -> Self {
        Self {
            service,
            said: format!("{:?} {:?} {:?}", span.attributes, span.events, span.status),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        }
    }
}

fn service_name(resource: Resource) -> String {
    let named = resource.attributes.into_iter().find(|attribute| attribute.key == "service.name");
    match named.and_then(|attribute| attribute.value?.value) {
        Some(any_value::Value::StringValue(name)) => name,
        other => panic!("a resource without a name: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
