//! What processes have taken of the machine (proc(5)).

use std::fs;

use anyhow::Context;

/// Fields of `/proc/ID/stat`, counted from 1.
fn stat<const N: usize>(id: u32, fields: [usize; N]) -> anyhow::Result<[u64; N]> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is a name that may hold anything.
    let (_, rest) = text.rsplit_once(')').context("no name")?;
    let all: Vec<&str> = rest.split_whitespace().collect();
    let mut values = [0; N];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = all.get(field - 3).context("no such field")?.parse()?;
    }
    Ok(values)
}

pub(crate) fn parent(id: u32) -> anyhow::Result<u32> {
    Ok(stat(id, [4])?[0] as u32)
}

/// Processor time of a process and of its children that have ended, in seconds.
fn times(id: u32) -> anyhow::Result<(f64, f64)> {
    /// `sysconf(_SC_CLK_TCK)`, which is this on every Linux.
    const TICKS: f64 = 100.0;
    let [user, system, children_user, children_system] = stat(id, [14, 15, 16, 17])?;
    Ok(((user + system) as f64 / TICKS, (children_user + children_system) as f64 / TICKS))
}

/// Processor time of a process, in seconds.
pub(crate) fn processor(id: u32) -> anyhow::Result<f64> {
    Ok(times(id)?.0)
}

/// Processor time of a process and of all that it has started, in seconds.
pub(crate) fn processor_with_children(id: u32) -> anyhow::Result<f64> {
    let (own, ended) = times(id)?;
    let mut sum = own + ended;
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile, and is then in its parent's.
        if parent(child).is_ok_and(|parent| parent == id) {
            sum += times(child).map_or(0.0, |(own, _)| own);
        }
    }
    Ok(sum)
}

/// Resident memory in MiB.
pub(crate) fn memory(id: u32) -> anyhow::Result<f64> {
    let bytes = tests::server::memory(id, "VmRSS:").context("no VmRSS")?;
    Ok(bytes as f64 / f64::from(1 << 20))
}
