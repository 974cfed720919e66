//! Thimble's engine: small language models on WebGPU and on the CPU, native and in the browser.
//!
//! The map, from a file to a token:
//!
//! - [`weights`] opens GGUF and safetensors by byte ranges ([`weights::source::Source`]); [`checkpoint`] and
//!   [`profile`] say what a model is;
//! - [`model`] holds one file per architecture family, each of which records its forward pass with a
//!   [`program::Builder`] into a [`program::Program`] of [`op::Op`]s;
//! - [`formats`] says how packed weights lie in memory;
//! - [`cpu`] interprets a program, [`gpu`] compiles it once and replays it; [`backend`] is either;
//! - [`text`] turns messages into tokens and tokens into text;
//! - [`session`] keeps what is in the cache and runs the decode loop; [`race`] finds the backend that does so faster;
//! - [`Engine`] is all of this behind one door;
//! - [`bench`] says how fast it is.

pub mod backend;
pub mod bench;
pub mod calibrate;
pub mod checkpoint;
mod engine;
pub mod error;
pub mod gpu;
mod load;
pub mod model;
pub mod platform;
pub mod profile;
pub mod race;
pub mod session;
pub mod text;
pub mod weights;

pub use kernels::{OutOfMemory, cpu, formats, op, program, sampler};

pub use cpu::{Arithmetic, CpuOptions, Crew};
pub use engine::{
    BackendChoice, Engine, Event, Finished, Generation, Info, LoadOptions, Progress, Prompt,
    Reason, Stage,
};
pub use error::{Error, Result};
pub use sampler::Sampling;
pub use text::chat::{Message, Role};
pub use weights::{precision::Precision, source::Source};
