//! Which instructions this machine has.

use super::Simd;
#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(not(target_arch = "wasm32"))]
use super::plain;
#[cfg(target_arch = "wasm32")]
use super::wasm;

/// The widest instructions that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What the compiler makes of loops.
    #[cfg(not(target_arch = "wasm32"))]
    #[cfg_attr(
        target_arch = "aarch64",
        allow(dead_code, reason = "tests compare with it")
    )]
    Plain,
    /// 256 bits, on most PCs since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 128 bits, on all 64-bit ARM machines.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// And products of sixteen bytes, on most of them since 2018.
    #[cfg(target_arch = "aarch64")]
    Sdot,
    /// 128 bits, in every browser since 2023.
    #[cfg(target_arch = "wasm32")]
    #[cfg_attr(
        feature = "relaxed-simd",
        allow(dead_code, reason = "tests compare with it")
    )]
    Wasm,
    /// And products of sixteen bytes, where index.html found a machine that is fast at them.
    #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
    Relaxed,
}

impl Level {
    /// Asks the machine.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Self::Avx2;
        }
        #[cfg(target_arch = "aarch64")]
        return if std::arch::is_aarch64_feature_detected!("dotprod") {
            Self::Sdot
        } else {
            Self::Neon
        };
        #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
        return Self::Relaxed;
        #[cfg(all(target_arch = "wasm32", not(feature = "relaxed-simd")))]
        return Self::Wasm;
        #[cfg(not(any(target_arch = "aarch64", target_arch = "wasm32")))]
        Self::Plain
    }

    /// Has it done with the level's instructions, plain loops too.
    #[inline(always)]
    pub fn run(self, work: impl Work) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run(work),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => work.run::<neon::Neon<false>>(),
            #[cfg(target_arch = "aarch64")]
            Level::Sdot => neon::run(work),
            #[cfg(not(target_arch = "wasm32"))]
            Level::Plain => work.run::<plain::Plain>(),
            #[cfg(target_arch = "wasm32")]
            Level::Wasm => work.run::<wasm::Words>(),
            #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
            Level::Relaxed => wasm::relaxed::run(work),
        }
    }
}

/// What [`Level::run`] runs. Not a closure: whether one is inlined where the instructions are is the compiler's choice,
/// and here `run` and all that it calls are to be marked `#[inline(always)]`.
pub trait Work {
    /// Does it.
    fn run<S: Simd>(self);
}
