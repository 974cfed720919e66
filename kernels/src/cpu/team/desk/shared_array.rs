//! Words that the workers of a page share, each of which has a WebAssembly memory of its own beside them.

use super::Desk;
use js_sys::{Atomics, Float32Array, Int32Array, SharedArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;

/// How often a worker looks at a word before it sleeps: about a millisecond. To be woken takes a worker longer than most
/// products, so nobody is to sleep within a token.
const LOOKS: usize = 400_000;

#[wasm_bindgen]
extern "C" {
    // As js-sys has it, but without what catches an exception, which costs more than the look.
    #[wasm_bindgen(js_namespace = Atomics, js_name = load)]
    fn look(words: &Int32Array, at: u32) -> i32;

    /// Leaves the core to its other thread for a moment. Not every browser has it.
    #[wasm_bindgen(js_namespace = Atomics)]
    fn pause();
}

fn can_pause() -> bool {
    let atomics = js_sys::Reflect::get(&js_sys::global(), &"Atomics".into());
    atomics.is_ok_and(|atomics| js_sys::Reflect::has(&atomics, &"pause".into()) == Ok(true))
}

#[derive(Debug, Clone)]
pub struct Words {
    ints: Int32Array,
    floats: Float32Array,
    bytes: Uint8Array,
    can_pause: bool,
}

impl Desk {
    /// The same desk in another worker.
    pub fn of_buffer(buffer: &JsValue) -> Self {
        let words = Words::on(buffer);
        Self { words }
    }

    /// The `SharedArrayBuffer` to be sent there.
    pub fn buffer(&self) -> JsValue {
        self.words.ints.buffer().into()
    }
}

impl Words {
    pub fn new(len: usize) -> Self {
        Self::on(&SharedArrayBuffer::new(4 * len as u32))
    }

    fn on(buffer: &JsValue) -> Self {
        Self {
            ints: Int32Array::new(buffer),
            floats: Float32Array::new(buffer),
            bytes: Uint8Array::new(buffer),
            can_pause: can_pause(),
        }
    }

    pub fn load(&self, at: usize) -> u32 {
        look(&self.ints, at as u32) as u32
    }

    pub fn store(&self, at: usize, value: u32) {
        Atomics::store(&self.ints, at as u32, value as i32).expect("a word of the desk");
    }

    pub fn add(&self, at: usize, n: u32) {
        Atomics::add(&self.ints, at as u32, n as i32).expect("a word of the desk");
    }

    pub fn write(&self, at: usize, values: &[f32]) {
        let (from, to) = (at as u32, (at + values.len()) as u32);
        self.floats.subarray(from, to).copy_from(values);
    }

    pub fn read(&self, at: usize, values: &mut [f32]) {
        let (from, to) = (at as u32, (at + values.len()) as u32);
        self.floats.subarray(from, to).copy_to(values);
    }

    pub fn write_bytes(&self, at: usize, bytes: &[u8]) {
        let from = 4 * at as u32;
        let to = from + bytes.len() as u32;
        self.bytes.subarray(from, to).copy_from(bytes);
    }

    pub fn read_bytes(&self, at: usize, bytes: &mut [u8]) {
        let from = 4 * at as u32;
        let to = from + bytes.len() as u32;
        self.bytes.subarray(from, to).copy_to(bytes);
    }

    pub fn wait_while(&self, at: usize, value: u32) {
        for _ in 0..LOOKS {
            if self.load(at) != value {
                return;
            }
            if self.can_pause {
                pause();
            }
        }
        while self.load(at) == value {
            // Returns when woken, or at once where the word has changed.
            Atomics::wait(&self.ints, at as u32, value as i32).expect("workers may wait");
        }
    }

    /// After a change of this word: for those who sleep.
    pub fn wake(&self, at: usize) {
        Atomics::notify(&self.ints, at as u32).expect("a word of the desk");
    }
}
