//! What this machine has to give at the moment. It decides whether a stage begins, and nothing that it makes.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that this process may still take: what the kernel could free, and no more than any control group around it
/// allows. Nothing where the kernel does not say.
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_in(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Where the limits of the control groups stand that `/proc/self/cgroup` names, and of those around them, of both
/// versions (cgroups(7)).
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        let around = group.ancestors().take_while(|folder| folder.starts_with(root));
        Some(around.map(|folder| folder.join(file)).collect::<Vec<_>>())
    };
    groups.lines().filter_map(of_line).flatten().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernel_says_what_is_there() {
        assert_eq!(available_in("MemTotal:  9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available_in("MemTotal:  9 kB\n"), None);
        assert!(available().unwrap() > 0);
    }

    #[test]
    fn limits_of_groups_and_of_those_around_them_are_looked_for() {
        let files = limit_files("0::/jobs/42\n");
        let wanted =
            ["/sys/fs/cgroup/jobs/42/memory.max", "/sys/fs/cgroup/jobs/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(files, wanted.map(PathBuf::from));
        let files = limit_files("4:cpu,cpuacct:/a\n2:hugetlb,memory:/a\n");
        let wanted = ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(files, wanted.map(PathBuf::from));
        assert!(limit_files("").is_empty());
    }
}
