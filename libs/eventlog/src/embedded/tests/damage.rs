//! Bytes that change on disk never come back as records, and never make acknowledged records vanish silently.

use super::*;
use crate::conformance::{Random, batch, read_from};

/// Flips a bit; what is at the place must matter, or the test would ask for nothing.
fn flip(path: &Path, at: usize, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

fn record(partition: u32, offset: u64) -> String {
    format!("{partition}:{offset}:{}", "z".repeat(900))
}

/// Opens and reads everything; the first error, if any. Asserts that what is read is right.
async fn read_all(dir: &Path, wanted: u64) -> Result<(), LogError> {
    let log = open(dir).await?;
    for partition in 0..2 {
        for offset in 0..wanted {
            let records = log.read(partition, offset, 1, 1).await?;
            assert_eq!(records.len(), 1, "offset {offset} of partition {partition} vanished");
            assert_eq!(records[0].payload, record(partition, offset));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_flipped_bit_in_the_journal_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let log = open(&live).await.unwrap();
    for offset in 0..20 {
        log.append(vec![batch(0, [record(0, offset)]), batch(1, [record(1, offset)])]).await.unwrap();
    }
    log.close().await.unwrap();
    let len = journal_bytes(&live).len();
    let mut random = Random::new();
    let mut damaged = 0;
    for turn in 0..60 {
        let hurt = dir.path().join(format!("hurt{turn}"));
        copy(&live, &hurt);
        let (at, bit) = (random.below(len as u64) as usize, random.below(8));
        flip(&journal(&hurt), at, bit);
        match read_all(&hurt, 20).await {
            // A few bytes of the journal's own framing are told by nothing and needed by nobody.
            Ok(()) => {}
            Err(LogError::Damaged(_)) => damaged += 1,
            Err(error) => panic!("bit {bit} of byte {at}: {error}"),
        }
        fs::remove_dir_all(&hurt).unwrap();
    }
    assert!(damaged >= 50, "only {damaged} of 60 were noticed");
}

#[tokio::test]
async fn a_flipped_bit_in_a_table_is_damage_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let log = open(&live).await.unwrap();
    let mut random = Random::new();
    let noise = |random: &mut Random| (0..3000).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    let wanted: Vec<_> = (0..30).map(|_| noise(&mut random)).collect();
    for record in &wanted {
        log.append(vec![batch(1, [record])]).await.unwrap();
    }
    log.shared.store.read().as_ref().unwrap().flush(1);
    log.close().await.unwrap();

    let table = newest_table(&live);
    let len = fs::metadata(&table).unwrap().len();
    assert!(len > 90_000);
    let (mut named, turns) = (0, 60);
    for turn in 0..turns {
        let hurt = dir.path().join(format!("hurt{turn}"));
        copy(&live, &hurt);
        let hurt_table = hurt.join(table.strip_prefix(&live).unwrap());
        flip(&hurt_table, random.below(len) as usize, random.below(8));
        let read = async {
            let log = open(&hurt).await?;
            let mut records = Vec::new();
            for offset in 0..30 {
                records.extend(log.read(1, offset, 1, 1).await?);
            }
            Ok::<_, LogError>(records)
        };
        match read.await {
            Ok(records) => assert!(records.iter().map(|record| &record.payload).eq(&wanted)),
            Err(LogError::Damaged(message)) => named += u32::from(message.contains("partition 1, offset ")),
            Err(error) => panic!("{error}"),
        }
        fs::remove_dir_all(&hurt).unwrap();
    }
    assert!(named >= turns / 2, "only {named} of {turns} named their place");
}

/// The largest file under `v1/records/keyspaces`.
fn newest_table(dir: &Path) -> PathBuf {
    let (mut folders, mut files) = (vec![dir.join("v1/records/keyspaces")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

#[tokio::test]
async fn a_journal_cut_short_is_damage_that_names_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await.unwrap();
    for _ in 0..5 {
        log.append(vec![batch(1, ["a", "b"])]).await.unwrap();
    }
    log.close().await.unwrap();
    let bytes = journal_bytes(dir.path());
    fs::write(journal(dir.path()), &bytes[..bytes.len() - 10]).unwrap();
    let refused = open(dir.path()).await.err();
    let told = "partition 1: offsets 8 to 9 were acknowledged and are gone";
    assert!(matches!(&refused, Some(LogError::Damaged(message)) if message == told), "{refused:?}");
}

#[tokio::test]
async fn missing_files_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let log = open(&live).await.unwrap();
    log.append(vec![batch(0, ["x"])]).await.unwrap();
    log.close().await.unwrap();
    for part in ["records", "ends", "floor", "records/0.jnl"] {
        let hurt = dir.path().join("hurt");
        copy(&live, &hurt);
        let path = hurt.join("v1").join(part);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let refused = open(&hurt).await.err();
        assert!(matches!(refused, Some(LogError::Damaged(_))), "{part}: {refused:?}");
        fs::remove_dir_all(hurt).unwrap();
    }
    assert_eq!(read_from(&open(&live).await.unwrap(), 0, 0).await.len(), 1);
}
