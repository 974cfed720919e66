//! One dispatch, described: files, constants, buffers, grid.

use super::plan::Buf;

/// A compute pipeline's recipe. All static sizes are constants of the pipeline (WGSL `override`s).
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Names in shaders/, in the order of concatenation; the last one holds `main`.
    pub files: Vec<&'static str>,
    /// The `override`s that it sets.
    pub constants: Vec<(&'static str, f64)>,
}

impl Kernel {
    /// Names the kernel among all others.
    pub fn key(&self) -> String {
        format!("{} {:?}", self.files.join("+"), self.constants)
    }
}

/// A buffer at a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// `@binding(index)` in group 0.
    pub index: u32,
    /// Which buffer.
    pub buf: Buf,
    /// `read_write` instead of `read`.
    pub writes: bool,
}

/// One dispatch. Binding 0 is `Step` everywhere and not listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What runs.
    pub kernel: Kernel,
    /// On what.
    pub bindings: Vec<Binding>,
    /// Workgroups for one block.
    pub groups: u32,
    /// How a step's tokens make blocks; `None` where there is one block whatever the step.
    pub blocks: Option<Blocks>,
}

/// How many times a call's workgroups are repeated along the grid's third dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Rows of work that a token makes: 1, or its experts.
    pub per_token: u32,
    /// Rows that a block holds.
    pub size: u32,
    /// Kinds of rows that share no block, such as experts: each may leave one incomplete.
    pub kinds: u32,
}

impl Blocks {
    /// `size` tokens to a block.
    pub fn of_tokens(size: u32) -> Self {
        Self {
            per_token: 1,
            size,
            kinds: 1,
        }
    }

    /// Blocks of `n` tokens, at most.
    pub fn count(self, n: u32) -> u32 {
        let rows = n * self.per_token;
        let incomplete = if self.kinds > 1 {
            self.kinds.min(rows)
        } else {
            0
        };
        rows.div_ceil(self.size) + incomplete
    }
}

impl Call {
    /// Workgroups for `n` tokens. A dimension holds at most 65,535, so the first folds into the second.
    pub fn grid(&self, n: u32) -> [u32; 3] {
        let x = self.groups.min(65_535);
        let blocks = self.blocks.map_or(1, |blocks| blocks.count(n));
        [x, self.groups.div_ceil(x), blocks]
    }
}

/// A recipe from borrowed files.
pub(super) fn kernel(files: &[&'static str], constants: Vec<(&'static str, f64)>) -> Kernel {
    Kernel {
        files: files.to_vec(),
        constants,
    }
}

/// A binding that is only read.
pub(super) fn read(index: u32, buf: Buf) -> Binding {
    Binding {
        index,
        buf,
        writes: false,
    }
}

/// A binding that is written.
pub(super) fn write(index: u32, buf: Buf) -> Binding {
    Binding {
        index,
        buf,
        writes: true,
    }
}

/// Bindings from 1 on: inputs, then outputs.
pub(super) fn bindings(reads: &[Buf], writes: &[Buf]) -> Vec<Binding> {
    let reads = reads.iter().map(|&buf| (buf, false));
    let writes = writes.iter().map(|&buf| (buf, true));
    reads
        .chain(writes)
        .zip(1..)
        .map(|((buf, writes), index)| Binding { index, buf, writes })
        .collect()
}
