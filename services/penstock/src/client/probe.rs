//! What is at an address where no server of ours was heard.

use std::{io, time::Duration};

use http::Uri;
use tokio::{net::TcpStream, time::timeout};

use super::{ClientError, ops};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a server that speaks TLS says to plain text: an alert.
const ALERT: &[u8] = &[0x15, 0x03];
/// What is read at most of an answer.
const MOST: u64 = 4_096;

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// No connection.
    Nothing(io::ErrorKind, String),
    /// A connection, and not a word in answer to HTTP.
    Silent,
    Tls,
    /// HTTP without TLS; whether it is the operators' port of ours, or our public one.
    Http {
        is_ops: bool,
        is_public: bool,
    },
    Other,
}

/// Connects without TLS, asks by HTTP what only our servers have, and looks at the answer.
pub(super) async fn find(host: &str, port: u16) -> Found {
    let stream = match timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Found::Nothing(error.kind(), error.to_string()),
        Err(_) => return Found::Nothing(io::ErrorKind::TimedOut, "no connection within 3 s".to_owned()),
    };
    let mut said = Vec::new();
    // What was said before it broke off tells enough.
    match timeout(PATIENCE, ops::ask(stream, host, "/livez", MOST, &mut said)).await {
        Ok(_) => of(&said),
        Err(_) => Found::Silent,
    }
}

fn of(said: &[u8]) -> Found {
    if said.is_empty() {
        return Found::Silent;
    }
    if said.starts_with(ALERT) {
        return Found::Tls;
    }
    if !said.starts_with(b"HTTP/1.") {
        return Found::Other;
    }
    let text = String::from_utf8_lossy(said);
    // The operators' port is well; the public one knows no such path, and says so as it says all errors.
    Found::Http { is_ops: text.contains(" 200 ") && text.ends_with("ok\n"), is_public: text.contains("\"penstock\"") }
}

/// The failure with what is the matter, as far as a look at the address tells.
pub(super) async fn explain(server: &str, error: ClientError) -> ClientError {
    let uri = server.parse::<Uri>().unwrap_or_default();
    let Some(host) = uri.host() else { return error };
    let is_tls = uri.scheme_str() == Some("https");
    // Over TLS there is nothing to look at without, once a connection was there.
    if is_tls && !matches!(error, ClientError::Connect { .. }) {
        return error;
    }
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let found = find(host, port).await;
    let Some((why, next)) = matter(&found, is_tls, server, host, port) else { return error };
    ClientError::Unheard { server: server.to_owned(), why, next }
}

/// What is the matter, and what to do; none where the address is well.
fn matter(found: &Found, is_tls: bool, server: &str, host: &str, port: u16) -> Option<(String, String)> {
    let doctor = "penstock doctor looks closer";
    let (why, next) = match found {
        Found::Nothing(io::ErrorKind::ConnectionRefused, _) => (
            format!("nothing listens on port {port} of {host}"),
            "start a server with penstock serve, or say where one is with --server URL or --profile NAME".to_owned(),
        ),
        Found::Nothing(_, why) => (why.clone(), format!("check the name and the network; {doctor}")),
        Found::Tls if !is_tls => {
            ("it speaks TLS".to_owned(), format!("say --server {}", server.replacen("http", "https", 1)))
        }
        Found::Tls => (
            "its certificate is not one that this machine trusts, or not of this name".to_owned(),
            "name the authority's certificate in SSL_CERT_FILE, or say the name that the certificate is for".to_owned(),
        ),
        // Servers of TLS may say in plain HTTP that they want TLS: a word for a key to go without would be wrong.
        Found::Http { is_ops: false, is_public: false } if is_tls => return None,
        Found::Http { .. } if is_tls => {
            ("it speaks HTTP without TLS".to_owned(), format!("say --server {}", server.replacen("https", "http", 1)))
        }
        Found::Http { is_ops: true, .. } => (
            "that is the operators' port, for metrics and health alone".to_owned(),
            "say --server with the port of the setting `listen`, by default 7070".to_owned(),
        ),
        Found::Http { is_public: true, .. } => return None,
        Found::Http { .. } | Found::Other => {
            ("something else than Penstock is there".to_owned(), format!("check host and port; {doctor}"))
        }
        Found::Silent => {
            ("it takes the connection and says nothing".to_owned(), format!("check host and port; {doctor}"))
        }
    };
    Some((why, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_told_by_its_first_words() {
        assert_eq!(of(&[0x15, 0x03, 0x03, 0, 2, 2, 70]), Found::Tls);
        assert_eq!(of(b""), Found::Silent);
        assert_eq!(of(b"SSH-2.0-x\r\n"), Found::Other);
        assert_eq!(of(b"HTTP/1.1 200 OK\r\n\r\nok\n"), Found::Http { is_ops: true, is_public: false });
        assert_eq!(of(b"HTTP/1.1 200 OK\r\n\r\n<html>"), Found::Http { is_ops: false, is_public: false });
    }
}
