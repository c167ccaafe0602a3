//! What processes say at their ports for operators.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Where a process of this machine has it.
pub(super) const USUAL: &str = "127.0.0.1:7071";
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read at most of an answer.
const MOST: u64 = 64 << 20;

/// A series and its value.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// HOST:PORT, of what may be written as a URL.
pub(super) fn address(said: &str) -> &str {
    said.trim_start_matches("http://").trim_end_matches('/')
}

/// All that a process says of itself.
pub(super) async fn metrics(address: &str) -> io::Result<Vec<Metric>> {
    match get(address, "/metrics").await? {
        (200, text) => Ok(parsed(&text)),
        (status, _) => Err(io::Error::other(format!("/metrics answers with status {status}"))),
    }
}

pub(super) fn parsed(text: &str) -> Vec<Metric> {
    text.lines().filter_map(metric).collect()
}

/// `name{label="value",...} value`.
pub(crate) fn metric(line: &str) -> Option<Metric> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut all = BTreeMap::new();
    for label in labels.trim_end_matches('}').split("\",") {
        if let Some((name, value)) = label.split_once("=\"") {
            all.insert(name.to_owned(), value.trim_end_matches('"').to_owned());
        }
    }
    Some(Metric { name: name.to_owned(), labels: all, value: value.parse().ok()? })
}

/// Asks for a page by HTTP/1.0, whose answer is whole when the connection ends, and reads as much of it as is wanted.
pub(super) async fn ask(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    most: u64,
    said: &mut Vec<u8>,
) -> io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
    stream.take(most).read_to_end(said).await.map(drop)
}

/// A page's status and text.
pub(super) async fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let asked = async {
        let mut said = Vec::new();
        ask(TcpStream::connect(address).await?, address, path, MOST, &mut said).await?;
        let said = String::from_utf8(said).map_err(io::Error::other)?;
        let status = said.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("it is no HTTP server"))?;
        let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        Ok((status, body))
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::Error::other("no answer within 5 s")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_with_their_labels() {
        let read = metric("penstock_build_info{version=\"0.1.0\",roles=\"query,metrics\"} 1").unwrap();
        assert_eq!((read.name.as_str(), read.value), ("penstock_build_info", 1.0));
        assert_eq!((read.labels["version"].as_str(), read.labels["roles"].as_str()), ("0.1.0", "query,metrics"));
        assert_eq!(metric("process_open_fds 39").unwrap().value, 39.0);
        assert!(metric("# TYPE process_open_fds gauge").is_none());
    }
}
