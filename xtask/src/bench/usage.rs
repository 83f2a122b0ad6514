//! What processes use, as /proc tells it.

use std::fs;
use std::path::PathBuf;

use nix::unistd::{SysconfVar, sysconf};

use crate::error::XtaskError;

/// Processor seconds, in user and system mode, of all processes together since they began.
pub(super) fn cpu_seconds(pids: &[u32]) -> Result<f64, XtaskError> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let mut total = 0.0;
    for pid in pids {
        let text = read(*pid, "stat")?;
        // The name, in parentheses, may hold anything.
        let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        total += fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(total / f64::from(i32::try_from(ticks).unwrap_or(100)))
}

/// Resident memory in bytes, the mean of all processes.
pub(super) fn resident(pids: &[u32]) -> Result<f64, XtaskError> {
    let mut total = 0.0;
    for pid in pids {
        let text = read(*pid, "status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<f64>().ok());
        total += kilobytes.unwrap_or(0.0) * 1024.0;
    }
    Ok(total / f64::from(u32::try_from(pids.len().max(1)).unwrap_or(1)))
}

fn read(pid: u32, file: &str) -> Result<String, XtaskError> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    fs::read_to_string(&path).map_err(XtaskError::file(path))
}
