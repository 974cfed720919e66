//! Memory that may be refused.

/// An allocation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not enough memory for {what}: {needed_bytes} bytes are needed and the limit is {limit_bytes}; choose a smaller model or a shorter context"
)]
pub struct OutOfMemory {
    /// What was to be allocated.
    pub what: String,
    /// Its size.
    pub needed_bytes: u64,
    /// The device's or browser's limit.
    pub limit_bytes: u64,
}

impl OutOfMemory {
    /// Of this program's own address space.
    pub(crate) fn of_process(n_bytes: usize, what: &str) -> Self {
        OutOfMemory {
            what: what.into(),
            needed_bytes: n_bytes as u64,
            limit_bytes: if cfg!(target_pointer_width = "32") {
                4 << 30
            } else {
                u64::MAX
            },
        }
    }
}

/// `[len]` zeros, or an error where the allocator says no.
pub(crate) fn zeroed<T: bytemuck::Zeroable + Clone>(
    len: usize,
    what: &str,
) -> Result<Vec<T>, OutOfMemory> {
    let mut v = Vec::new();
    v.try_reserve_exact(len)
        .map_err(|_| OutOfMemory::of_process(len * size_of::<T>(), what))?;
    v.resize(len, T::zeroed());
    Ok(v)
}
