use std::time::Duration;

use clickhouse::Client;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::WarehouseError;

// As the official client has them without TLS.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A client that checks the server's certificate by this machine's roots, or those of the file that `SSL_CERT_FILE` names.
///
/// The official client's own TLS feature would make every client look for roots and panic where there are none.
pub(super) fn client() -> Result<Client, WarehouseError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_keepalive(Some(TCP_KEEPALIVE));
    let roots = HttpsConnectorBuilder::new().with_native_roots();
    let roots = roots.map_err(|error| WarehouseError::Address(format!("https:// can't be used: {error}")))?;
    let connector = roots.https_only().enable_http1().wrap_connector(http);
    let client = HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).build(connector);
    Ok(Client::with_http_client(client))
}
