//! Reads a buffer once, as fast as memory gives it: the twin of stream.wgsl.

use crate::{OutOfMemory, memory::zeroed};

/// Sums, in as many independent lanes as hide an addition behind the reading.
const LANES: usize = 32;

/// `n_words` that are `word(0)`, `word(1)`, …
///
/// # Errors
/// [`OutOfMemory`]
pub fn buffer(n_words: usize, word: impl Fn(usize) -> u32) -> Result<Vec<u32>, OutOfMemory> {
    let mut words = zeroed(n_words, "a buffer to read")?;
    (0..n_words).zip(&mut words).for_each(|(i, w)| *w = word(i));
    Ok(words)
}

/// `Σ words`, wrapping, so that no compiler leaves the reading out.
pub fn sum(words: &[u32]) -> u32 {
    let mut sums = [0u32; LANES];
    let (chunks, rest) = words.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    let all = sums.iter().chain(rest);
    all.fold(0, |sum, word| sum.wrapping_add(*word))
}
