//! What the kernel says of a process: its CPU time, its memory, its children.

use std::{fs, time::Duration};

use crate::error::LoadError;

/// User and system time of all threads so far, those that have ended included. In steps of the kernel's tick, mostly 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, LoadError> {
    let stat = read(pid, "stat")?;
    let fields = after_name(&stat);
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    // proc_pid_stat(5): utime and stime are the 14th and 15th field.
    let all = ticks(14).zip(ticks(15)).map(|(user, system)| user + system).ok_or_else(|| unread(pid, "stat"))?;
    Ok(Duration::from_secs_f64(all as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The most memory that was resident at once, in bytes, since the start or the last [`reset_peak`].
pub(crate) fn peak_rss_bytes(pid: u32) -> Result<u64, LoadError> {
    memory(pid, "VmHWM:")
}

/// What is resident now, in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64, LoadError> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, which: &str) -> Result<u64, LoadError> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or_else(|| unread(pid, "status"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().map_err(|_| unread(pid, "status"))?;
    Ok(kib * 1024)
}

/// Lets the peak begin anew from what is resident now.
pub(crate) fn reset_peak(pid: u32) -> Result<(), LoadError> {
    // proc_pid_clear_refs(5): 5 resets the peak resident set size.
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .map_err(LoadError::io(format!("can't reset the peak memory of {pid}")))
}

/// The processes that this one started and that still run.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>, LoadError> {
    let all = fs::read_dir("/proc").map_err(LoadError::io("can't list /proc"))?;
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // One that ends while we look is no child any more.
    Ok(pids.filter(|&child| read(child, "stat").is_ok_and(|stat| parent(&stat) == Some(pid))).collect())
}

/// The arguments it was started with.
pub(crate) fn arguments(pid: u32) -> Result<Vec<String>, LoadError> {
    Ok(read(pid, "cmdline")?.split_terminator('\0').map(str::to_owned).collect())
}

fn parent(stat: &str) -> Option<u32> {
    after_name(stat).get(1)?.parse().ok()
}

/// The fields from the 3rd on: the name before them may hold spaces and parentheses.
fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect()
}

fn read(pid: u32, file: &str) -> Result<String, LoadError> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(|e| LoadError::Process { pid, what: format!("{file}: {e}") })
}

fn unread(pid: u32, file: &str) -> LoadError {
    LoadError::Process { pid, what: format!("{file} has another form than this program knows") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 17 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(parent(stat), Some(17));
        assert_eq!(after_name(stat)[14 - 3..=15 - 3], ["250", "50"]);
    }

    #[test]
    fn this_process_is_known() {
        let pid = std::process::id();
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(children(pid).unwrap().contains(&child.id()));
        assert_eq!(arguments(child.id()).unwrap(), ["cat"]);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(peak_rss_bytes(pid).unwrap() > 1 << 20);
        let before = cpu_time(pid).unwrap();
        let mut n = 1u64;
        while cpu_time(pid).unwrap() == before {
            n = std::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        assert!(cpu_time(u32::MAX).is_err());
    }
}
