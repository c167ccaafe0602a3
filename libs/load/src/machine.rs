//! The machine that the numbers belong to.

use std::{fs, path::Path};

use serde::Serialize;

/// Facts of the machine. What the kernel doesn't tell is empty or 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Threads that run at once.
    pub cores: usize,
    /// Its name.
    pub cpu: String,
    /// Of main memory.
    pub memory_bytes: u64,
    /// Its release.
    pub kernel: String,
    /// Type of the file system that the data lie on.
    pub file_system: String,
    /// Processes that ran or waited to run before the start, on average over a minute. Much above 0: others were at work too.
    pub load_before: f64,
}

impl Machine {
    /// This one, with the file system that `data` lies on, if there is any.
    pub fn here(data: Option<&Path>) -> Self {
        let field = |file: &str, name: &str| {
            let text = text(file);
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: field("/proc/cpuinfo", "model name"),
            memory_bytes: memory.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: data.map_or_else(String::new, |data| file_system(&text("/proc/self/mounts"), data)),
            load_before: text("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

fn text(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// The type of the deepest mount that holds the path; of several at one place the last is seen.
fn file_system(mounts: &str, path: &Path) -> String {
    let holding = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        path.starts_with(at).then_some((at.len(), kind))
    });
    holding.max_by_key(|(depth, _)| *depth).map_or_else(String::new, |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n";
        for (path, kind) in [("/home/x", "ext4"), ("/tmp/x", "tmpfs"), ("/tmp/disk/y", "xfs"), ("/tmpx", "ext4")] {
            assert_eq!(file_system(mounts, Path::new(path)), kind);
        }
    }
}
