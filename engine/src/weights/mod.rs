//! A checkpoint's tensors: what is in the file, what a model asked for, and the jobs that bring it in.

pub mod gguf;
pub mod loader;
pub mod metadata;
pub mod pack;
pub mod safetensors;
pub mod source;
pub mod torch;

mod reader;

use crate::{Error, Result, formats::WeightInfo, op::Weight};
use std::{cell::RefCell, collections::BTreeMap, ops::Range};

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
}

impl Dtype {
    /// `(weights, bytes)` of one block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Dtype::F32 => (1, 4),
            Dtype::F16 | Dtype::Bf16 => (1, 2),
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
    /// The stored tensor.
    pub tensor: Tensor,
    /// Its number format, known by now.
    pub dtype: Dtype,
    /// The packed weight.
    pub info: WeightInfo,
}

/// A checkpoint's tensors, of which a model takes each by name and shape; taking one records a [`Job`].
#[derive(Debug)]
pub struct Weights {
    file: String,
    tensors: BTreeMap<String, Tensor>,
    taken: RefCell<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    jobs: Vec<Job>,
    ids: BTreeMap<String, usize>,
}

impl Weights {
    /// All tensors of a checkpoint; `file` names it in messages.
    ///
    /// # Errors
    /// [`Error::BadHeader`] when two tensors have the same name.
    pub fn new(file: &str, tensors: Vec<Tensor>) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for tensor in tensors {
            if let Some(twice) = by_name.insert(tensor.name.clone(), tensor) {
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

    /// The jobs in the order of their weights' ids. `ignored` names tensors that may stay unused.
    ///
    /// # Errors
    /// [`Error::UnusedWeights`] when the model did not take every other tensor.
    pub fn finish(self, ignored: impl Fn(&str) -> bool) -> Result<Vec<Job>> {
        let Taken { jobs, ids } = self.taken.into_inner();
        let unused: Vec<_> = self
            .tensors
            .keys()
            .filter(|name| !ids.contains_key(*name) && !ignored(name))
            .collect();
        if unused.is_empty() {
            return Ok(jobs);
        }
        let examples = unused
            .iter()
            .take(4)
            .map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        Err(Error::UnusedWeights {
            count: unused.len(),
            examples,
        })
    }

    fn take(&self, name: String, shape: &[usize]) -> Result<Weight> {
        let Some(tensor) = self.tensors.get(&name) else {
            return Err(Error::MissingWeight {
                name,
                file: self.file.clone(),
            });
        };
        if tensor.shape != shape {
            return Err(Error::WeightShape {
                name,
                expected: shape.to_vec(),
                got: tensor.shape.clone(),
            });
        }
        let cols = shape[shape.len() - 1];
        let rows = shape[..shape.len() - 1].iter().product();
        let taken = &mut *self.taken.borrow_mut();
        if let Some(&id) = taken.ids.get(&name) {
            return Ok(Weight { id, rows, cols });
        }
        let dtype = match &tensor.dtype {
            Ok(dtype) if pack::divides(*dtype, cols) => *dtype,
            Ok(dtype) => {
                return Err(Error::UnsupportedFormat {
                    name,
                    format: format!("{dtype:?} in rows of {cols}"),
                });
            }
            Err(format) => {
                return Err(Error::UnsupportedFormat {
                    name,
                    format: format.clone(),
                });
            }
        };
        let info = WeightInfo {
            name: name.clone(),
            format: pack::format_of(dtype),
            rows,
            cols,
        };
        let id = taken.jobs.len();
        taken.jobs.push(Job {
            tensor: tensor.clone(),
            dtype,
            info,
        });
        taken.ids.insert(name, id);
        Ok(Weight { id, rows, cols })
    }
}

/// A part of the tree that tensor names make: `weights.root().at("layers.0").matrix("q.weight", …)`.
#[derive(Debug, Clone)]
pub struct Scope<'w> {
    weights: &'w Weights,
    prefix: String,
}

impl Scope<'_> {
    /// The scope below a name.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// Whether the file holds a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.tensors.contains_key(&self.name(name))
    }

    /// Takes a matrix `[rows, cols]`. Taking it twice (a tied head) gives the same weight.
    ///
    /// # Errors
    /// [`Error::MissingWeight`], [`Error::WeightShape`] or [`Error::UnsupportedFormat`].
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        self.weights.take(self.name(name), &[rows, cols])
    }

    /// Takes a vector `[cols]` as a weight `[1, cols]`.
    ///
    /// # Errors
    /// As [`Scope::matrix`].
    pub fn vector(&self, name: &str, cols: usize) -> Result<Weight> {
        self.weights.take(self.name(name), &[cols])
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
