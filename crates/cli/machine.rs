//! What this machine has to share out among stages.

/// The machine's memory in bytes, or that of the control group that this process is in.
pub(crate) fn memory() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(u64::MAX);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    group.map_or(machine, |limit: u64| limit.min(machine))
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// How many CUDA devices stages may use: those that `CUDA_VISIBLE_DEVICES` names, else those that the driver shows.
pub(crate) fn gpus() -> usize {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(named) => named.split(',').map(str::trim).take_while(|name| !name.is_empty() && *name != "-1").count(),
        Err(_) => std::fs::read_dir("/dev").into_iter().flatten().flatten().filter(|entry| is_gpu(&entry.file_name().to_string_lossy())).count(),
    }
}

/// `nvidia0`, but not `nvidiactl`.
fn is_gpu(name: &str) -> bool {
    name.strip_prefix("nvidia").is_some_and(|index| !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_words_are_understood() {
        assert_eq!(total("MemTotal:       24576000 kB\nMemFree: 1 kB\n"), Some(24_576_000 * 1024));
        assert_eq!(["nvidia0", "nvidia12", "nvidiactl", "nvidia", "null"].map(is_gpu), [true, true, false, false, false]);
    }
}
