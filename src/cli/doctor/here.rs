//! This machine: the store's disk, open files, what systemd or a container lets siskin use up.

use super::Report;
use crate::config::{Config, DirectoryKind};
use rustix::fs::{Access, StatVfsMountFlags, access, statfs, statvfs};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

/// Room that a store wants: it keeps two states beside each other while it commits.
const ROOM: u64 = 64 << 20;
/// Files beside the connections, and connections that are too few for anybody.
const RESERVED: u64 = 64;
const FEW: u64 = 512;
/// Memory and tasks that are too few.
const MEMORY: u64 = 32 << 20;
const TASKS: u64 = 16;

pub fn look(report: &mut Report, config: &Config) {
    match config.directory {
        DirectoryKind::Local => disk(report, &config.data_dir),
        DirectoryKind::OpenWebui(_) => report.skip("disk", "beside Open WebUI nothing is stored"),
    }
    let running = running(config);
    files(report, config, running.as_deref());
    limits(report, running.as_deref());
}

fn disk(report: &mut Report, folder: &Path) {
    let there = folder.ancestors().find(|folder| folder.exists());
    let Some(there) = there.filter(|there| there.is_dir()) else {
        let says = format!("{} is below something that is no folder", folder.display());
        return report.bad("disk", &says, "SISKIN_DATA_DIR=/var/lib/siskin");
    };
    let (Ok(disk), Ok(kind)) = (statvfs(there), statfs(there)) else {
        let says = format!("{} can't be looked at", there.display());
        return report.bad("disk", &says, "SISKIN_DATA_DIR=/var/lib/siskin");
    };
    let name = there.display();
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let fix = format!(
            "mount -o remount,rw {name}   (and look into dmesg: the kernel does this when a card or disk fails)"
        );
        return report.bad("disk", &format!("{name} is read-only"), &fix);
    }
    if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
        let fix = format!("run this as the user that siskin runs as, or: chown -R siskin {name}");
        return report.bad("disk", &format!("{name} can't be written: {error}"), &fix);
    }
    if free < ROOM {
        let says = format!("{name} has {} MiB left", free >> 20);
        let fix = "free some room, or SISKIN_DATA_DIR=/a/folder/on/a/larger/disk";
        return report.bad("disk", &says, fix);
    }
    let says = format!("{name} can be written and has {} MiB left", free >> 20);
    match kind_of(kind.f_type as u64) {
        (kind, None) => report.ok("disk", &format!("{says}{kind}")),
        (kind, Some(why)) => report.bad(
            "disk",
            &format!("{name} is{kind}: {why}"),
            "SISKIN_DATA_DIR=/var/lib/siskin, on a disk of this machine",
        ),
    }
}

/// A kind of file system (statfs(2)), and why no store belongs on it.
fn kind_of(magic: u64) -> (&'static str, Option<&'static str>) {
    let network = Some("a lock or a sync may not hold there, and the store may be damaged");
    match magic as u32 {
        0xEF53 => (" (ext4)", None),
        0x9123_683E => (" (btrfs)", None),
        0x5846_5342 => (" (xfs)", None),
        0xF2F5_2010 => (" (f2fs)", None),
        0x794C_7630 => (
            " (the container's own: without a volume it goes with the container)",
            None,
        ),
        0x0102_1994 => (" in memory", Some("it is empty after a restart")),
        0x6969 => (" on NFS", network),
        0xFF53_4D42 | 0xFE53_4D42 => (" on SMB", network),
        0x4D44 | 0x2011_BAB0 => (
            " FAT",
            Some("a loss of power may damage what was written before"),
        ),
        _ => ("", None),
    }
}

/// The running siskin that listens where the settings say: its number, if it can be seen.
fn running(config: &Config) -> Option<String> {
    let port = config.listen.first()?.port();
    let sockets = ["tcp", "tcp6"].map(|kind| read(&format!("/proc/net/{kind}")));
    let inodes = sockets
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, of) = fields.get(1)?.rsplit_once(':')?;
            // 0A: it listens.
            let ours = fields.get(3) == Some(&"0A") && u16::from_str_radix(of, 16) == Ok(port);
            ours.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
        });
    let inodes: Vec<String> = inodes.collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut names = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|pid| read(&format!("/proc/{pid}/comm")) == "siskin" && holds(pid, &inodes))
}

fn holds(pid: &str, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut targets = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| {
        inodes
            .iter()
            .any(|inode| target.as_os_str() == inode.as_str())
    })
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim_end().to_owned()
}

fn files(report: &mut Report, config: &Config, running: Option<&str>) {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let limits = running.map(|pid| read(&format!("/proc/{pid}/limits")));
    let of_running = limits.as_deref().and_then(|limits| {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    });
    let most = of_running.unwrap_or(most);
    let wanted = (config.max_connections as u64).max(FEW) + RESERVED;
    let whose = if of_running.is_some() {
        "the running siskin"
    } else {
        "a siskin started here"
    };
    if most < wanted {
        let says = format!(
            "{whose} may open {most} files: that is {} connections",
            most.saturating_sub(RESERVED)
        );
        let fix = "systemctl edit siskin: [Service] LimitNOFILE=65536   (a shell: ulimit -n 65536; docker: --ulimit nofile=65536)";
        return report.bad("files", &says, fix);
    }
    report.ok("files", &format!("{whose} may open {most} files"));
}

fn limits(report: &mut Report, running: Option<&str>) {
    let cgroup = running.map(|pid| read(&format!("/proc/{pid}/cgroup")));
    let path = cgroup
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")));
    let Some(path) = path else {
        return report.skip(
            "limits",
            "no running siskin is seen here with limits of systemd or of a container",
        );
    };
    let file = |name: &str| read(&format!("/sys/fs/cgroup{path}/{name}"));
    match judge(
        &file("memory.max"),
        &file("pids.max"),
        &file("memory.events"),
    ) {
        Ok(says) => report.ok("limits", &says),
        Err((says, fix)) => report.bad("limits", &says, fix),
    }
}

/// What a control group allows, as its files say; `max` is no limit.
fn judge(memory: &str, tasks: &str, events: &str) -> Result<String, (String, &'static str)> {
    const MEMORY_FIX: &str = "systemctl edit siskin: [Service] MemoryMax=256M";
    let killed = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    if let Some(times) = killed.filter(|times| *times != "0") {
        return Err((
            format!("it was killed {times} times for want of memory"),
            MEMORY_FIX,
        ));
    }
    if let Some(bytes) = memory.parse().ok().filter(|bytes: &u64| *bytes < MEMORY) {
        return Err((
            format!("it may have {} MiB of memory", bytes >> 20),
            MEMORY_FIX,
        ));
    }
    if let Some(count) = tasks.parse().ok().filter(|count: &u64| *count < TASKS) {
        let fix = "systemctl edit siskin: [Service] TasksMax=64";
        return Err((format!("it may have {count} threads"), fix));
    }
    let memory = memory.parse().map_or("no limit of".into(), |bytes: u64| {
        format!("{} MiB of", bytes >> 20)
    });
    Ok(format!(
        "{memory} memory, {} threads",
        if tasks.is_empty() {
            "any number of"
        } else {
            tasks
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_groups_limits_are_judged() {
        let says = |memory, tasks, events| judge(memory, tasks, events);
        assert_eq!(
            says("max", "64", "oom 0\noom_kill 0").unwrap(),
            "no limit of memory, 64 threads"
        );
        assert_eq!(
            says("268435456", "", "").unwrap(),
            "256 MiB of memory, any number of threads"
        );
        for (memory, tasks, events, fix) in [
            ("16777216", "64", "", "MemoryMax"),
            ("max", "4", "", "TasksMax"),
            ("max", "64", "oom 3\noom_kill 2", "MemoryMax"),
        ] {
            assert!(says(memory, tasks, events).unwrap_err().1.contains(fix));
        }
    }
}
