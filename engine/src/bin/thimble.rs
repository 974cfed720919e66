//! `thimble`.
fn main() {}
