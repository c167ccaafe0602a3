//! Ends the process when the disk takes no more of what the engine writes, since the engine may go on as if it had.
//!
//! Seen in 26.7 with strace: on a full disk every `write` of a part's files fails with ENOSPC, no error is raised, and the empty part
//! is renamed into place, after a merge as after an insert that is then acknowledged. So the engine's `write`, `fsync` and
//! `fdatasync` are these: a program's own symbols come before those of the C library for a library that is loaded later. An
//! end at once is what the engine survives: nothing was acknowledged of what failed, and its next start puts aside what isn't whole.
//!
//! Nothing is replaced where the linker binds symbols to libraries by name (macOS): there a full disk is the engine's own affair.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);

/// From now on.
pub(crate) fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
pub(crate) use linux::leave;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{c_int, c_void};
    use std::os::fd::BorrowedFd;
    use std::sync::atomic::Ordering;

    use rustix::io::Errno;

    use super::ARMED;

    /// Standard streams: a log that can't be written ends nothing.
    const FIRST_FILE: c_int = 3;

    unsafe extern "C" {
        fn __errno_location() -> *mut c_int;
    }

    /// # Safety
    /// That of `write(2)`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize {
        // SAFETY: the kernel alone reads the bytes, and refuses what is no memory of this process.
        let written = with(fd, |fd| rustix::io::write(fd, unsafe { bytes_of(bytes, len) }));
        written.map_or(-1, |n| n as isize)
    }

    /// # Safety
    /// That of `fsync(2)`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn fsync(fd: c_int) -> c_int {
        with(fd, |fd| rustix::fs::fsync(fd)).map_or(-1, |()| 0)
    }

    /// # Safety
    /// That of `fdatasync(2)`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
        with(fd, |fd| rustix::fs::fdatasync(fd)).map_or(-1, |()| 0)
    }

    unsafe fn bytes_of<'a>(bytes: *const c_void, len: usize) -> &'a [u8] {
        if bytes.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(bytes.cast(), len) } }
    }

    /// As the C library does it: an error is left in `errno`.
    fn with<T>(fd: c_int, call: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>) -> Option<T> {
        let outcome = match fd {
            // SAFETY: only for the call; a number that is no file's is refused by the kernel.
            0.. => call(unsafe { BorrowedFd::borrow_raw(fd) }),
            _ => Err(Errno::BADF),
        };
        outcome
            .inspect_err(|error| {
                let full = matches!(*error, Errno::NOSPC | Errno::DQUOT | Errno::IO);
                if full && fd >= FIRST_FILE && ARMED.load(Ordering::Relaxed) {
                    end(fd, *error);
                }
                leave(*error);
            })
            .ok()
    }

    /// Where the C library's callers look for it.
    pub(crate) fn leave(error: Errno) {
        // SAFETY: a place of this thread.
        unsafe { *__errno_location() = error.raw_os_error() };
    }

    fn end(fd: c_int, error: Errno) -> ! {
        let file = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        tracing::error!(%error, file = %file.display(), "the disk takes no more: ending at once, so that nothing is taken for written");
        crate::exit(1)
    }
}
