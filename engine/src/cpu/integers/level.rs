//! Which instructions this machine has.

#[cfg(target_arch = "x86_64")]
use super::avx2;

/// The widest instructions that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What the compiler makes of loops.
    #[cfg(not(target_arch = "wasm32"))]
    Plain,
    /// 256 bits, on most PCs since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 128 bits, in every browser since 2023.
    #[cfg(target_arch = "wasm32")]
    Wasm,
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
        #[cfg(target_arch = "wasm32")]
        return Self::Wasm;
        #[cfg(not(target_arch = "wasm32"))]
        Self::Plain
    }

    /// Runs what is written in plain loops, which the compiler may turn into the level's instructions.
    #[inline(always)]
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run(work),
            _ => work(),
        }
    }
}
