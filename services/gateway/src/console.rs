//! The web console's files, out of the program itself: public, the same for everybody, and nothing of a tenant's.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use mesh::{Body, Request, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A file of the console.
struct File {
    /// Below `/console/`.
    path: &'static str,
    plain: &'static [u8],
    /// The same compressed, by the encoding's name, the smallest first.
    packed: &'static [(&'static str, &'static [u8])],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// By the file's place in [`FILES`]. Weak, since the compressed forms have the same.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let hash = |file: &File| Sha256::digest(file.plain).iter().take(8).map(|b| format!("{b:02x}")).collect::<String>();
    FILES.iter().map(|file| format!("W/\"{}\"", hash(file))).collect()
});

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><title>Penstock</title><h1>This build has no console</h1>\
    <p>Run <code>make console</code> (it needs Node.js 20 or later), build the program again and start it. The API is here all the same.</p>";

/// No script but the console's own, none inline, and no page around it. Pictures from anywhere by TLS: logos lie where tenants have them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; font-src 'self'; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer, if the request is the console's: `/console/` and what is below it, and `/` where a browser asks for a page.
pub(crate) fn answer(request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    let below = match path {
        "/" if is_get && wants_page(request.headers()) => return Some(moved()),
        "/console" => return Some(moved()),
        _ => path.strip_prefix("/console/")?,
    };
    let mut response = match is_get {
        true => file(below, request.headers()),
        false => text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD"),
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "accept-encoding"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

fn wants_page(headers: &HeaderMap) -> bool {
    listed(headers, header::ACCEPT, "text/html")
}

fn moved() -> Response {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/console/"));
    response
}

/// The file at a path. What has no ending is a place within the console, whose one page shows it.
fn file(path: &str, headers: &HeaderMap) -> Response {
    let is_place = !path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    let wanted = if is_place { "index.html" } else { path };
    let Some((place, file)) = FILES.iter().enumerate().find(|(_, file)| file.path == wanted) else {
        return match is_place {
            true => text(StatusCode::NOT_FOUND, "text/html; charset=utf-8", NOT_BUILT),
            false => text(StatusCode::NOT_FOUND, "text/plain", "no such file"),
        };
    };
    let tag = HeaderValue::from_str(&TAGS[place]).unwrap_or(HeaderValue::from_static("W/\"\""));
    // Names under assets/ carry the hash of what they name, so they never change.
    let keep = if file.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag);
    let mut response = if is_known { http::Response::new(Body::empty()) } else { whole(file, headers) };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert(header::ETAG, tag);
    // `penstock-chart.js`, `penstock-dashboard.js` and what they import are for other hosts' pages.
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}

fn whole(file: &File, headers: &HeaderMap) -> Response {
    let packed = file.packed.iter().find(|(name, _)| listed(headers, header::ACCEPT_ENCODING, name));
    let (encoding, bytes) = match packed {
        Some((name, bytes)) => (Some(*name), *bytes),
        None => (None, file.plain),
    };
    let mut response = http::Response::new(Body::new(Full::new(Bytes::from_static(bytes))));
    let kind = HeaderValue::from_static(content_type(file.path));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether a header lists a word, and not with a weight of 0.
fn listed(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let mut entries = lists.flat_map(|list| list.split(','));
    entries.any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        parts.next() == Some(word) && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn text(status: StatusCode, kind: &'static str, text: &'static str) -> Response {
    let mut response = http::Response::new(Body::new(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str, headers: &[(&str, &str)]) -> Option<Response> {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(&request.body(Body::empty()).unwrap())
    }

    #[test]
    fn only_browsers_are_led_there_and_only_its_own_paths_are_its() {
        let page = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        assert_eq!(asked(Method::GET, "/", &page).unwrap().headers()[header::LOCATION], "/console/");
        assert_eq!(asked(Method::GET, "/console", &[]).unwrap().status(), StatusCode::TEMPORARY_REDIRECT);
        for (method, path) in [(Method::GET, "/"), (Method::GET, "/v1/sql"), (Method::GET, "/consoles/")] {
            assert!(asked(method, path, &[("accept", "application/json")]).is_none(), "{path}");
        }
        assert!(asked(Method::POST, "/", &page).is_none());
    }

    #[test]
    fn every_answer_says_what_a_page_may_do() {
        for (method, path, status) in [
            (Method::POST, "/console/", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "/console/assets/none.js", StatusCode::NOT_FOUND),
            (Method::GET, "/console/../../etc/passwd.txt", StatusCode::NOT_FOUND),
        ] {
            let response = asked(method, path, &[]).unwrap();
            assert_eq!(response.status(), status, "{path}");
            assert!(
                response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'")
            );
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[test]
    fn an_encoding_is_taken_where_it_is_listed() {
        for (value, br) in [("gzip, br;q=0.5", true), ("br; q=0", false), ("gzip", false), ("brotli", false)] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(listed(&headers, header::ACCEPT_ENCODING, "br"), br, "{value}");
        }
    }
}
