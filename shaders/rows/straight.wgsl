// Rows of x in their own order; past the last token, the last one's again.
fn source(token: u32) -> u32 {
    return min(token, run.n - 1u);
}
