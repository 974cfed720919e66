//! Counts the bytes that a thread of this test binary holds.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes held now, and the most at any time. What another thread frees makes the first wrong, so neither
    /// is looked at but within [`peak_bytes`].
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe to write")]
// SAFETY: the system's allocator does the work. `realloc` is the trait's own, so the old and the new block
// count together.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

fn add(n_bytes: isize) {
    HELD.with(|held| {
        let (now, peak) = held.get();
        held.set((now + n_bytes, peak.max(now + n_bytes)));
    });
}

/// What `run` gives, and the most bytes that it held at once.
pub fn peak_bytes<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    let result = run();
    let (_, peak) = HELD.with(Cell::get);
    (result, (peak - before) as usize)
}
