//! Where old events lie: the settings, and what they come to.

use std::path::{Path, PathBuf};

use chdb::ColdStore;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// Where events go that are old.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ColdOptions {
    /// Of an embedded warehouse: the URL of a bucket that speaks S3, or of a folder in one, as `https://HOST/BUCKET/FOLDER/`. Of a
    /// ClickHouse server: `policy`, which it then must have: the storage policy `penstock` with the volumes `default` (the disk
    /// `default`) and `cold`. If empty, events stay where they are. Not to be emptied again: the table needs its disks.
    pub(crate) to: String,
    /// How old events are then, in days: at least 1.
    pub(crate) days: u32,
    /// The bucket's region, where its host doesn't say it.
    pub(crate) region: String,
    /// File with the id of the bucket's access key and, on a second line, its secret. If none is named, the environment of the
    /// warehouse process says them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or the machine's role.
    pub(crate) key_file: PathBuf,
}

impl Default for ColdOptions {
    fn default() -> Self {
        Self { to: String::new(), days: 30, region: String::new(), key_file: PathBuf::new() }
    }
}

/// The value of `to` for a server's own policy.
const POLICY: &str = "policy";

impl ColdOptions {
    /// After how many days events move, if they do.
    pub(crate) fn days(&self) -> Option<u32> {
        (!self.to.is_empty()).then_some(self.days)
    }

    /// Refuses what can't be, with a warehouse that is embedded or not.
    pub(crate) fn check(&self, embedded: bool) -> Result<(), ConfigError> {
        let refuse = |setting, what: &str| Err(ConfigError::Value { setting, what: what.to_owned() });
        let url = self.to.starts_with("http://") || self.to.starts_with("https://");
        match self.to.as_str() {
            "" => return Ok(()),
            _ if embedded && !url => {
                return refuse("cold.to", "must be https://HOST/BUCKET/FOLDER/ for an embedded warehouse");
            }
            to if !embedded && to != POLICY => {
                return refuse(
                    "cold.to",
                    "must be \"policy\" for a ClickHouse server: its operator configures the bucket",
                );
            }
            _ => {}
        }
        if !(1..=36_500).contains(&self.days) {
            return refuse("cold.days", "must be from 1 to 36500");
        }
        Ok(())
    }

    /// The bucket of an embedded warehouse.
    pub(crate) fn store(&self) -> Result<Option<ColdStore>, String> {
        if self.to.is_empty() {
            return Ok(None);
        }
        bucket("cold", &self.to, &self.region, &self.key_file).map(Some)
    }
}

/// A bucket as the settings of that table say it.
pub(crate) fn bucket(table: &str, to: &str, region: &str, key_file: &Path) -> Result<ColdStore, String> {
    let key = match key_file.as_os_str().is_empty() {
        true => None,
        false => Some(read_key(table, key_file)?),
    };
    // The engine takes what follows the bucket for a folder only if it ends like one.
    let url = format!("{}/", to.trim_end_matches('/'));
    Ok(ColdStore { url, region: region.to_owned(), key })
}

fn read_key(table: &str, path: &Path) -> Result<(String, String), String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{table}.key_file: {}: {e}", path.display()))?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines[..] {
        [id, secret] => Ok((id.to_owned(), secret.to_owned())),
        _ => Err(format!("{table}.key_file: {} must have two lines: the key's id and its secret", path.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_for_an_embedded_warehouse_and_a_policy_for_a_server() {
        let cold = |to: &str, days| ColdOptions { to: to.to_owned(), days, ..ColdOptions::default() };
        for (to, embedded) in [("", true), ("", false), ("https://s3.example.com/b/", true), ("policy", false)] {
            assert!(cold(to, 30).check(embedded).is_ok(), "{to}");
        }
        for (to, days, embedded) in
            [("policy", 30, true), ("https://s3/b", 30, false), ("s3://b", 30, true), ("http://s3/b", 0, true)]
        {
            let error = cold(to, days).check(embedded).unwrap_err().to_string();
            assert!(error.starts_with("cold."), "{error}");
        }
    }

    #[test]
    fn a_key_has_an_id_and_a_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = ColdOptions { to: "http://s3/b".into(), key_file: file.path().into(), ..ColdOptions::default() };
        assert!(options.store().unwrap_err().contains("two lines"));
        std::fs::write(file.path(), "id\nhush\n").unwrap();
        let store = options.store().unwrap().unwrap();
        assert_eq!((store.url.as_str(), &store.key), ("http://s3/b/", &Some(("id".into(), "hush".into()))));
        assert!(!format!("{store:?}").contains("hush"));
    }
}
