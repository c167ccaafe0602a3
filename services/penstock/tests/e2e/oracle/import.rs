//! The events of a file through `PublishStream`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines},
    path::Path,
    time::{Duration, Instant},
};

use api::{
    convert::time_to_wire,
    v1::{Event, PublishRequest, PublishStreamRequest, Value, ingest_service_client::IngestServiceClient, value::Kind},
};

use tonic::{Code, Status};

use super::client::{Client, authorized};
use crate::house::PATIENCE;

/// Such a batch of flights stays under 1 MiB.
const BATCH: usize = 2_000;

/// What an import came to.
pub struct Imported {
    pub events: u64,
    batches: usize,
    pub position_token: String,
}

/// Sends every line of the file as an event. All must be accepted, each batch acknowledged in its turn.
pub async fn import(client: &Client, file: &Path) -> Imported {
    let started = Instant::now();
    let mut imported = Imported { events: 0, batches: 0, position_token: String::new() };
    // As any client does that is told to come again: from the batch that wasn't acknowledged.
    while let Err(status) = publish(client, file, &mut imported).await {
        let may_retry = status.code() == Code::Unavailable && started.elapsed() < PATIENCE;
        assert!(may_retry, "after batch {}: {status}", imported.batches);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    imported
}

/// Sends the batches that weren't acknowledged yet, in one stream.
async fn publish(client: &Client, file: &Path, imported: &mut Imported) -> Result<(), Status> {
    let mut service = IngestServiceClient::new(client.channel.clone());
    let batches = Batches::open(file).skip(imported.batches);
    let mut answers =
        service.publish_stream(authorized(&client.key, futures::stream::iter(batches))).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        assert_eq!(answer.sequence, imported.batches as u64, "acknowledgements come in order");
        let acknowledgement = answer.acknowledgement.unwrap();
        assert_eq!(acknowledgement.rejections, []);
        imported.batches += 1;
        imported.events += u64::from(acknowledgement.accepted);
        imported.position_token = acknowledgement.position_token;
    }
    Ok(())
}

/// The file's batches, read as the stream asks for them.
struct Batches {
    names: Vec<String>,
    lines: Lines<BufReader<File>>,
    sequence: u64,
}

impl Batches {
    fn open(file: &Path) -> Self {
        let mut lines = BufReader::new(File::open(file).unwrap()).lines();
        let names = lines.next().unwrap().unwrap().split('\t').map(str::to_owned).collect();
        Self { names, lines, sequence: 0 }
    }
}

impl Iterator for Batches {
    type Item = PublishStreamRequest;

    fn next(&mut self) -> Option<PublishStreamRequest> {
        let events: Vec<_> = self.lines.by_ref().take(BATCH).map(|line| event(&self.names, &line.unwrap())).collect();
        if events.is_empty() {
            return None;
        }
        let sequence = self.sequence;
        self.sequence += 1;
        Some(PublishStreamRequest { sequence, batch: Some(PublishRequest { events, ..PublishRequest::default() }) })
    }
}

/// A line as an event; a field that is empty is left out.
fn event(names: &[String], line: &str) -> Event {
    let mut event = Event { event_type: "flight".to_owned(), ..Event::default() };
    for (name, text) in names.iter().zip(line.split('\t')).filter(|(_, text)| !text.is_empty()) {
        let time = || time_to_wire(text.parse().unwrap());
        let kind = match name.as_str() {
            "event_id" => {
                event.event_id = text.to_owned();
                continue;
            }
            "user_id" => {
                event.user_id = text.to_owned();
                continue;
            }
            "timestamp" => {
                event.timestamp = Some(time());
                continue;
            }
            "departure" => Kind::Time(time()),
            "departed" => Kind::Bool(text.parse().unwrap()),
            "flight" | "distance" => Kind::Integer(text.parse().unwrap()),
            "dep_delay" | "arr_delay" | "air_time" | "speed" => Kind::Number(text.parse().unwrap()),
            _ => Kind::String(text.to_owned()),
        };
        event.properties.insert(name.clone(), Value { kind: Some(kind) });
    }
    event
}
