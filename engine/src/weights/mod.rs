//! A checkpoint's tensors: what is in the file, what a model asked for, and the jobs that bring it in.

pub mod gguf;
pub mod loader;
pub mod metadata;
pub mod pack;
pub mod packed;
pub mod precision;
pub mod safetensors;
pub mod slab;
pub mod source;
pub mod torch;

mod misfit;
mod reader;

use crate::{
    Error, Result,
    formats::{Format, GROUP, WeightInfo},
    op::Weight,
};
use slab::{Codes, Slab};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// How a file stores a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// bfloat16.
    Bf16,
    /// GGML blocks of 32: f16 `d`, 32 signed bytes; `w = d·q`.
    Q8_0,
    /// GGML blocks of 32: f16 `d`, 16 bytes of nibbles; `w = d·(q − 8)`.
    Q4_0,
    /// GGML blocks of 32: f16 `d`, f16 `m`, 16 bytes of nibbles; `w = d·q + m`.
    Q4_1,
    /// Bytes, in which a family's own format packs its codes.
    U8,
    /// Planes of one of our own formats, by `thimble pack`.
    Planes(packed::Planes),
}

impl Dtype {
    /// Whether it holds whole floats, which may be packed while they are loaded.
    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }

    /// `(weights, bytes)` of one block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Dtype::F32 => (1, 4),
            Dtype::F16 | Dtype::Bf16 => (1, 2),
            Dtype::U8 => (1, 1),
            Dtype::Planes(planes) => (GROUP, planes.format.row_quants_bytes(GROUP)),
            Dtype::Q8_0 => (32, 34),
            Dtype::Q4_0 => (32, 18),
            Dtype::Q4_1 => (32, 20),
        }
    }
}

/// Where one tensor lies, and what it is. The header that it came from was checked: the range lies in
/// the file and its length is what dtype and shape ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Name, as the file spells it.
    pub name: String,
    /// Number format. `Err` carries the container's own name of a format that Thimble does not know, so
    /// that `inspect` can show it and only a model that needs the tensor fails.
    pub dtype: Result<Dtype, String>,
    /// Row-major shape, slowest first: a matrix is `[rows, cols]` = `[out, in]`.
    pub shape: Vec<usize>,
    /// Index of the file in the checkpoint's list of sources.
    pub file: usize,
    /// Bytes in that file.
    pub range: Range<u64>,
}

/// One weight to bring in: where its bytes lie and what they become.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What it is made of, in the order of its rows.
    pub parts: Vec<Part>,
    /// The packed weight.
    pub info: WeightInfo,
}

/// Consecutive rows of a weight, as they lie in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Index of the file in the checkpoint's list of sources.
    pub file: usize,
    /// Bytes in that file.
    pub range: Range<u64>,
    /// How many rows of the weight they are.
    pub rows: usize,
    /// How they are stored.
    pub stored: Stored,
}

/// How a part lies in its file.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// `[rows, cols]`, row by row.
    Rows(Dtype),
    /// `[cols, rows]`: the transpose, as JAX and Flax store what multiplies from the right.
    Columns(Dtype),
    /// `[rows, cols]` codes of a few bits, and a scale per row elsewhere in the same file.
    Scaled {
        /// `[rows]` f16.
        scales: Range<u64>,
        /// What a code means.
        codes: Codes,
    },
    /// `[rows, cols]` in one of our own formats, and the rows' scales elsewhere in the same file.
    Planes {
        /// Which.
        format: Format,
        /// `[rows, row_scales_bytes]`
        scales: Range<u64>,
    },
}

impl Part {
    /// Bytes to read.
    pub fn n_bytes(&self) -> u64 {
        let scales = match &self.stored {
            Stored::Scaled { scales, .. } | Stored::Planes { scales, .. } => {
                scales.end - scales.start
            }
            _ => 0,
        };
        self.range.end - self.range.start + scales
    }
}

/// A checkpoint's tensors, of which a model takes each by name and shape; taking one records a [`Job`].
#[derive(Debug)]
pub struct Weights {
    file: String,
    /// By the name that the model asks for.
    tensors: BTreeMap<String, Tensor>,
    taken: RefCell<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    jobs: Vec<Job>,
    names: BTreeSet<String>,
}

impl Weights {
    /// All tensors of a checkpoint, each with the name that the model asks for (GGUF files spell names in
    /// their own way); `file` names it in messages.
    ///
    /// # Errors
    /// [`Error::BadHeader`] when two tensors have the same name.
    pub fn new(file: &str, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for (name, tensor) in tensors {
            if let Some(twice) = by_name.insert(name, tensor) {
                let problem = format!("it holds two weights named '{}'", twice.name);
                return Err(Error::BadHeader {
                    file: file.into(),
                    problem,
                });
            }
        }
        Ok(Self {
            file: file.into(),
            tensors: by_name,
            taken: RefCell::default(),
        })
    }

    /// The scope of whole names.
    pub fn root(&self) -> Scope<'_> {
        Scope {
            weights: self,
            prefix: String::new(),
        }
    }

    /// What `build` makes of the weights, and the jobs that bring in those that it takes, in the order of their ids.
    /// `ignored` names tensors that may stay unused.
    ///
    /// # Errors
    /// What `build` fails with; [`Error::Misfit`] when it lacks weights or does not take every other one.
    pub fn record<T>(
        &self,
        ignored: impl Fn(&str) -> bool,
        build: impl Fn(&Scope<'_>) -> Result<T>,
    ) -> Result<(T, Vec<Job>)> {
        let once = |weights: Weights| {
            let made = build(&weights.root())?;
            Ok((made, weights.finish(&ignored)?))
        };
        once(self.untaken()).map_err(|error| misfit::explain(self, error, |w| once(w).err()))
    }

    /// The same weights, of which nothing is taken.
    fn untaken(&self) -> Self {
        Self {
            file: self.file.clone(),
            tensors: self.tensors.clone(),
            taken: RefCell::default(),
        }
    }

    fn finish(self, ignored: impl Fn(&str) -> bool) -> Result<Vec<Job>> {
        let Taken { jobs, names } = self.taken.into_inner();
        let unused: Vec<String> = self
            .tensors
            .into_keys()
            .filter(|name| !names.contains(name) && !ignored(name))
            .collect();
        if unused.is_empty() {
            Ok(jobs)
        } else {
            Err(Error::UnusedWeights { names: unused })
        }
    }

    fn get(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        let tensor = self.tensors.get(name).ok_or_else(|| Error::MissingWeight {
            name: name.into(),
            shape: shape.into(),
            file: self.file.clone(),
        })?;
        self.taken.borrow_mut().names.insert(name.into());
        Ok(tensor)
    }

    /// Records the job, or finds the one that brings the same bytes.
    fn enlist(&self, job: Job) -> Weight {
        let WeightInfo { rows, cols, .. } = job.info;
        let jobs = &mut self.taken.borrow_mut().jobs;
        let id = jobs
            .iter()
            .position(|known| known.parts == job.parts)
            .unwrap_or_else(|| {
                jobs.push(job);
                jobs.len() - 1
            });
        Weight { id, rows, cols }
    }
}

/// A part of the tree that tensor names make: `weights.root().at("layers.0").matrix("q.weight", …)`.
#[derive(Debug, Clone)]
pub struct Scope<'w> {
    weights: &'w Weights,
    prefix: String,
}

impl<'w> Scope<'w> {
    /// The scope below a name.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// Whether the file holds a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// The shape of a tensor, slowest dimension first, if the file holds it.
    pub fn shape(&self, name: &str) -> Option<&'w [usize]> {
        let tensor = self.weights.tensors.get(&self.name(name))?;
        Some(&tensor.shape)
    }

    /// The shape of a tensor of `N` dimensions. Where the file holds no such tensor it is `otherwise`, what config.json
    /// says or zeros, and whoever then takes it fails with its name.
    ///
    /// # Errors
    /// [`Error::WeightShape`] when it has another number of dimensions, or an empty one.
    pub fn sizes<const N: usize>(&self, name: &str, otherwise: [usize; N]) -> Result<[usize; N]> {
        let Some(shape) = self.shape(name) else {
            return Ok(otherwise);
        };
        match <[usize; N]>::try_from(shape) {
            Ok(sizes) if !sizes.contains(&0) => Ok(sizes),
            _ => Err(Error::WeightShape {
                name: self.name(name),
                expected: otherwise.to_vec(),
                got: shape.to_vec(),
            }),
        }
    }

    /// The names below this scope, without its prefix, in order.
    pub fn names(&self) -> impl Iterator<Item = &'w str> {
        let prefix = self.prefix.clone();
        self.weights
            .tensors
            .keys()
            .filter_map(move |name| name.strip_prefix(&prefix))
    }

    /// Takes a matrix `[rows, cols]`. Taking it twice (a tied head) gives the same weight.
    ///
    /// # Errors
    /// [`Error::MissingWeight`], [`Error::WeightShape`] or [`Error::UnsupportedFormat`].
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        self.join([self.tensor(name, &[rows, cols])?])
    }

    /// Takes a vector `[cols]` as a weight `[1, cols]`.
    ///
    /// # Errors
    /// As [`Scope::matrix`].
    pub fn vector(&self, name: &str, cols: usize) -> Result<Weight> {
        self.join([self.tensor(name, &[cols])?])
    }

    /// A tensor of this shape, to be cut, transposed and joined.
    ///
    /// # Errors
    /// [`Error::MissingWeight`] or [`Error::WeightShape`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Slab<'w>> {
        let tensor = self.weights.get(&self.name(name), shape)?;
        if tensor.shape != shape {
            return Err(Error::WeightShape {
                name: tensor.name.clone(),
                expected: shape.to_vec(),
                got: tensor.shape.clone(),
            });
        }
        Ok(Slab::new(tensor))
    }

    /// One weight `[Σ rows, cols]` of slabs below one another.
    ///
    /// # Errors
    /// [`Error::UnsupportedFormat`] when a slab's numbers cannot be read, or not together.
    pub fn join(&self, slabs: impl IntoIterator<Item = Slab<'w>>) -> Result<Weight> {
        slab::join(slabs.into_iter().collect()).map(|job| self.weights.enlist(job))
    }

    /// What `build` makes of all weights, if it takes every one of them. None of them counts as taken for it.
    ///
    /// # Errors
    /// As [`Weights::record`].
    pub fn rehearse<T>(&self, build: impl Fn(&Scope<'_>) -> Result<T>) -> Result<T> {
        let (made, _) = self.weights.record(|_| false, build)?;
        Ok(made)
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
