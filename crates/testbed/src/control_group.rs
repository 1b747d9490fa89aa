//! Counting the processor time of a host.
//!
//! Summing `/proc/*/stat` misses whoever was waited for outside of the host, and rounds each process to hundredths of a
//! second. A control group (version 2) counts every nanosecond of every process that was ever in it; its `cpu.stat`
//! is there whether or not a controller is enabled.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Processor time that was used, in total, by all processes of a host since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime {
    /// In the programs themselves.
    pub user: Duration,
    /// In the kernel on their behalf.
    pub system: Duration,
}

impl CpuTime {
    /// User and system time together.
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

/// A new control group below that of this process. Its folder is removed by whoever ends the last process in it.
#[derive(Debug)]
pub(crate) struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    pub(crate) fn create() -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let parent = fs::read_to_string("/proc/self/cgroup")?
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .and_then(|own| Some(mount_point(&mounts)?.join(own)))
            .ok_or_else(|| {
                io::Error::other("no control group file system of version 2 is mounted")
            })?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("testbed-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn cpu_time(&self) -> io::Result<CpuTime> {
        parse(&fs::read_to_string(self.folder.join("cpu.stat"))?)
            .ok_or_else(|| io::Error::other("cpu.stat has no user_usec and system_usec"))
    }
}

/// `36 25 0:32 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw`: the fifth field.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// `usage_usec 12\nuser_usec 7\nsystem_usec 5\n`
fn parse(stat: &str) -> Option<CpuTime> {
    let field = |name: &str| {
        let value = stat
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok().map(Duration::from_micros)
    };
    Some(CpuTime {
        user: field("user_usec")?,
        system: field("system_usec")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_stat_is_microseconds() {
        let time = parse("usage_usec 12\nuser_usec 7\nsystem_usec 5\nnice_usec 0\n").unwrap();
        assert_eq!(time.total(), Duration::from_micros(12));
        assert_eq!(parse("usage_usec 12\n"), None);
    }

    #[test]
    fn the_mount_point_is_the_fifth_field() {
        let mounts = "31 1 0:2 / /sys rw - sysfs sysfs rw\n36 25 0:32 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup")));
    }
}
