// silu(gate) * up (Shazeer 2020). exp stays finite, since some drivers assume that it does.
fn gated(gate: f32, up: f32) -> f32 {
    return gate / (1.0 + exp(min(-gate, 87.0))) * up;
}
