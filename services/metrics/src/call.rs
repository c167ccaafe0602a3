//! What of a call outlives its message: who calls, and what goes along when the call leads to another.

use std::sync::Arc;

use mesh::{
    context::{self, CallContext},
    deadline,
    trace::TRACEPARENT,
};
use model::{Act, Error, TenantId};
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};

/// What is passed on beside the context and what is left of the caller's time: the trace that the call is part of.
const PASSED_ON: [&str; 2] = [TRACEPARENT, "tracestate"];

/// A call under way.
pub(crate) struct Call {
    pub(crate) context: Arc<CallContext>,
    /// How long the caller waits.
    deadline: Option<Instant>,
    passed_on: Vec<(&'static str, MetadataValue<Ascii>)>,
}

impl Call {
    /// That of a request that came through the gateway.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Error> {
        let context = context::of(request.extensions())?;
        let metadata = request.metadata();
        let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, metadata.get(name)?.clone())));
        let timeout = metadata.get(deadline::HEADER).and_then(|value| value.to_str().ok()).and_then(deadline::parse);
        let deadline = timeout.map(|left| Instant::now() + left);
        Ok(Self { context, deadline, passed_on: passed_on.collect() })
    }

    /// The tenant whose key was shown.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.context.scope.tenant
    }

    /// The call as the audit log tells of it.
    pub(crate) fn act(&self, method: &str, at_ms: i64) -> Act {
        let traceparent = self.passed_on.iter().find(|(name, _)| *name == TRACEPARENT);
        self.context.act(method, traceparent.and_then(|(_, header)| header.to_str().ok()), at_ms)
    }

    /// The metadata for a call that this one leads to.
    pub(crate) fn passed_on(&self) -> impl Iterator<Item = (&'static str, MetadataValue<Ascii>)> {
        let left = self.deadline.and_then(|deadline| {
            let left = deadline::format(deadline.saturating_duration_since(Instant::now()));
            Some((deadline::HEADER, left.parse().ok()?))
        });
        self.passed_on.iter().cloned().chain(left)
    }
}
