//! One table of cases per op: sizes 1, prime, a multiple of a group, larger than a workgroup.

use super::{Model, Net, VOCAB};
use engine::formats::Format;
use engine::op::{Act, Function, Heads, Pairing, Rotary, Router, Score};

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

pub fn case(name: String, build: impl FnOnce(&mut Net) -> Act) -> Case {
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
    cases.extend(route());
    cases.extend(expert_linear());
    cases.extend(combine());
    cases.extend(super::metric_cases::all());
    cases
}

fn grouped(format: Format) -> bool {
    format.row_scales_bytes(32) > 0
}

pub fn linear() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in Format::ALL {
        let whole = [(1, 32), (7, 64), (300, 96), (130, 1056)];
        let ragged = [(1, 1), (7, 13), (67, 129), (300, 520)];
        for (rows, cols) in if grouped(format) { whole } else { ragged } {
            for bias in [false, true] {
                let name = format!("linear {format:?} [{rows}, {cols}] bias: {bias}");
                let mut case = case(name, |net| {
                    let x = net.input(cols);
                    let w = net.weight(rows, cols, format);
                    let bias = bias.then(|| net.weight(1, rows, Format::F16));
                    net.b.linear(x, w, bias)
                });
                if rows == 1 {
                    // A single sum may come out near zero, and its error does not.
                    case.bound = 1e-9;
                }
                cases.push(case);
            }
        }
    }
    cases
}

fn embed() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in Format::ALL {
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
    let norm = |(d, weighted): (usize, bool)| {
        case(format!("rms_norm {d}, weighted: {weighted}"), |net| {
            let x = net.input(d);
            let w = weighted.then(|| net.weight(1, d, Format::F32));
            net.b.rms_norm(x, w, 1e-5)
        })
    };
    let both = widths.into_iter().flat_map(|d| [(d, true), (d, false)]);
    both.map(norm).collect()
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
        for function in [
            Function::Silu,
            Function::Gelu,
            Function::GeluErf,
            Function::Relu,
            Function::ReluSquared,
            Function::Sigmoid,
        ] {
            for gated in [false, true] {
                let name = format!("activate {function:?} {width} gated: {gated}");
                cases.push(case(name, |net| {
                    let x = net.input(width);
                    let up = gated.then(|| net.input(width));
                    net.b.activate(x, up, function)
                }));
            }
        }
        cases.push(case(format!("store {width}"), |net| {
            let x = net.input(width);
            net.b.store(x);
            x
        }));
    }
    cases
}

/// Up to 286 keys: more than a tile.
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
        case.steps.extend([1; 3]);
        case
    };
    sizes.map(attention).into()
}

/// Many tiles of keys, and single tokens on both sides of one's end.
pub fn long_attention() -> Vec<Case> {
    let mut cases: Vec<Case> = attention().drain(1..4).collect();
    for case in &mut cases {
        case.steps = [vec![1], vec![24; 53], vec![1; 10]].concat();
        // The CPU's sums of so many terms are rounded more.
        case.bound = 1e-10;
    }
    cases
}

/// Which experts tokens are sent to.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Anywhere.
    Random,
    /// Nearly all to one, the others shared out.
    Skewed,
    /// All to the same: most experts have none.
    Same,
}

/// A routing `[n, 2 · top_k]` over logits that send tokens as `load` says.
fn routing(net: &mut Net, n_experts: usize, router: Router, bias: bool, load: Load) -> Act {
    let logits = net.input(n_experts);
    let table = net.data.last_mut().unwrap();
    let mut values: Vec<f32> = bytemuck::pod_collect_to_vec(&table.quants);
    for row in values.chunks_mut(n_experts) {
        match load {
            Load::Random => {}
            Load::Skewed => row[n_experts / 2] += 2.0,
            Load::Same => {
                let falling = row.iter_mut().enumerate();
                falling.for_each(|(i, v)| *v = 0.1 * *v - i as f32);
            }
        }
    }
    table.quants = bytemuck::cast_slice(&values).to_vec();
    let bias = bias.then(|| net.weight(1, n_experts, Format::F32));
    net.b.route(logits, bias, router)
}

fn routers() -> Vec<(Router, bool)> {
    let router = |score, renormalise| Router {
        score,
        top_k: 0,
        renormalise,
    };
    vec![
        (router(Score::Softmax, true), false),
        (router(Score::Softmax, false), false),
        (router(Score::Sigmoid, true), true),
        (router(Score::Sigmoid, false), false),
    ]
}

fn route() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n_experts, top_k) in [(1, 1), (4, 2), (8, 8), (33, 4), (130, 3)] {
        for (router, bias) in routers() {
            let router = Router { top_k, ..router };
            let name = format!("route to {top_k} of {n_experts} {router:?} bias: {bias}");
            cases.push(case(name, |net| {
                routing(net, n_experts, router, bias, Load::Random)
            }));
        }
    }
    cases
}

/// `(n_experts, top_k, load)`: with 1 to 24 tokens, experts with none, one, some and all of them.
const LOADS: [(usize, usize, Load); 6] = [
    (1, 1, Load::Random),
    (4, 2, Load::Random),
    (5, 2, Load::Skewed),
    (7, 3, Load::Same),
    (3, 3, Load::Random),
    (38, 1, Load::Random),
];

pub fn expert_linear() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in Format::ALL {
        let sizes = if grouped(format) {
            [(6, 32), (70, 96)]
        } else {
            [(6, 13), (70, 40)]
        };
        for (i, (n_experts, top_k, load)) in LOADS.into_iter().enumerate() {
            let (rows, cols) = sizes[i % 2];
            for own_input in [false, true] {
                let name = format!(
                    "expert_linear {format:?} {top_k} of {n_experts} [{rows}, {cols}], {load:?}, own input: {own_input}"
                );
                let mut case = case(name, |net| {
                    let router = Router {
                        top_k,
                        ..routers()[0].0
                    };
                    let routing = routing(net, n_experts, router, false, load);
                    let x = net.input(if own_input { top_k * cols } else { cols });
                    let w = net.weight(n_experts * rows, cols, format);
                    net.b.expert_linear(x, w, routing, n_experts)
                });
                case.steps.push(24);
                cases.push(case);
            }
        }
    }
    cases
}

fn combine() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n_experts, top_k, load) in LOADS {
        for d in [1, 13, 300] {
            let name = format!("combine {top_k} of {n_experts}, {d} wide, {load:?}");
            cases.push(case(name, |net| {
                let router = Router {
                    top_k,
                    ..routers()[1].0
                };
                let routing = routing(net, n_experts, router, false, load);
                let x = net.input(top_k * d);
                net.b.combine(x, routing)
            }));
        }
    }
    cases
}
