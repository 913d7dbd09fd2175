//! Pinning: a process gets as many cores as it has threads, always the same ones.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

/// A command that runs `program` on exactly `threads` of the cores that this process may use.
///
/// Two hardware threads of one core would share its arithmetic units, so each core gives one. util-linux's `taskset`
/// does the pinning; where there is none (no Linux), nothing is pinned.
pub fn pinned(program: impl AsRef<OsStr>, threads: usize) -> anyhow::Result<Command> {
    ensure!(threads > 0, "0 threads");
    if !cfg!(target_os = "linux") {
        return Ok(Command::new(program));
    }
    let cores = physical()?;
    let chosen: Vec<String> = cores.iter().take(threads).map(usize::to_string).collect();
    ensure!(chosen.len() == threads, "{threads} threads, but this process may use {} cores", cores.len());
    let mut command = Command::new("taskset");
    command.arg("-c").arg(chosen.join(",")).arg(program);
    Ok(command)
}

/// One hardware thread of each core that this process may use.
fn physical() -> anyhow::Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).context("Cpus_allowed_list")?;
    let mut seen = HashSet::new();
    let first_of_core = |&cpu: &usize| {
        let siblings = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        // Where the kernel doesn't tell, each is taken for a core.
        seen.insert(fs::read_to_string(siblings).unwrap_or_else(|_| cpu.to_string()))
    };
    Ok(parse(list)?.into_iter().filter(first_of_core).collect())
}

/// `0-2,5` as numbers.
fn parse(list: &str) -> anyhow::Result<Vec<usize>> {
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>()?..=last.parse()?);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_is_ranges_and_numbers() {
        assert_eq!(parse("\t0-2,5\n").unwrap(), [0, 1, 2, 5]);
        assert_eq!(parse("7").unwrap(), [7]);
        assert!(parse("a").is_err());
    }

    #[test]
    fn more_threads_than_cores_are_refused() {
        assert!(pinned("true", 0).is_err());
        assert!(!cfg!(target_os = "linux") || pinned("true", 100_000).is_err());
    }
}
