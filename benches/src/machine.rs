//! Where and when figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Instruction sets that matter to a matrix product, by the kernel's names.
const FLAGS: [&str; 18] = [
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
];

/// The facts that belong above a table, as a Markdown list: date, CPU, compiler, commit, and one item for each of
/// `versions`.
pub fn description(versions: &[(String, String)]) -> String {
    let unknown = || "unknown".into();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut lines = vec![
        format!("- {}, {cores} cores, {}", cpu().unwrap_or_else(unknown), flags().join(" ")),
        format!("- {} UTC", date()),
        format!("- {}, commit {}", rustc().unwrap_or_else(unknown), commit().unwrap_or_else(unknown)),
    ];
    if !versions.is_empty() {
        let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        lines.push(format!("- {}", versions.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// A field of the kernel's description of the first CPU.
fn cpu_field(names: &[&str]) -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        names.contains(&name.trim()).then(|| value.trim().to_owned())
    };
    info.lines().find_map(field)
}

fn cpu() -> Option<String> {
    // ARM kernels give numbers only.
    let arm = || Some(format!("{} part {}", std::env::consts::ARCH, cpu_field(&["CPU part"])?));
    cpu_field(&["model name"]).or_else(arm)
}

fn flags() -> Vec<&'static str> {
    let all = cpu_field(&["flags", "Features"]).unwrap_or_default();
    FLAGS.into_iter().filter(|flag| all.split_whitespace().any(|f| f == *flag)).collect()
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program).args(arguments).current_dir(folder).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn rustc() -> Option<String> {
    let version = output("rustc", &["--version"])?;
    Some(version.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// The commit of the sources, marked where tracked files differ from it.
fn commit() -> Option<String> {
    let commit = output("git", &["rev-parse", "--short", "HEAD"])?;
    // The file of results itself may be changed: an earlier run wrote it.
    let changes = output("git", &["status", "--porcelain", "-uno", "--", ":/", ":(exclude)RESULTS.md"])?;
    Some(if changes.is_empty() { commit } else { commit + " with changes" })
}

fn date() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() / 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
    }
}
