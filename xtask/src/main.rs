//! Thimble tasks.
fn main() {}
