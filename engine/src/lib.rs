//! Thimble engine.
