//! The engine's disks: its own, and where old data go, a bucket as the volume `cold` beside it.

use std::path::{Path, PathBuf};

/// A bucket, or a folder of one, that speaks S3.
#[derive(Clone)]
pub struct ColdStore {
    /// `https://HOST/BUCKET/FOLDER/`, or `http://`.
    pub url: String,
    /// The region; may be empty where the host says it.
    pub region: String,
    /// The id of the access key and its secret. Without them the engine looks for the environment's: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, or the machine's role.
    pub key: Option<(String, String)>,
}

impl std::fmt::Debug for ColdStore {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColdStore").field("url", &self.url).field("region", &self.region).finish_non_exhaustive()
    }
}

/// Where backups are.
#[derive(Clone, Debug)]
pub enum BackupStore {
    /// A directory, which is there.
    Dir(PathBuf),
    /// A bucket, or a folder of one.
    Bucket(ColdStore),
}

/// Of requests to the bucket: some seconds. With the engine's own 500 a query would hang for minutes instead of failing.
pub(crate) const FEW_ATTEMPTS: &[&str] = &["--s3_retry_attempts=5", "--s3_max_single_read_retries=3"];

/// Nothing is written into a part and no merge begins with less than this free: the engine ends where a write fails.
const KEPT_FREE_BYTES: u64 = 64 << 20;

/// The engine's own disk; that of the store with the policy `penstock`: nothing moves but what a table's TTL says, and an insert of
/// old data needs no bucket; and that of backups.
pub(crate) fn storage_xml(store: Option<&ColdStore>, backups: Option<&BackupStore>, root: &Path) -> String {
    let (cold, policies) = store.map(|store| cold_xml(store, &root.join("cold"))).unwrap_or_default();
    let (backups, allowed) = match backups {
        None => (String::new(), ""),
        Some(BackupStore::Dir(dir)) => {
            let dir = escape(&dir.display().to_string());
            let kept = format!("<keep_free_space_bytes>{KEPT_FREE_BYTES}</keep_free_space_bytes>");
            (format!("<backups><type>local</type><path>{dir}/</path>{kept}</backups>"), BACKUPS_ALLOWED)
        }
        Some(BackupStore::Bucket(store)) => {
            // Its files have their own names there: nothing of this machine's is needed to read them.
            (format!("<backups><type>s3_plain</type>{}</backups>", bucket_xml(store)), BACKUPS_ALLOWED)
        }
    };
    format!(
        "<storage_configuration>\n<disks><default><keep_free_space_bytes>{KEPT_FREE_BYTES}</keep_free_space_bytes></default>\
         {cold}{backups}</disks>\n{policies}</storage_configuration>{allowed}"
    )
}

const BACKUPS_ALLOWED: &str = "\n<backups><allowed_disk>backups</allowed_disk></backups>";

/// Where a bucket is, and how it is spoken to.
fn bucket_xml(store: &ColdStore) -> String {
    let key = match &store.key {
        Some((id, secret)) => format!(
            "<access_key_id>{}</access_key_id><secret_access_key>{}</secret_access_key>",
            escape(id),
            escape(secret)
        ),
        None => "<use_environment_credentials>true</use_environment_credentials>".to_owned(),
    };
    let region = match store.region.as_str() {
        "" => String::new(),
        region => format!("<region>{}</region>", escape(region)),
    };
    format!(
        "<endpoint>{}</endpoint>{key}{region}<connect_timeout_ms>2000</connect_timeout_ms>\
         <request_timeout_ms>30000</request_timeout_ms>",
        escape(&store.url),
    )
}

fn cold_xml(store: &ColdStore, metadata: &Path) -> (String, &'static str) {
    let metadata = escape(&metadata.display().to_string());
    let disk = format!("<cold><type>s3</type>{}<metadata_path>{metadata}/</metadata_path></cold>", bucket_xml(store));
    let policies = "<policies><penstock><move_factor>0</move_factor><volumes><default><disk>default</disk></default>\
         <cold><disk>cold</disk><perform_ttl_move_on_insert>false</perform_ttl_move_on_insert></cold>\
         </volumes></penstock></policies>\n";
    (disk, policies)
}

/// Text within an element.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
