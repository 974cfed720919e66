//! What a forward pass is made of, and the backend that runs it on a CPU:
//!
//! - [`op`] is the vocabulary, [`program`] what a model records with it;
//! - [`formats`] says how packed weights lie in memory;
//! - [`cpu`] interprets a program: the reference of every shader, and what runs where it is the faster one;
//! - [`sampler`] draws a token from its logits.
//!
//! A crate of its own, because the page's loops are compiled for speed and all that is around them for size.

pub mod cpu;
pub mod formats;
mod memory;
pub mod op;
pub mod program;
pub mod sampler;

pub use memory::OutOfMemory;
