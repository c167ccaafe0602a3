//! HTTP sessions. An engine connection can't be kept between requests (a failed query would keep its memory and locks),
//! so a session is what its SET and USE statements said, said again on every request's own connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::QueryError;
use crate::request::SessionRequest;

const MAX_SESSIONS: usize = 10_000;
const MAX_STATEMENTS: usize = 100;

/// All sessions by id.
#[derive(Default)]
pub(crate) struct Sessions {
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    statements: Vec<String>,
    in_use: bool,
    expires: Instant,
}

impl Sessions {
    /// Takes the session for one request; a second request meanwhile is refused, as ClickHouse does.
    pub(crate) fn lease(self: &Arc<Self>, request: &SessionRequest, now: Instant) -> Result<Lease, QueryError> {
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, session| session.in_use || session.expires > now);
        let id = &request.id;
        let timeout = Duration::from_secs(request.timeout_s);
        if !sessions.contains_key(id) {
            if request.must_exist {
                return Err(QueryError::session_not_found(format!("Session {id} not found.")));
            }
            if sessions.len() >= MAX_SESSIONS {
                return Err(QueryError::too_many_queries(format!("More than {MAX_SESSIONS} sessions.")));
            }
        }
        let fresh = || Session { statements: Vec::new(), in_use: false, expires: now };
        let session = sessions.entry(id.clone()).or_insert_with(fresh);
        if session.in_use {
            return Err(QueryError::session_locked(format!("Session {id} is locked by a concurrent client.")));
        }
        session.in_use = true;
        Ok(Lease { sessions: Arc::clone(self), id: id.clone(), timeout, statements: session.statements.clone() })
    }
}

/// One request's hold on its session.
pub(crate) struct Lease {
    sessions: Arc<Sessions>,
    id: String,
    timeout: Duration,
    /// What to run on the request's connection first, in order.
    pub(crate) statements: Vec<String>,
}

impl Lease {
    /// Keeps a SET or USE that has succeeded for the session's later requests.
    pub(crate) fn remember(&mut self, statement: String) -> Result<(), QueryError> {
        if self.statements.len() >= MAX_STATEMENTS {
            return Err(QueryError::bad_arguments(format!("More than {MAX_STATEMENTS} SET or USE in one session.")));
        }
        self.statements.push(statement);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.sessions.sessions.lock().get_mut(&self.id) {
            session.statements = std::mem::take(&mut self.statements);
            session.expires = Instant::now() + self.timeout;
            session.in_use = false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(must_exist: bool) -> SessionRequest {
        SessionRequest { id: "s".into(), timeout_s: 60, must_exist }
    }

    #[test]
    fn a_session_remembers_locks_and_expires() {
        let sessions = Arc::new(Sessions::default());
        let now = Instant::now();
        assert_eq!(sessions.lease(&request(true), now).err().unwrap().code, 372);
        let mut lease = sessions.lease(&request(false), now).unwrap();
        lease.remember("SET a = 1".into()).unwrap();
        assert_eq!(sessions.lease(&request(false), now).err().unwrap().code, 373);
        drop(lease);
        assert_eq!(sessions.lease(&request(true), now).unwrap().statements, ["SET a = 1"]);
        let later = Instant::now() + Duration::from_secs(61);
        assert_eq!(sessions.lease(&request(true), later).err().unwrap().code, 372);
    }
}
