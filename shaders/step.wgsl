// What changes between two runs. Mirrors `Step` in kernels/src/op.rs.
struct Step {
    // Position in the context of the first of the n tokens.
    pos: u32,
    // Number of tokens.
    n: u32,
}

@group(0) @binding(0) var<uniform> run: Step;

// Index of a workgroup in a grid that was folded because a dimension holds at most 65,535 groups.
// The grid's third dimension counts tokens, or blocks of tokens, and is not part of it.
fn flat_group(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + id.y * count.x;
}
