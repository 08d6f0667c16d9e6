//! Resources that processes have used (proc(5)).

use std::fs;

use anyhow::Context;

/// Fields of `/proc/ID/stat`, counted from 1.
fn stat<const N: usize>(id: u32, fields: [usize; N]) -> anyhow::Result<[u64; N]> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is a name that can contain any character.
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

/// Processor time of a process and of its ended children, in seconds.
fn times(id: u32) -> anyhow::Result<(f64, f64)> {
    /// `sysconf(_SC_CLK_TCK)`, the same on every Linux.
    const TICKS: f64 = 100.0;
    let [user, system, children_user, children_system] = stat(id, [14, 15, 16, 17])?;
    Ok(((user + system) as f64 / TICKS, (children_user + children_system) as f64 / TICKS))
}

/// Processor time of a process, in seconds.
pub(crate) fn processor(id: u32) -> anyhow::Result<f64> {
    Ok(times(id)?.0)
}

/// Processor time of a process and of all its children, in seconds.
pub(crate) fn processor_with_children(id: u32) -> anyhow::Result<f64> {
    let (own, ended) = times(id)?;
    let mut sum = own + ended;
    for entry in fs::read_dir("/proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // The child can have ended in the meantime; its time is then included in its parent's.
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
