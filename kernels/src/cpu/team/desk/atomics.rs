//! Words that the threads of a process share.

use crate::cpu::team::{Crew, Desk, serve};
use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// How often a thread looks at a word before it sleeps: tens of microseconds, about as long as what lies between two
/// products.
const LOOKS: usize = 4_000;

impl Crew {
    /// Threads of this process, `n_members` with the one that asks; none where that is all.
    pub fn of_threads(n_members: usize) -> Option<Self> {
        let desk = Desk::default();
        for member in 1..n_members {
            let desk = desk.clone();
            thread::spawn(move || serve(&desk, member, n_members));
        }
        (n_members > 1).then(|| Self::at(desk, n_members))
    }
}

#[derive(Debug, Clone)]
pub struct Words {
    words: Arc<[AtomicU32]>,
    sleep: Arc<(Mutex<()>, Condvar)>,
}

impl Words {
    pub fn new(len: usize) -> Self {
        Self {
            words: (0..len).map(|_| AtomicU32::new(0)).collect(),
            sleep: Arc::default(),
        }
    }

    pub fn load(&self, at: usize) -> u32 {
        self.words[at].load(Ordering::Acquire)
    }

    pub fn store(&self, at: usize, value: u32) {
        self.words[at].store(value, Ordering::Release);
    }

    pub fn add(&self, at: usize, n: u32) {
        self.words[at].fetch_add(n, Ordering::AcqRel);
    }

    pub fn write(&self, at: usize, values: &[f32]) {
        for (word, value) in self.words[at..].iter().zip(values) {
            word.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    pub fn read(&self, at: usize, values: &mut [f32]) {
        for (word, value) in self.words[at..].iter().zip(values) {
            *value = f32::from_bits(word.load(Ordering::Relaxed));
        }
    }

    pub fn write_bytes(&self, at: usize, bytes: &[u8]) {
        for (word, bytes) in self.words[at..].iter().zip(bytes.as_chunks().0) {
            word.store(u32::from_le_bytes(*bytes), Ordering::Relaxed);
        }
    }

    pub fn read_bytes(&self, at: usize, bytes: &mut [u8]) {
        for (word, bytes) in self.words[at..].iter().zip(bytes.as_chunks_mut().0) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
    }

    pub fn wait_while(&self, at: usize, value: u32) {
        for _ in 0..LOOKS {
            if self.load(at) != value {
                return;
            }
            std::hint::spin_loop();
        }
        // Where there are more threads than cores, the other one may need this one's.
        for _ in 0..8 {
            if self.load(at) != value {
                return;
            }
            thread::yield_now();
        }
        let (lock, woken) = &*self.sleep;
        let mut guard = lock.lock().expect("no thread panics with this lock");
        while self.load(at) == value {
            guard = woken.wait(guard).expect("no thread panics with this lock");
        }
    }

    /// After a change: for those who sleep.
    pub fn wake(&self, _at: usize) {
        let (lock, woken) = &*self.sleep;
        drop(lock.lock().expect("no thread panics with this lock"));
        woken.notify_all();
    }
}
