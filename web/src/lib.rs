//! Thimble's page: a chat with a small language model that runs in the browser tab.
//!
//! Two programs share this library:
//! - the app ([`ui`], `bin/app.rs`) draws [`state::Chat`], a reducer without DOM, and sends requests
//!   through [`client`];
//! - the worker ([`worker`], `bin/worker.rs` and `bin/worker-relaxed.rs`) owns the engine, and gets models through [`storage`].
//!
//! [`protocol`] is all they know of each other.
#![recursion_limit = "256"]

pub mod format;
pub mod markdown;
pub mod protocol;
pub mod settings;
pub mod state;

#[cfg(feature = "app")]
pub mod client;
#[cfg(feature = "app")]
pub mod ui;

#[cfg(feature = "worker")]
pub mod storage;
#[cfg(feature = "worker")]
pub mod worker;
