//! The GPU: a program is compiled once and then only replayed.
//!
//! - [`device`]: the adapter, its limits, and what becomes of it;
//! - [`options`]: what a caller may choose;
//! - [`node`], [`fuse`]: neighbouring ops that one kernel does better;
//! - [`plan`], `kernels` (and `attention`, `rotary`, `norm`, `mixing`, `experts`, `draw`) and [`call`]: buffers and calls,
//!   worked out without a device, so that every shader that can be asked for is tested without one;
//! - [`shaders`]: the files that kernels are made of;
//! - `schedule`: the plan with real buffers, pipelines and bind groups;
//! - [`backend`]: steps, draws in flight, and reading them back; `pace`: how many steps go together;
//! - [`stream`]: how fast memory can be read.

mod attention;
pub mod backend;
pub mod call;
pub mod device;
mod draw;
mod experts;
pub mod fuse;
mod kernels;
mod mixing;
pub mod node;
mod norm;
pub mod options;
mod pace;
pub mod plan;
mod rotary;
mod schedule;
pub mod shaders;
mod signal;
pub mod stream;

pub use backend::{GpuBackend, MAX_IN_FLIGHT};
pub use device::Gpu;
pub use options::GpuOptions;
pub use pace::MOST_STEPS;
