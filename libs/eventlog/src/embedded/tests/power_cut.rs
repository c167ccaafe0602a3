//! A power cut loses any of the pages that no fsync covered, in any order. What an fsync covered is a copy of the files
//! taken when the append was acknowledged; what the next append writes may be there in part.

use super::*;
use crate::conformance::{Random, batch, read_from, texts};

const PAGE: usize = 512; // the smallest unit a disk writes whole

#[tokio::test]
async fn an_append_torn_anywhere_leaves_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (live, before, after) = (dir.path().join("live"), dir.path().join("before"), dir.path().join("after"));
    let log = open(&live).await.unwrap();
    log.append(vec![batch(0, ["first"]), batch(1, ["other"])]).await.unwrap();
    copy(&live, &before);
    let durable = journal_bytes(&before).len();
    let torn = vec!["y".repeat(700); 20];
    log.append(vec![batch(0, &torn)]).await.unwrap();
    copy(&live, &after);
    let whole = journal_bytes(&after);
    assert!(whole.len() > durable + 14_000);

    let mut random = Random::new();
    for turn in 0..100 {
        let cut = dir.path().join(format!("cut{turn}"));
        copy(&before, &cut);
        let mut bytes = whole.clone();
        let pages: Vec<_> = (durable / PAGE..=whole.len() / PAGE).collect();
        let chance = 1 + random.below(8);
        let mut lost = 0;
        for page in pages {
            // Turn 0 loses everything, turn 1 nothing, the others each page by a chance.
            if turn == 0 || (turn > 1 && random.below(8) < chance) {
                bytes[(page * PAGE).max(durable)..((page + 1) * PAGE).min(whole.len())].fill(0);
                lost += 1;
            }
        }
        let mut file = fs::OpenOptions::new().write(true).open(journal(&cut)).unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();

        let log = open(&cut).await.unwrap_or_else(|error| panic!("turn {turn}, {lost} pages lost: {error}"));
        let found = texts(&read_from(&log, 0, 0).await);
        assert_eq!(found[0], "first");
        assert!(found.len() == 1 || found[1..] == torn, "all of an append or nothing");
        assert!(turn != 1 || found.len() == 21);
        assert_eq!(log.append(vec![batch(0, ["next"])]).await.unwrap().ends, [(0, found.len() as u64 + 1)]);
        drop(log);
        fs::remove_dir_all(cut).unwrap();
    }
}
