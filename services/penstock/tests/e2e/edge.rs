//! The public port as the world reaches it: by TLS, with a certificate for each host, and through load balancers.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    command_line,
    house::{House, PATIENCE},
    oracle::python,
};

const QUESTION: &str = r#"{"sql": "SELECT COUNT(*) AS n FROM events", "app_id": "xyz123"}"#;
const HOSTS: [&str; 2] = ["one.example", "two.example"];

/// Makes an authority and a certificate of it for each host, over those that are there.
fn certify(dir: &Path, hosts: &[&str]) {
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "authority"); // of one name with it, a certificate counts as its own issuer
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("ca.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(parameters, key);
    for host in hosts {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![(*host).to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{host}.key")), key.serialize_pem()).unwrap();
        std::fs::write(dir.join(format!("{host}.pem")), certificate.pem()).unwrap();
    }
}

/// A caller that trusts one authority and finds these hosts at the house.
struct Caller {
    port: String,
    authority: PathBuf,
    key: String,
}

impl Caller {
    fn of(house: &House, authority: &Path) -> Self {
        let (_, port) = house.address.rsplit_once(':').unwrap();
        Self { port: port.to_owned(), authority: authority.to_owned(), key: house.demo_key() }
    }

    fn curl(&self, host: &str, path: &str, body: &str) -> tokio::process::Command {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--cacert"]).arg(&self.authority);
        curl.args(["--resolve", &format!("{host}:{}:127.0.0.1", self.port)]);
        curl.args(["--header", &format!("authorization: Bearer {}", self.key), "--data", body]);
        curl.arg(format!("https://{host}:{}{path}", self.port));
        curl.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        curl
    }

    /// The protocol and the status of an answer; curl's own code where there is none.
    async fn ask(&self, host: &str, more: &[&str]) -> Result<String, i32> {
        let mut curl = self.curl(host, "/v1/sql", QUESTION);
        let output = curl.args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"]).args(more);
        let output = timeout(PATIENCE, output.output()).await.expect("curl ends").unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(output.status.code().unwrap()),
        }
    }
}

/// curl's code where the certificate isn't of an authority that it trusts, or is another host's.
const NOT_TRUSTED: i32 = 60;

#[tokio::test]
async fn by_tls_each_host_has_its_certificate_and_new_ones_are_used_while_streams_go_on() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), &HOSTS);
    let identity = |host: &str| {
        let [certificate, key] = ["pem", "key"].map(|kind| dir.path().join(format!("{host}.{kind}")));
        format!("[[edge.certificates]]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    };
    let house = House::start_with(&HOSTS.map(identity).concat()).await;
    let old = dir.path().join("old.pem");
    std::fs::rename(dir.path().join("ca.pem"), &old).unwrap();
    let caller = Caller::of(&house, &old);
    for host in HOSTS {
        assert_eq!(caller.ask(host, &[]).await.unwrap(), "2 200", "{host}");
    }
    assert_eq!(caller.ask(HOSTS[1], &["--http1.1", "--tls-max", "1.2"]).await.unwrap(), "1.1 200");
    assert_eq!(caller.ask("three.example", &[]).await, Err(NOT_TRUSTED), "a host without a certificate");
    let health = python::run("health.py", &[Path::new(&house.address), &old, Path::new(HOSTS[1])], "");
    assert_eq!(health.trim(), "SERVING", "to grpc's own client for Python");
    let plain = house.http.get(format!("http://{}/v1/keys", house.address)).send().await;
    assert!(plain.is_err(), "plain text gets no answer: {plain:?}");

    let mut following = caller.curl(
        HOSTS[0],
        "/v1/subscribe",
        &json!({"sql": {"sql": "SELECT COUNT(*) AS n FROM events", "app_id": "xyz123"}}).to_string(),
    );
    let mut following = following.spawn().unwrap();
    let mut pushed = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(timeout(PATIENCE, pushed.next_line()).await.unwrap().unwrap().is_some());

    certify(dir.path(), &HOSTS);
    let new = Caller::of(&house, &dir.path().join("ca.pem"));
    let started = Instant::now();
    while new.ask(HOSTS[0], &[]).await != Ok("2 200".to_owned()) {
        assert!(started.elapsed() < PATIENCE, "{}", house.log());
    }
    assert!(caller.ask(HOSTS[0], &[]).await.is_err(), "the old authority's trust is of no use any more");
    // Certificates that can't be used are not.
    std::fs::write(dir.path().join("one.example.pem"), "none").unwrap();
    house.until(|house| house.log().contains("the edge's certificates changed and can't be used")).await;
    assert_eq!(new.ask(HOSTS[0], &[]).await.unwrap(), "2 200");

    let event = r#"{"app_id": "xyz123", "event_type": "view", "event_id": "e1", "user_id": "u1"}"#;
    assert!(new.curl(HOSTS[1], "/v1/events", event).output().await.unwrap().status.success());
    let change = async {
        loop {
            let line = pushed.next_line().await.unwrap().expect("the stream goes on");
            if !line.contains("heartbeat") {
                return line;
            }
        }
    };
    let change = timeout(PATIENCE, change).await.expect("the event is pushed on the old connection");
    assert!(change.contains("change") || change.contains("state"), "{change}");
}

/// The status of an answer to a question that follows these bytes on its connection; none if there is no answer.
async fn behind(house: &House, first: &[u8], key: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(&house.address).await.unwrap();
    let (length, address) = (QUESTION.len(), &house.address);
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\nx-forwarded-for: 203.0.113.7\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let _ = socket.write_all(&[first, head.as_bytes(), QUESTION.as_bytes()].concat()).await; // it may be closed already
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("the server answers or closes");
    let answer = String::from_utf8_lossy(&answer);
    answer.strip_prefix("HTTP/1.1 ").map(|rest| rest[..3].parse().unwrap())
}

/// The PROXY protocol's second version: a TCP connection of IPv4 from the address, and what balancers add (a unique id).
fn second_version(from: [u8; 4]) -> Vec<u8> {
    let addresses = [&from[..], &[192, 0, 2, 1], &[0x30, 0x39], &[0x1b, 0x9e], &[5, 0, 2, 7, 7]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &(addresses.len() as u16).to_be_bytes()[..], &addresses].concat()
}

#[tokio::test]
async fn a_load_balancer_says_for_whom_it_calls_and_nobody_else_does() {
    let mut house = House::start().await;
    let body = json!({"permissions": ["PERMISSION_QUERY"], "allowed_cidrs": ["203.0.113.0/24"]});
    let (status, answer) = house.post(&house.demo_key(), "/v1/keys", &body).await;
    assert_eq!(status, 200, "{answer}");
    let key = answer["secret"].as_str().unwrap();
    let first = |address: &str| format!("PROXY TCP4 {address} 192.0.2.1 12345 7070\r\n").into_bytes();
    // From a stranger it is garbage.
    assert_eq!(behind(&house, b"", &house.demo_key()).await, Some(200));
    assert_ne!(behind(&house, &first("203.0.113.7"), key).await, Some(200));

    house.terminate();
    house.configure("[edge]\nproxies = [\"127.0.0.0/8\"]\n");
    house.launch().await;
    for (name, first, status) in [
        ("version 1, an address that may", first("203.0.113.7"), Some(200)),
        ("version 1, one that may not", first("198.51.100.7"), Some(403)),
        ("version 2, an address that may", second_version([203, 0, 113, 7]), Some(200)),
        ("version 2, one that may not", second_version([198, 51, 100, 7]), Some(403)),
        ("the balancer itself", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), Some(403)),
        ("an address that is none", first("203.0.113"), None),
        ("nobody", Vec::new(), None),
    ] {
        assert_eq!(behind(&house, &first, key).await, status, "{name}");
    }
}

#[tokio::test]
async fn the_command_line_speaks_tls_and_says_whose_certificate_it_does_not_trust() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), &["localhost"]);
    let [certificate, key] = ["pem", "key"].map(|kind| dir.path().join(format!("localhost.{kind}")));
    let house =
        House::start_with(&format!("[[edge.certificates]]\ncertificate = {certificate:?}\nkey = {key:?}\n")).await;
    let (_, port) = house.address.rsplit_once(':').unwrap();
    let said = async |server: &str, authority: &str, arguments: &[&str]| {
        let mut command = command_line::program(dir.path());
        command.args(arguments).args(["--server", server, "--key", &house.demo_key()]);
        let output = command.env("SSL_CERT_FILE", dir.path().join(authority)).output().await.unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let [by_tls, plain] = ["https", "http"].map(|scheme| format!("{scheme}://localhost:{port}"));
    let (well, text) = said(&by_tls, "ca.pem", &["whoami"]).await;
    assert!(well && text.contains("tenant demo"), "{text}");
    let (well, text) = said(&by_tls, "nothing.pem", &["whoami"]).await;
    assert!(!well && text.contains("its certificate") && text.contains("SSL_CERT_FILE"), "{text}");
    let (well, text) = said(&format!("https://127.0.0.1:{port}"), "ca.pem", &["whoami"]).await;
    assert!(!well && text.contains("not of this name"), "{text}");
    for arguments in [&["whoami"][..], &["doctor"], &["sql", "SELECT COUNT(*) FROM events"]] {
        let (well, text) = said(&plain, "ca.pem", arguments).await;
        assert!(!well && text.contains("it speaks TLS") && text.contains(&by_tls), "{arguments:?}: {text}");
    }
    let (_, text) = said(&by_tls, "ca.pem", &["doctor"]).await;
    assert!(text.contains("ok    key") && text.contains("ok    warehouse"), "{text}");
}
