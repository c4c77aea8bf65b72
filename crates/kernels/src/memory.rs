//! What the program's allocator does with memory that is given back.

use std::ffi::c_long;
use std::time::Duration;

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// mimalloc's `mi_option_purge_delay`, which its bindings do not name.
const PURGE_DELAY: mi_option_t = 15;

/// Memory that is given back stays with the process for so long before the system gets it, where mimalloc is the
/// allocator. It has a second by default, and a training step that takes longer asks for the same pages again: cleared by
/// the kernel, which was a third of its time.
pub fn keep_memory(duration: Duration) {
    let milliseconds = c_long::try_from(duration.as_millis()).unwrap_or(c_long::MAX);
    #[expect(unsafe_code, reason = "a call into C without pointers, which writes one number atomically")]
    unsafe {
        mi_option_set(PURGE_DELAY, milliseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay_of_purges() {
        #[expect(unsafe_code, reason = "a call into C without pointers, which reads one number")]
        let now = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(now(), 1000);
        keep_memory(Duration::from_secs(60));
        assert_eq!(now(), 60_000);
    }
}
