//! `penstock backup`: a copy of the house, made by the server.

use std::io::{IsTerminal, Write};

use api::{
    convert::instant,
    v1::{CreateBackupRequest, admin_service_client::AdminServiceClient},
};
use jiff::Timestamp;
use tonic::Status;

use super::{ClientError, keyed};
use crate::cli::Server;

/// Says how far it is on a terminal's standard error, and the backup's name on `out` when it is whole.
pub(crate) async fn backup(server: &Server, out: &mut impl Write) -> Result<(), ClientError> {
    let mut client = AdminServiceClient::new(keyed(server).await?);
    let mut told = client.create_backup(CreateBackupRequest {}).await?.into_inner();
    let mut shown = std::io::stderr().is_terminal().then(std::io::stderr);
    while let Some(message) = told.message().await? {
        let backup = message.backup.unwrap_or_default();
        if let Some(terminal) = &mut shown {
            let mib = backup.bytes as f64 / f64::from(1 << 20);
            write!(terminal, "\r\x1b[K{} files, {mib:.1} MiB", backup.files)?;
        }
        if backup.done {
            if let Some(terminal) = &mut shown {
                writeln!(terminal)?;
            }
            let reaches = backup.reaches.as_ref().and_then(instant);
            let reaches = reaches.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
            writeln!(std::io::stderr(), "everything that was received before {reaches} is in it")?;
            writeln!(out, "{}", backup.backup_id)?;
            return Ok(());
        }
    }
    Err(Status::aborted("the server left before the backup was whole: it may go on, its log says what became of it")
        .into())
}
