//! `penstock backup`: a copy of the house, made by the server.

use std::io::Write;

use api::{
    convert::instant,
    v1::{CreateBackupRequest, admin_service_client::AdminServiceClient},
};
use jiff::Timestamp;
use serde_json::json;
use tonic::Status;

use super::{ClientError, Show, Target, keyed, show::Progress};

/// Says how far it is on a terminal's standard error, and the backup's name on standard output when it is whole.
pub(super) async fn backup(target: &Target, show: &mut Show) -> Result<(), ClientError> {
    let mut client = AdminServiceClient::new(keyed(target).await?);
    let mut told = client.create_backup(CreateBackupRequest {}).await?.into_inner();
    let mut progress = Progress::new();
    while let Some(message) = told.message().await? {
        let backup = message.backup.unwrap_or_default();
        let mib = backup.bytes as f64 / f64::from(1 << 20);
        progress.show(None, |_| format!("{} files, {mib:.1} MiB", backup.files));
        if backup.done {
            drop(progress);
            let reaches = backup.reaches.as_ref().and_then(instant);
            let reaches = reaches.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
            if !show.is_json() {
                writeln!(std::io::stderr(), "everything that was received before {reaches} is in it")?;
            }
            let said = json!({"backup_id": backup.backup_id, "reaches": reaches.to_string(), "files": backup.files, "bytes": backup.bytes});
            return show.object(&said, &backup.backup_id);
        }
    }
    Err(Status::aborted("the server left before the backup was whole: it may go on, its log says what became of it")
        .into())
}
