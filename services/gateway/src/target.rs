//! Which service a path belongs to, and whether a call changes anything.

use http::{Method, Uri, header};
use mesh::Request;

/// Where the OpenAPI document is.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// The services behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Events in.
    Ingest,
    /// Questions.
    Query,
    /// Metric definitions and their evaluation, and dashboards.
    Metrics,
    /// Tenants, apps, keys.
    Admin,
    /// Health, reflection, the OpenAPI document, the host's branding: asked without a key.
    Public,
}

impl Target {
    /// The service of a gRPC path or a JSON path; none if no service has it.
    pub fn of(path: &str) -> Option<Self> {
        if path == OPENAPI_PATH {
            return Some(Self::Public);
        }
        let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
        match first {
            "penstock.v1.IngestService" => Some(Self::Ingest),
            "penstock.v1.QueryService" => Some(Self::Query),
            "penstock.v1.MetricsService" | "penstock.v1.DashboardService" => Some(Self::Metrics),
            "penstock.v1.AdminService" => Some(Self::Admin),
            "penstock.v1.PublicService" => Some(Self::Public),
            "grpc.health.v1.Health"
            | "grpc.reflection.v1.ServerReflection"
            | "grpc.reflection.v1alpha.ServerReflection" => Some(Self::Public),
            "v1" => Self::of_json(rest),
            _ => None,
        }
    }

    fn of_json(path: &str) -> Option<Self> {
        if path == "branding:host" {
            return Some(Self::Public);
        }
        let mut segments = path.split('/');
        let first = segments.next()?.split(':').next()?;
        match first {
            "events" | "identify" => Some(Self::Ingest),
            // Segment's.
            "batch" | "import" | "track" | "page" | "screen" | "group" | "alias" => Some(Self::Ingest),
            "query" | "sql" | "subscribe" | "export" | "explain" | "describe" => Some(Self::Query),
            "grafana" => Some(Self::Metrics),
            "apps"
                if segments
                    .nth(1)
                    .and_then(|s| s.split(':').next())
                    .is_some_and(|s| ["metrics", "dashboards"].contains(&s)) =>
            {
                Some(Self::Metrics)
            }
            "tenants" | "apps" | "keys" | "quota" | "retention" | "reconcile" | "dead-letters" | "erasures"
            | "replays" | "reports" | "topic" | "health" | "usage" | "audit" | "backups" | "branding" | "domains"
            | "settings" => Some(Self::Admin),
            _ => None,
        }
    }

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
            Self::Public => "public",
        }
    }
}

/// `/v1/identify` is ours and Segment's. Its libraries show their key by basic authentication, which nobody else does.
pub(crate) fn tell_segment(request: &mut Request) {
    let scheme = request.headers().get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..6));
    if request.uri().path() != "/v1/identify" || !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic ")) {
        return;
    }
    let mut parts = request.uri().clone().into_parts();
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    parts.path_and_query = format!("/v1/identify:segment{query}").parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Whether a call changes nothing, so that it may be sent again: as the contract says of its method; in JSON, a GET or a
/// question.
pub fn is_read(request: &Request) -> bool {
    let path = request.uri().path();
    let verb = path.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, verb)| verb);
    request.method() == Method::GET
        || api::is_read(path)
        || (path.starts_with("/v1/")
            && (Target::of(path) == Some(Target::Query)
                || matches!(verb, Some("evaluate" | "subscribe" | "preview" | "validate"))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_nothing_is_a_read() {
        let request = |method: Method, path: &str| {
            http::Request::builder().method(method).uri(path).body(mesh::Body::empty()).unwrap()
        };
        for (method, path, read) in [
            (Method::POST, "/penstock.v1.QueryService/Sql", true),
            (Method::POST, "/v1/sql:stream", true),
            (Method::POST, "/v1/apps/x/metrics/m:evaluate", true),
            (Method::POST, "/v1/apps/x/metrics/m:subscribe", true),
            (Method::GET, "/v1/keys", true),
            (Method::POST, "/v1/apps/x/metrics", false),
            (Method::DELETE, "/v1/keys/k", false),
            (Method::POST, "/v1/events", false),
            (Method::POST, "/penstock.v1.IngestService/Publish", false),
        ] {
            assert_eq!(is_read(&request(method, path)), read, "{path}");
        }
    }

    #[test]
    fn every_method_of_the_contracts_has_a_target() {
        for (path, target) in [
            ("/penstock.v1.IngestService/Publish", Some(Target::Ingest)),
            ("/v1/events", Some(Target::Ingest)),
            ("/v1/identify", Some(Target::Ingest)),
            ("/v1/identify:segment", Some(Target::Ingest)),
            ("/v1/batch", Some(Target::Ingest)),
            ("/v1/sql", Some(Target::Query)),
            ("/v1/sql:stream", Some(Target::Query)),
            ("/v1/subscribe", Some(Target::Query)),
            ("/v1/export", Some(Target::Query)),
            ("/v1/describe", Some(Target::Query)),
            ("/v1/apps", Some(Target::Admin)),
            ("/v1/apps/x/metrics", Some(Target::Metrics)),
            ("/v1/apps/x/metrics:preview", Some(Target::Metrics)),
            ("/v1/apps/x/metrics/m:evaluate", Some(Target::Metrics)),
            ("/v1/apps/x/dashboards", Some(Target::Metrics)),
            ("/v1/apps/x/dashboards/d", Some(Target::Metrics)),
            ("/penstock.v1.DashboardService/PutDashboard", Some(Target::Metrics)),
            ("/v1/grafana/x/query", Some(Target::Metrics)),
            ("/v1/keys/k", Some(Target::Admin)),
            ("/v1/quota", Some(Target::Admin)),
            ("/v1/settings", Some(Target::Admin)),
            ("/v1/retention", Some(Target::Admin)),
            ("/v1/reconcile", Some(Target::Admin)),
            ("/v1/dead-letters", Some(Target::Admin)),
            ("/v1/erasures/0", Some(Target::Admin)),
            ("/v1/replays/0", Some(Target::Admin)),
            ("/v1/topic:grow", Some(Target::Admin)),
            ("/v1/reports/0/runs", Some(Target::Admin)),
            ("/v1/audit:verify", Some(Target::Admin)),
            ("/v1/branding", Some(Target::Admin)),
            ("/v1/domains", Some(Target::Admin)),
            ("/v1/backups", Some(Target::Admin)),
            ("/v1/branding:host", Some(Target::Public)),
            ("/penstock.v1.PublicService/GetHostBranding", Some(Target::Public)),
            ("/grpc.health.v1.Health/Check", Some(Target::Public)),
            ("/openapi.json", Some(Target::Public)),
            ("/openapi.json/", None),
            ("/v1/sqlx", None),
            ("/v2/sql", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Target::of(path), target, "{path}");
        }
    }
}
