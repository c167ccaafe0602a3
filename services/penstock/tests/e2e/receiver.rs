//! Who is sent something over HTTP.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::house::PATIENCE;

/// What a receiver was sent.
#[derive(Clone)]
pub struct Delivery {
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// An HTTP server of whom others think that it is theirs.
pub struct Receiver {
    pub url: String,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
}

impl Receiver {
    /// It takes what is posted to `path`; `status` is what it answers, by how much came before.
    pub async fn start(path: &'static str, status: fn(usize) -> &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let deliveries = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&deliveries);
        tokio::spawn(async move {
            loop {
                let mut connection = BufReader::new(listener.accept().await.unwrap().0);
                let (mut line, mut headers) = (String::new(), HashMap::new());
                connection.read_line(&mut line).await.unwrap();
                assert_eq!(line.trim(), format!("POST {path} HTTP/1.1"));
                loop {
                    line.clear();
                    connection.read_line(&mut line).await.unwrap();
                    let Some((name, value)) = line.trim().split_once(": ") else { break };
                    headers.insert(name.to_lowercase(), value.to_owned());
                }
                let mut body = vec![0; headers["content-length"].parse().unwrap()];
                connection.read_exact(&mut body).await.unwrap();
                let before = {
                    let mut received = received.lock();
                    received.push(Delivery { headers, body });
                    received.len() - 1
                };
                let status = status(before);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, deliveries }
    }

    /// The first that come, so many at least.
    pub async fn until(&self, count: usize) -> Vec<Delivery> {
        let started = Instant::now();
        while self.deliveries.lock().len() < count {
            assert!(started.elapsed() < 2 * PATIENCE, "{} of {count} came", self.deliveries.lock().len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.deliveries.lock().clone()
    }
}
