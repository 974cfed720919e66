//! One table of cases per op: sizes 1, prime, a multiple of a group, larger than a workgroup.

use super::{FORMATS, Model, Net, VOCAB};
use engine::formats::Format;
use engine::op::{Act, Gate, Heads, Pairing, Rotary};

/// A program around one op.
pub struct Case {
    pub name: String,
    /// Largest normalised mean squared error.
    pub bound: f64,
    pub model: Model,
    /// The op's output, `[n, width]`.
    pub y: Act,
    /// Token counts of the steps, one after the other.
    pub steps: Vec<usize>,
}

const BOUND: f64 = 1e-11;

fn case(name: String, build: impl FnOnce(&mut Net) -> Act) -> Case {
    let mut net = Net::new();
    let y = build(&mut net);
    Case {
        name,
        bound: BOUND,
        model: net.finish_at(y),
        y,
        steps: vec![1, 2, 17],
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = linear();
    cases.extend(embed());
    cases.extend(rms_norm());
    cases.extend(rope());
    cases.extend(elementwise());
    cases.extend(attention());
    cases
}

fn grouped(format: Format) -> bool {
    matches!(format, Format::Q8 | Format::Q4)
}

pub fn linear() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        let whole = [(1, 32), (7, 64), (300, 96), (130, 1056)];
        let ragged = [(1, 1), (7, 13), (67, 129), (300, 520)];
        for (rows, cols) in if grouped(format) { whole } else { ragged } {
            for bias in [false, true] {
                let name = format!("linear {format:?} [{rows}, {cols}] bias: {bias}");
                cases.push(case(name, |net| {
                    let x = net.input(cols);
                    let w = net.weight(rows, cols, format);
                    let bias = bias.then(|| net.weight(1, rows, Format::F16));
                    net.b.linear(x, w, bias)
                }));
            }
        }
    }
    cases
}

fn embed() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        let widths = if grouped(format) {
            [32, 64, 96, 1056]
        } else {
            [1, 13, 64, 577]
        };
        for d in widths {
            cases.push(case(format!("embed {format:?} {d}"), |net| {
                let w = net.weight(VOCAB + 5, d, format);
                net.b.embed(w)
            }));
        }
    }
    cases
}

pub fn rms_norm() -> Vec<Case> {
    let widths = [1, 13, 64, 576, 1031];
    let norm = |d| {
        case(format!("rms_norm {d}"), |net| {
            let x = net.input(d);
            let w = net.weight(1, d, Format::F32);
            net.b.rms_norm(x, w, 1e-5)
        })
    };
    widths.map(norm).into()
}

fn rope() -> Vec<Case> {
    let mut cases = Vec::new();
    for pairing in [Pairing::Half, Pairing::Interleaved] {
        for (heads, head_dim, pairs) in [(1, 2, 1), (3, 10, 3), (9, 64, 32), (2, 96, 16)] {
            let name = format!("rope {pairing:?} {heads} heads of {head_dim}, {pairs} pairs");
            cases.push(case(name, |net| {
                let x = net.input(heads * head_dim);
                let frequencies = (0..pairs).map(|i| 0.7f32.powi(i)).collect();
                net.b.rope(
                    x,
                    &Rotary {
                        head_dim,
                        pairing,
                        frequencies,
                    },
                )
            }));
        }
    }
    cases
}

fn elementwise() -> Vec<Case> {
    let mut cases = Vec::new();
    for width in [1, 13, 64, 300] {
        cases.push(case(format!("add {width}"), |net| {
            let (a, b) = (net.input(width), net.input(width));
            net.b.add(a, b)
        }));
        cases.push(case(format!("activate {width}"), |net| {
            let (a, b) = (net.input(width), net.input(width));
            net.b.activate(a, b, Gate::SwiGlu)
        }));
        cases.push(case(format!("store {width}"), |net| {
            let x = net.input(width);
            net.b.store(x);
            x
        }));
    }
    cases
}

/// Up to 283 keys: over two tiles.
pub fn attention() -> Vec<Case> {
    let sizes = [
        (1, 1, 4),
        (3, 1, 12),
        (4, 2, 32),
        (9, 3, 64),
        (8, 8, 16),
        (2, 1, 100),
        (2, 1, 256),
    ];
    let attention = |(n_heads, n_kv_heads, head_dim)| {
        let name = format!("attention {n_heads} heads over {n_kv_heads} of {head_dim}");
        let mut case = case(name, |net| {
            let q = net.input(n_heads * head_dim);
            let (k, v) = (
                net.input(n_kv_heads * head_dim),
                net.input(n_kv_heads * head_dim),
            );
            let (k, v) = (net.b.store(k), net.b.store(v));
            net.b.attention(
                q,
                k,
                v,
                Heads {
                    n_heads,
                    n_kv_heads,
                    head_dim,
                },
                3.0,
            )
        });
        case.steps.extend([24; 11]);
        case
    };
    sizes.map(attention).into()
}
