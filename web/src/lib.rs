//! Thimble web.
