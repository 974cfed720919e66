//! The memory that a team shares: words that one side writes before it says so, and the other reads after it heard.

#[cfg_attr(target_arch = "wasm32", path = "desk/shared_array.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "desk/atomics.rs")]
mod words;

use std::ops::Range;
use words::Words;

/// Counts the tasks; a change is the sign to begin.
const TASKS: usize = 0;
/// Members that are done with the latest one.
const DONE: usize = 1;
/// What the latest task is.
const KIND: usize = 2;
/// Members that could not do it.
const FAILURES: usize = 3;
/// What else is to be known of it.
const ARGUMENTS: Range<usize> = 4..16;
/// What is to be multiplied.
pub const JOBS: Range<usize> = 16..4096;
/// What goes to the members: 4 MiB.
pub const X: Range<usize> = JOBS.end..JOBS.end + (1 << 20);
/// What comes from them, all together: 4 MiB.
const Y: Range<usize> = X.end..X.end + (1 << 20);

/// Where a member other than the first puts what it has made.
pub fn of_member(member: usize, n_members: usize) -> Range<usize> {
    let len = part_len(n_members);
    let start = Y.start + (member - 1) * len;
    start..start + len
}

/// Numbers that each of these places holds.
pub fn part_len(n_members: usize) -> usize {
    Y.len() / (n_members - 1).max(1)
}

/// Where a team meets; clones are the same desk.
#[derive(Debug, Clone)]
pub struct Desk {
    words: Words,
}

impl Default for Desk {
    /// An empty one.
    fn default() -> Self {
        Self {
            words: Words::new(Y.end),
        }
    }
}

impl Desk {
    /// Sets the others to work on what was laid out.
    pub fn begin(&self, kind: u32) {
        self.words.store(KIND, kind);
        self.words.store(DONE, 0);
        self.words
            .store(TASKS, self.words.load(TASKS).wrapping_add(1));
        self.words.wake(TASKS);
    }

    /// Waits until as many are done; says how many could not do it.
    pub fn finish(&self, others: u32) -> u32 {
        loop {
            let done = self.words.load(DONE);
            if done == others {
                let failures = self.words.load(FAILURES);
                self.words.store(FAILURES, 0);
                return failures;
            }
            self.words.wait_while(DONE, done);
        }
    }

    /// Waits for the task after the `last` one; gives its number and kind.
    pub fn next(&self, last: u32) -> (u32, u32) {
        self.words.wait_while(TASKS, last);
        (self.words.load(TASKS), self.words.load(KIND))
    }

    /// Says that a member is done.
    pub fn done(&self, is_well: bool) {
        if !is_well {
            self.words.add(FAILURES, 1);
        }
        self.words.add(DONE, 1);
        self.words.wake(DONE);
    }

    /// Says what is to be known of the task.
    pub fn set_arguments(&self, values: &[usize]) {
        for (at, value) in ARGUMENTS.zip(values) {
            self.words.store(at, *value as u32);
        }
    }

    /// What was said.
    pub fn arguments<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|i| self.words.load(ARGUMENTS.start + i) as usize)
    }

    /// Copies numbers in.
    pub fn write(&self, area: Range<usize>, values: &[f32]) {
        assert!(values.len() <= area.len(), "{} numbers", values.len());
        self.words.write(area.start, values);
    }

    /// Copies numbers out.
    pub fn read(&self, area: Range<usize>, values: &mut [f32]) {
        assert!(values.len() <= area.len(), "{} numbers", values.len());
        self.words.read(area.start, values);
    }

    /// Copies bytes in, whose number is a multiple of four.
    pub fn write_bytes(&self, area: Range<usize>, bytes: &[u8]) {
        assert!(bytes.len() <= 4 * area.len(), "{} bytes", bytes.len());
        self.words.write_bytes(area.start, bytes);
    }

    /// Copies bytes out.
    pub fn read_bytes(&self, area: Range<usize>, bytes: &mut [u8]) {
        assert!(bytes.len() <= 4 * area.len(), "{} bytes", bytes.len());
        self.words.read_bytes(area.start, bytes);
    }
}
