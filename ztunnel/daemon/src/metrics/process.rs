//! What the system says of this process.

use std::fmt::Write;
use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use tikv_jemalloc_ctl::{epoch, stats};

/// Appends what can be read; what cannot is left out.
pub(super) fn render(text: &mut String) {
    allocator(text);
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}")
                .expect("writing to a string never fails");
        }
    };
    gauge("process_open_fds", "Open files.", open_files());
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft);
    gauge("process_max_fds", "Files that may be open.", limit);
    gauge("process_resident_memory_bytes", "Resident memory.", resident());
}

/// What the allocator says: where memory is that the process has and nothing of it uses.
fn allocator(text: &mut String) {
    // The figures are those of the last time that this was called.
    if epoch::advance().is_err() {
        return;
    }
    let kinds = [
        ("allocated", stats::allocated::read()),
        ("active", stats::active::read()),
        ("metadata", stats::metadata::read()),
        ("resident", stats::resident::read()),
        ("retained", stats::retained::read()),
    ];
    text.push_str("# HELP ambient_memory_bytes Memory as the allocator sees it.\n");
    text.push_str("# TYPE ambient_memory_bytes gauge\n");
    for (kind, bytes) in kinds {
        if let Ok(bytes) = bytes {
            writeln!(text, "ambient_memory_bytes{{kind=\"{kind}\"}} {bytes}")
                .expect("writing to a string never fails");
        }
    }
}

fn open_files() -> Option<u64> {
    // One of them is the folder itself.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(open.saturating_sub(1)).ok()
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
