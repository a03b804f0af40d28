//! How much room there is where a file lies.

use std::io;
use std::path::Path;

/// Of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What this user may still write.
    pub free: u64,
    pub total: u64,
    pub read_only: bool,
}

/// Below these it is time to make room.
const FREE_PART: u64 = 20;
const FREE_BYTES: u64 = 200 << 20;

impl Room {
    /// Less than 5 % or 200 MB is free.
    pub fn is_low(&self) -> bool {
        self.free < FREE_BYTES || self.free < self.total / FREE_PART
    }
}

/// Of the file system on which `path` lies.
///
/// # Errors
/// When the path is not there.
pub fn room(path: &Path) -> io::Result<Room> {
    let told = rustix::fs::statvfs(path)?;
    let read_only = told.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    Ok(Room {
        free: told.f_bavail.saturating_mul(told.f_frsize),
        total: told.f_blocks.saturating_mul(told.f_frsize),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn room_is_low_below_a_twentieth_or_200_megabytes() {
        let room = |free: u64, total: u64| Room { free: free << 20, total: total << 20, read_only: false };
        assert!(!room(201, 1000).is_low());
        assert!(room(199, 300).is_low());
        assert!(room(999, 20_000).is_low());
        assert!(!room(1001, 20_000).is_low());
    }
}
