// Turns by learned angles. WGSL promises its own sin and cos only to 2^-11.
@group(0) @binding(4) var<storage, read> phases: array<f32>; // [n, PAIRS]

fn shifted(turn: vec2<f32>, i: u32) -> vec2<f32> {
    let shift = cos_sin(phases[i]);
    return vec2(turn.x * shift.x - turn.y * shift.y, turn.y * shift.x + turn.x * shift.y);
}

// Taylor series around the nearest quarter turn, good to 1e-7.
fn cos_sin(angle: f32) -> vec2<f32> {
    let quarters = round(angle * 0.63661977);
    // pi / 2 in two parts: the product with the first loses nothing for up to a few hundred turns.
    let x = (angle - quarters * 1.5703125) - quarters * 4.8382679e-4;
    let z = x * x;
    let c = 1.0 - z * (0.5 - z * (0.041666668 - z * (0.0013888889 - z * 2.4801588e-5)));
    let s = x * (1.0 - z * (0.16666667 - z * (0.0083333338 - z * (1.984127e-4 - z * 2.7557319e-6))));
    switch i32(quarters) & 3 {
        case 0: {
            return vec2(c, s);
        }
        case 1: {
            return vec2(-s, c);
        }
        case 2: {
            return vec2(-c, -s);
        }
        default: {
            return vec2(s, -c);
        }
    }
}
