// Rows of x in their own order.
fn source(i: u32) -> u32 {
    return i;
}
