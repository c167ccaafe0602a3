//! What it costs to bring decoded events onto the wire: this crate's columns against the client's block builder.
//!
//! `cargo bench -p storage` prints rows per CPU-second, everything of this process included: decoding the log's records,
//! building the block, sending it over loopback, and the receiver that throws it away.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use clickhouse::{Client, Compression, native::builder::BlockBuilder};
use model::{
    PropertyKind, Slot,
    record::{Body, PropertyRef, RecordRef, ValueRef, decode, encode},
};
use storage::warehouse::{EventColumns, EventRow, Warehouse};

const ROWS: usize = 50_000;
const BLOCKS: usize = 30;
const NUMBERS: u16 = 10;
const TEXTS: u16 = 10;

fn main() {
    let records: Vec<Vec<u8>> = (0..ROWS as u64).map(record).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = sink();
    let warehouse = Warehouse::new(&url, "penstock", "default", None).unwrap();
    let compressing = warehouse.clone().with_insert_compression(true);
    let client = Client::default().with_url(&url).with_compression(Compression::None);
    println!("{ROWS} rows a block, {NUMBERS} number and {TEXTS} text properties each; thousand rows per CPU-second");
    measure("decode the records only", || {
        let mut properties = Vec::new();
        records.iter().fold(0, |sum, bytes| {
            properties.clear();
            decode(bytes, &mut properties).unwrap();
            sum + properties.len()
        })
    });
    measure("EventColumns: build", || columns(&records).len());
    measure("EventColumns: build, encode", || columns(&records).to_native().len());
    measure("EventColumns: build, encode, send", || {
        runtime.block_on(warehouse.insert(&columns(&records), "token")).unwrap().bytes
    });
    measure("EventColumns: build, encode, compress, send", || {
        runtime.block_on(compressing.insert(&columns(&records), "token")).unwrap().bytes
    });
    measure("BlockBuilder: build", || builder(&records).build().unwrap().num_rows());
    measure("BlockBuilder: build, insert_native", || {
        let block = builder(&records).build().unwrap();
        runtime.block_on(async {
            let mut insert = client.insert_native("events");
            insert.write(&block).await.unwrap();
            insert.end().await.unwrap();
        });
        ROWS
    });
}

/// An event as ingest would log it: half its texts from small sets, one that is nearly unique.
fn record(i: u64) -> Vec<u8> {
    let numbers: Vec<_> = (0..NUMBERS).map(|p| (format!("number_{p}"), i as f64 * f64::from(p + 1) / 7.0)).collect();
    let texts: Vec<_> = (0..TEXTS)
        .map(|p| {
            let distinct = [3, 10, 40, 150, 500, 2_000, 7, 25, 100, 1 << 40][usize::from(p)];
            (format!("text_{p}"), format!("value {}", i.wrapping_mul(0x9e37_79b9) % distinct))
        })
        .collect();
    let numbers =
        numbers.iter().map(|(name, x)| PropertyRef { name, kind: PropertyKind::Number, value: ValueRef::Number(*x) });
    let texts =
        texts.iter().map(|(name, text)| PropertyRef { name, kind: PropertyKind::String, value: ValueRef::Text(text) });
    let properties: Vec<_> = numbers.chain(texts).collect();
    let (event_id, user_id) = (
        format!("{:032x}", u128::from(i) << 64 | 0x1234_5678_9abc),
        format!("user-{}", i.wrapping_mul(0x9e37_79b9) % 20_000),
    );
    let event = RecordRef {
        tenant: "acme",
        app: "web",
        user_id: &user_id,
        received_at_ms: 1_700_000_000_900 + i as i64,
        body: Body::Event {
            event_id: &event_id,
            event_type: ["view", "click", "purchase"][i as usize % 3],
            timestamp_ms: 1_700_000_000_000 + i as i64,
        },
    };
    let mut bytes = Vec::new();
    encode(&event, &properties, None, &mut bytes);
    bytes
}

fn head<'a>(record: &RecordRef<'a>, offset: u64) -> EventRow<'a> {
    let Body::Event { event_id, event_type, timestamp_ms } = record.body else { panic!("events only") };
    EventRow {
        tenant: record.tenant,
        app: record.app,
        event_type,
        timestamp_ms,
        user_id: record.user_id,
        event_id,
        country: Some("DE"),
        plan: None,
        received_at_ms: record.received_at_ms,
        incarnation: 1,
        partition: 3,
        offset,
    }
}

/// Where the property lies; stands in for the registry, whose lookup both sides would pay alike.
fn slot(at: usize) -> Slot {
    let at = at as u16;
    if at < NUMBERS { Slot::Number(at) } else { Slot::Text(at - NUMBERS) }
}

fn columns(records: &[Vec<u8>]) -> EventColumns {
    let mut columns = EventColumns::for_day_of(1_700_000_000_000);
    let mut properties = Vec::new();
    for (offset, bytes) in (0..).zip(records) {
        let record = decode(bytes, &mut properties).unwrap();
        columns.push(&head(&record, offset)).unwrap();
        for (at, PropertyRef { name, kind, value }) in properties.iter().enumerate() {
            columns.set(slot(at), name, *kind, *value).unwrap();
        }
    }
    columns
}

/// The same through the client: a column at a time, since its builder lends out one column at once.
fn builder(records: &[Vec<u8>]) -> BlockBuilder {
    let mut heads = Vec::with_capacity(records.len());
    let mut numbers = vec![Vec::with_capacity(records.len()); usize::from(NUMBERS)];
    let mut texts = vec![Vec::with_capacity(records.len()); usize::from(TEXTS)];
    let mut properties = Vec::new();
    for (offset, bytes) in (0..).zip(records) {
        let record = decode(bytes, &mut properties).unwrap();
        heads.push(head(&record, offset));
        for (at, PropertyRef { kind, value, .. }) in properties.iter().enumerate() {
            match *value {
                ValueRef::Number(x) => numbers[at].push(Some(x)),
                ValueRef::Text(text) => texts[at - usize::from(NUMBERS)].push(Some(text)),
            }
            debug_assert_ne!(*kind, PropertyKind::Bool);
        }
    }
    let mut builder = BlockBuilder::new();
    macro_rules! add {
        ($name:expr, $values:expr) => {
            builder.upsert_column($name).unwrap().add_all($values).unwrap();
        };
    }
    add!("tenant", heads.iter().map(|row| row.tenant));
    add!("app", heads.iter().map(|row| row.app));
    add!("event", heads.iter().map(|row| row.event_type));
    add!("ts", heads.iter().map(|row| row.timestamp_ms));
    add!("user", heads.iter().map(|row| row.user_id));
    add!("event_id", heads.iter().map(|row| row.event_id));
    add!("country", heads.iter().map(|row| row.country));
    add!("received_at", heads.iter().map(|row| row.received_at_ms));
    add!("_incarnation", heads.iter().map(|row| row.incarnation));
    add!("_partition", heads.iter().map(|row| row.partition));
    add!("_offset", heads.iter().map(|row| row.offset));
    for (at, values) in numbers.into_iter().enumerate() {
        add!(format!("n{at}"), values);
    }
    for (at, values) in texts.into_iter().enumerate() {
        add!(format!("s{at}"), values);
    }
    builder
}

/// Runs the work for every block and prints its rate. What it returns is only kept from being optimised away.
fn measure(name: &str, mut work: impl FnMut() -> usize) {
    work();
    let before = cpu_time();
    let mut kept = 0usize;
    for _ in 0..BLOCKS {
        kept = kept.wrapping_add(std::hint::black_box(work()));
    }
    let spent = (cpu_time() - before).as_secs_f64();
    std::hint::black_box(kept);
    assert!(spent >= 0.1, "{name}: {spent} s of CPU time is too little to measure in steps of 10 ms");
    println!("{:>8.0}  {name}", (ROWS * BLOCKS) as f64 / spent / 1000.0);
}

/// User and system time of all threads of this process, in steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // By position: some fields are negative. After the name comes the 3rd field; utime and stime are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(14) + ticks(15)))
}

/// A server that takes any request with a chunked body and answers 200.
fn sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || swallow(connection.unwrap()));
        }
    });
    url
}

fn swallow(mut connection: TcpStream) {
    let mut buffer = vec![0; 1 << 20];
    let mut tail = Vec::new();
    while let Ok(read @ 1..) = connection.read(&mut buffer) {
        tail.extend_from_slice(&buffer[read.saturating_sub(7)..read]);
        tail.drain(..tail.len().saturating_sub(7));
        if tail == b"\r\n0\r\n\r\n" {
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    }
}
