//! `cache[pos .. pos + n] = x`.

use super::Cache;

/// `x[n, width]` at positions `pos ..`.
pub fn run(x: &[f32], width: usize, pos: u32, cache: &mut Cache) {
    let first = pos as usize;
    match cache {
        Cache::Floats(cache) => cache[first * width..][..x.len()].copy_from_slice(x),
        Cache::Words(cache) => {
            for (pos, x) in (first..).zip(x.chunks_exact(width)) {
                cache.store(pos, x);
            }
        }
    }
}
