//! A layer as a function: takes the request and what comes next, gives the response or the error.

use std::sync::Arc;

use mesh::{Request, Response};
use model::Error;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

/// The rest of the stack. Errors travel up as errors; one layer turns them into responses.
pub(crate) type Stacked = BoxCloneSyncService<Request, Response, Error>;

/// What a layer calls to go on.
pub(crate) struct Next(Stacked);

impl Next {
    /// Hands the request to the layer below.
    pub(crate) async fn run(self, request: Request) -> Result<Response, Error> {
        self.0.oneshot(request).await
    }
}

/// A layer made of a function.
pub(crate) struct Middleware<F>(Arc<F>);

/// The function as a layer.
pub(crate) fn layer<F, Fut>(function: F) -> Middleware<F>
where
    F: Fn(Request, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Error>> + Send + 'static,
{
    Middleware(Arc::new(function))
}

impl<S, F, Fut> Layer<S> for Middleware<F>
where
    S: Service<Request, Response = Response, Error = Error, Future: Send> + Clone + Send + Sync + 'static,
    F: Fn(Request, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Error>> + Send + 'static,
{
    type Service = Stacked;

    fn layer(&self, inner: S) -> Stacked {
        let (function, next) = (Arc::clone(&self.0), Stacked::new(inner));
        Stacked::new(service_fn(move |request| function(request, Next(next.clone()))))
    }
}
