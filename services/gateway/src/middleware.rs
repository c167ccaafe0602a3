//! A layer as a function: takes the request and what comes next, gives the response or the error.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use mesh::{Request, Response};
use model::Error;
use tower::{Layer, Service};

type Answer = BoxFuture<'static, Result<Response, Error>>;

/// The rest of the stack, shared by all calls. Errors travel up as errors; one layer turns them into responses.
#[derive(Clone)]
pub(crate) struct Stacked(Arc<dyn Fn(Request) -> Answer + Send + Sync>);

impl Stacked {
    /// What answers at the bottom.
    pub(crate) fn new<F, Fut>(answer: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(answer(request))))
    }
}

impl Service<Request> for Stacked {
    type Response = Response;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answer {
        (self.0)(request)
    }
}

/// What a layer calls to go on.
pub(crate) struct Next(Stacked);

impl Next {
    /// Hands the request to the layer below.
    pub(crate) async fn run(self, request: Request) -> Result<Response, Error> {
        (self.0.0)(request).await
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

impl<F, Fut> Layer<Stacked> for Middleware<F>
where
    F: Fn(Request, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, Error>> + Send + 'static,
{
    type Service = Stacked;

    fn layer(&self, inner: Stacked) -> Stacked {
        let function = Arc::clone(&self.0);
        Stacked::new(move |request| function(request, Next(inner.clone())))
    }
}
