//! The events of a file through `PublishStream`.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines},
    path::Path,
};

use api::{
    convert::time_to_wire,
    v1::{Event, PublishRequest, PublishStreamRequest, Value, ingest_service_client::IngestServiceClient, value::Kind},
};

use super::client::{Client, authorized};

/// Such a batch of flights stays under 1 MiB.
const BATCH: usize = 2_000;

/// What an import came to.
pub struct Imported {
    pub events: u64,
    pub position_token: String,
}

/// Sends every line of the file as an event. All must be accepted, each batch acknowledged in its turn.
pub async fn import(client: &Client, file: &Path) -> Imported {
    let mut service = IngestServiceClient::new(client.channel.clone());
    let batches = futures::stream::iter(Batches::open(file));
    let mut answers = service.publish_stream(authorized(&client.key, batches)).await.unwrap().into_inner();
    let (mut events, mut next, mut position_token) = (0, 0, String::new());
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.sequence, next, "acknowledgements come in order");
        let acknowledgement = answer.acknowledgement.unwrap();
        assert_eq!(acknowledgement.rejections, []);
        next += 1;
        events += u64::from(acknowledgement.accepted);
        position_token = acknowledgement.position_token;
    }
    Imported { events, position_token }
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
