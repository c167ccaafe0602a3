use eventlog::{Batch, LogOptions};
use storage::{Commit, Metastore, Pending};
use tempfile::TempDir;

use super::*;

struct World {
    log: Arc<dyn EventLog>,
    meta: Arc<dyn Metastore>,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let meta = storage::open(&format!("sqlite:{}", at("meta.db"))).await.unwrap();
        let options = LogOptions { partitions: 2, ..LogOptions::default() };
        let log = eventlog::open(&format!("embedded:{}", at("log")), &options, None).await.unwrap();
        Self { log, meta, _folder: folder }
    }

    fn topic(&self) -> Topic {
        Topic { name: self.log.topic().to_owned(), incarnation: self.log.incarnation() }
    }

    async fn append(&self, partition: PartitionId) {
        let batch = Batch { partition, buffer: b"a record".to_vec().into(), ends: vec![8] };
        self.log.append(vec![batch]).await.unwrap();
    }

    /// When the log took a record, UTC ms.
    async fn appended_ms(&self, partition: PartitionId, offset: u64) -> i64 {
        self.log.read(partition, offset, 1, 1).await.unwrap()[0].appended_ms
    }

    /// The lag at an instant, in ms; one below a second is none.
    async fn lag_ms(&self, now_ms: i64) -> u128 {
        let slow = Duration::from_secs(1);
        measure(&*self.log, &*self.meta, &self.topic(), now_ms, slow).await.unwrap().as_millis()
    }
}

#[tokio::test]
async fn the_lag_is_the_age_of_what_is_not_committed() {
    let world = World::new().await;
    let far = 4_000_000_000_000;
    assert_eq!(world.lag_ms(far).await, 0, "nothing was sent, so nothing is late");

    // Nobody has claimed the partition yet.
    world.append(1).await;
    let first_ms = world.appended_ms(1, 0).await;
    assert_eq!(world.lag_ms(first_ms + 5_000).await, 5_000);

    let (topic, partition) = (world.topic(), 1);
    let generation = world.meta.claim(&topic, partition, "worker").await.unwrap().generation;
    assert_eq!(world.lag_ms(first_ms + 6_000).await, 6_000, "a claim alone is no progress");
    let pending = Pending { first: 0, last: 0, since_ms: first_ms };
    world.meta.begin(&topic, partition, generation, pending).await.unwrap();
    let commit = Commit { end: 1, frontier_ms: first_ms, hours: Vec::new() };
    world.meta.commit(&topic, partition, generation, commit).await.unwrap();
    assert_eq!(world.lag_ms(far).await, 0, "an old frontier with nothing behind it is no lag");

    world.append(1).await;
    let second_ms = world.appended_ms(1, 1).await;
    assert_eq!(world.lag_ms(second_ms + 7_000).await, 7_000);
    world.meta.advance(&topic, partition, generation, 1, second_ms + 6_500).await.unwrap();
    assert_eq!(world.lag_ms(second_ms + 7_000).await, 0, "what moves isn't asked for its age");
}
