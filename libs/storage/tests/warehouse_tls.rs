//! A warehouse behind TLS: its certificate is checked, by roots that an operator can name.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use storage::Warehouse;
use tempfile::TempDir;

/// Names the server in the process that is started to trust it.
const URL: &str = "PENSTOCK_TEST_WAREHOUSE";

const CERTIFICATES: &str = "
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=test root' -keyout root.key -out root.pem
    openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' >server.ext
    openssl x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile server.ext -out server.pem
";

const SERVER: &str = "
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get('content-length', 0)))
        self.send_response(200)
        self.send_header('content-length', '0')
        self.end_headers()
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem', 'server.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

struct Server(Child, String);

impl Server {
    fn start(folder: &Path) -> Self {
        let made = Command::new("bash").args(["-euc", CERTIFICATES]).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let python = Command::new("python3").args(["-c", SERVER]).current_dir(folder).stdout(Stdio::piped()).spawn();
        let mut python = python.expect("python3 is needed");
        let mut port = String::new();
        BufReader::new(python.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(python, format!("https://localhost:{}", port.trim()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn warehouse(url: &str) -> Warehouse {
    Warehouse::new(url, "penstock", "default", None).unwrap()
}

#[tokio::test]
async fn a_server_is_trusted_by_the_roots_that_are_named_and_by_no_others() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path());
    // Roots are a process's: another one trusts the server.
    let trusting = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pings_the_named_server", "--nocapture"])
        .env("SSL_CERT_FILE", folder.path().join("root.pem"))
        .env(URL, &server.1)
        .output()
        .unwrap();
    assert!(trusting.status.success(), "{}", String::from_utf8_lossy(&trusting.stderr));
    let refused = warehouse(&server.1).ping().await.unwrap_err();
    assert!(format!("{refused:?}").contains("ertificate"), "{refused:?}");
}

/// Does nothing unless the test above asks.
#[tokio::test]
async fn pings_the_named_server() {
    if let Ok(url) = std::env::var(URL) {
        warehouse(&url).ping().await.unwrap();
    }
}
