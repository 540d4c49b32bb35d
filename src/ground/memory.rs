//! How much memory this process may have: what its cgroup says, or what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes.
pub fn bytes() -> usize {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit.max(1)));
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(&cgroups, Path::new("/sys/fs/cgroup"));
    let bytes = limit.map_or(machine, |limit| limit.min(machine));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The least limit of the cgroups that are listed, and of those above them, below the folder `root`.
fn limit(cgroups: &str, root: &Path) -> Option<u64> {
    let limits = cgroups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (controllers, path) = (fields.nth(1)?, fields.next()?);
        // Version 2 has one line, without controllers.
        let (folder, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        least(folder.join(path.trim_start_matches('/')), &folder, file)
    });
    limits.min()
}

/// In a container the path may be one of the machine's, which is not there: then the root's limit is the container's.
fn least(mut at: PathBuf, top: &Path, file: &str) -> Option<u64> {
    let mut least = None;
    while at.starts_with(top) {
        let text = fs::read_to_string(at.join(file)).unwrap_or_default();
        // "max" is no limit.
        let here = text.trim().parse::<u64>().ok();
        least = least.into_iter().chain(here).min();
        if !at.pop() {
            break;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let name = format!("siskin-cgroup-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        write(&root, "a/b/memory.max", "max\n");
        write(&root, "a/memory.max", "536870912\n");
        write(&root, "a/b/c/memory.max", "900000000\n");
        write(
            &root,
            "memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        write(&root, "memory/x/memory.limit_in_bytes", "268435456\n");
        let limit = |cgroups| limit(cgroups, &root);
        assert_eq!(limit("0::/a/b/c\n"), Some(536_870_912));
        assert_eq!(limit("0::/a/b\n"), Some(536_870_912));
        assert_eq!(limit("0::/\n"), None);
        let first = "5:cpu:/a\n4:hugetlb,memory:/x/y\n0::/\n";
        assert_eq!(limit(first), Some(268_435_456));
        // A path of the machine's, seen from within a container.
        assert_eq!(
            limit("4:memory:/docker/1234\n"),
            Some(9_223_372_036_854_771_712)
        );
        assert_eq!(limit("nonsense\n\n0:\n"), None);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn there_is_some() {
        assert!(bytes() > 1 << 20);
    }
}
