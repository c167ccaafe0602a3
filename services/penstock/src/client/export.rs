//! `penstock export`: an answer of any length into a file, and on with it where it broke off.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use api::{
    status::from_status,
    v1::{ExportRequest, SqlQuery, export_request::Question, query_service_client::QueryServiceClient},
};
use model::ErrorCode;
use serde_json::json;
use tonic::{Code, Status};

use super::{ClientError, Show, Target, keyed, show::Progress};
use crate::cli::ExportArguments;

/// Where an export goes.
struct Destination {
    out: Box<dyn Write + Send>,
    /// The file that says how far it is; none for standard output.
    notes: Option<PathBuf>,
    token: String,
}

impl Destination {
    /// Goes on where the notes say, or begins anew.
    fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { out: Box::new(io::stdout()), notes: None, token: String::new() });
        };
        let notes = path.with_added_extension("resume");
        let noted = fs::read_to_string(&notes).ok();
        let noted = noted.as_deref().and_then(|text| text.trim_end().split_once(' '));
        let (bytes, token) = noted.and_then(|(bytes, token)| Some((bytes.parse().ok()?, token))).unwrap_or((0, ""));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        if file.metadata()?.len() < bytes {
            let what =
                format!("{} is shorter than {} says; remove both to begin anew", path.display(), notes.display());
            return Err(io::Error::other(what));
        }
        // What came after the last note comes again.
        file.set_len(bytes)?;
        let mut out = file;
        io::Seek::seek(&mut out, io::SeekFrom::End(0))?;
        Ok(Self { out: Box::new(out), notes: Some(notes), token: token.to_owned() })
    }

    fn put(&mut self, data: &[u8], bytes: u64, token: String) -> io::Result<()> {
        self.out.write_all(data)?;
        self.out.flush()?;
        if let Some(notes) = &self.notes {
            let next = notes.with_added_extension("next");
            File::create(&next)?.write_all(format!("{bytes} {token}\n").as_bytes())?;
            fs::rename(next, notes)?; // at once, or not at all
        }
        self.token = token;
        Ok(())
    }

    fn done(self) -> io::Result<()> {
        self.notes.map_or(Ok(()), fs::remove_file)
    }
}

/// Writes the answer. Where the server goes away it comes again, and goes on; where this process does, the next one that is started in the
/// same way goes on.
pub(super) async fn export(target: &Target, arguments: ExportArguments, show: &mut Show) -> Result<(), ClientError> {
    let mut to = Destination::open(arguments.out.as_deref())?;
    let mut channel = keyed(target).await?;
    let (mut progress, mut bytes) = (Progress::new(), 0);
    loop {
        let question = SqlQuery { sql: arguments.sql.clone(), app_id: arguments.app.clone() };
        let request = ExportRequest {
            question: Some(Question::Sql(question)),
            format: arguments.format.to_wire().into(),
            resume_token: to.token.clone(),
            ..ExportRequest::default()
        };
        let mut client = QueryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let ended = match client.export(request).await {
            Ok(pieces) => match follow(pieces.into_inner(), &mut to, &mut progress, &mut bytes).await? {
                None => {
                    drop(progress);
                    to.done()?;
                    let Some(file) = &arguments.out else { return Ok(()) };
                    return show.object(&json!({"file": file.display().to_string(), "bytes": bytes}), "");
                }
                Some(ended) => ended,
            },
            Err(refused) => refused,
        };
        let error = from_status(&ended);
        // A server that is killed says nothing of when to come again.
        let is_gone = error.code == ErrorCode::Unavailable || ended.code() == Code::Unknown;
        if to.token.is_empty() || !is_gone {
            return Err(ended.into());
        }
        channel = loop {
            tokio::time::sleep(error.retry_after.unwrap_or(Duration::from_secs(1))).await;
            match keyed(target).await {
                Err(ClientError::Connect { .. }) => {} // it was there before
                connected => break connected?,
            }
        };
    }
}

/// Writes the pieces; why they ended before the last, if they did.
async fn follow(
    mut pieces: tonic::Streaming<api::v1::ExportResponse>,
    to: &mut Destination,
    progress: &mut Progress,
    bytes: &mut u64,
) -> Result<Option<Status>, io::Error> {
    loop {
        match pieces.message().await {
            Ok(Some(piece)) => {
                *bytes = piece.bytes;
                to.put(&piece.data, piece.bytes, piece.resume_token)?;
                let mib = piece.bytes as f64 / f64::from(1 << 20);
                progress.show(None, |progress| format!("{mib:.1} MiB, {:.1} a second", progress.rate(mib)));
                if piece.last {
                    return Ok(None);
                }
            }
            Ok(None) => return Ok(Some(Status::unavailable("the stream ended"))),
            Err(status) => return Ok(Some(status)),
        }
    }
}
