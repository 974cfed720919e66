// One invocation to a row: nothing to add up, and no barrier, which software adapters are slow at.
override WG: u32;
override LANES: u32 = 1u;

fn reduce_sum(value: f32, local: u32) -> f32 {
    return value;
}
