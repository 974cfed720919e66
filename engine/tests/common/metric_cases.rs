//! Cases of the ops of metric models.

use super::Net;
use super::cases::{Case, case};
use engine::formats::Format;
use engine::op::{Balls, Heads, Map, Metric, Pairing, Parameter, Rotary, Similarity, Weight};

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = attention();
    cases.extend(layer_norm());
    cases.extend(conv());
    cases.extend(fourier());
    cases.extend(rope_with_phases());
    cases.extend(scale_and_gate());
    cases.extend(mix());
    cases
}

const MAPS: [Map; 4] = [Map::Identity, Map::Exp, Map::Softplus, Map::Gate];

fn vector(net: &mut Net, cols: usize) -> Weight {
    net.weight(1, cols, Format::F32)
}

/// Which of a metric's parameters there are.
#[derive(Debug, Clone, Copy)]
struct Given {
    similarity: Similarity,
    alpha: Option<Map>,
    diagonal: Option<Map>,
    /// How radii are stored. As they are, some are negative: those balls hold no key.
    radius: Option<Map>,
}

fn metrics() -> Vec<Given> {
    let plain = |similarity| Given {
        similarity,
        alpha: None,
        diagonal: None,
        radius: None,
    };
    let of = |similarity, map| Given {
        alpha: Some(map),
        ..plain(similarity)
    };
    let mut metrics = vec![
        plain(Similarity::NegSqDist),
        plain(Similarity::Cosine),
        of(Similarity::Dot, Map::Softplus),
        of(Similarity::Cosine, Map::Exp),
        Given {
            radius: Some(Map::Exp),
            ..plain(Similarity::Dot)
        },
        Given {
            radius: Some(Map::Identity),
            ..of(Similarity::Cosine, Map::Identity)
        },
        Given {
            radius: Some(Map::Exp),
            ..of(Similarity::NegSqDist, Map::Softplus)
        },
    ];
    metrics.extend(MAPS.map(|map| Given {
        diagonal: Some(map),
        ..plain(Similarity::NegSqDist)
    }));
    metrics.push(Given {
        diagonal: Some(Map::Softplus),
        radius: Some(Map::Softplus),
        ..of(Similarity::NegSqDist, Map::Softplus)
    });
    metrics
}

/// Up to 286 keys: more than a tile.
pub fn attention() -> Vec<Case> {
    let sizes = [(1, 1, 4), (3, 1, 12), (8, 2, 16), (2, 1, 100), (4, 1, 256)];
    let mut cases = Vec::new();
    for (i, given) in metrics().into_iter().enumerate() {
        for (n_heads, n_kv_heads, head_dim) in [sizes[i % 5], sizes[(i + 1) % 5]] {
            let name =
                format!("attention {n_heads} heads over {n_kv_heads} of {head_dim}, {given:?}");
            let heads = Heads {
                n_heads,
                n_kv_heads,
                head_dim,
            };
            let mut case = case(name, |net| {
                let q = net.input(n_heads * head_dim);
                let [k, v] = [(); 2].map(|()| {
                    let x = net.input(n_kv_heads * head_dim);
                    net.b.store(x)
                });
                let metric = metric(net, heads, given);
                net.b.metric_attention(q, k, v, heads, metric)
            });
            case.steps.extend([24; 11]);
            case.steps.extend([1; 3]);
            cases.push(case);
        }
    }
    cases
}

fn metric(net: &mut Net, heads: Heads, given: Given) -> Metric {
    let Heads {
        n_heads, head_dim, ..
    } = heads;
    let width = n_heads * head_dim;
    let mut parameter = |cols: usize, map: Option<Map>| {
        map.map(|map| Parameter {
            w: vector(net, cols),
            map,
        })
    };
    let alpha = parameter(n_heads, given.alpha);
    let diagonal = parameter(width, given.diagonal);
    let radii = parameter(n_heads, given.radius);
    Metric {
        similarity: given.similarity,
        scale: 3.0,
        alpha,
        diagonal,
        balls: radii.map(|radii| Balls {
            origins: vector(net, width),
            radii,
        }),
    }
}

fn layer_norm() -> Vec<Case> {
    let widths = [2, 13, 64, 576, 1031];
    let norm = |(d, biased): (usize, bool)| {
        case(format!("layer_norm {d}, biased: {biased}"), |net| {
            let x = net.input(d);
            let w = vector(net, d);
            let bias = biased.then(|| vector(net, d));
            net.b.layer_norm(x, w, bias, 1e-5)
        })
    };
    let both = widths.into_iter().flat_map(|d| [(d, true), (d, false)]);
    both.map(norm).collect()
}

/// Up to as many taps as there are tokens in a chunk, and more.
fn conv() -> Vec<Case> {
    let mut cases = Vec::new();
    for (width, taps) in [(1, 1), (13, 3), (64, 5), (300, 4), (7, 40)] {
        for biased in [false, true] {
            let name = format!("conv {width} columns, {taps} taps, biased: {biased}");
            cases.push(case(name, |net| {
                let x = net.input(width);
                let x = net.b.store(x);
                let w = vector(net, width * taps);
                let bias = biased.then(|| vector(net, width));
                net.b.conv(x, w, bias)
            }));
        }
    }
    cases
}

fn fourier() -> Vec<Case> {
    let fourier = |n: usize| {
        case(format!("fourier {n}"), |net| {
            let frequencies = (1..=n).map(|i| i as f32 * 0.02).collect();
            net.b.fourier(frequencies)
        })
    };
    [1, 13, 64, 100].map(fourier).into()
}

fn rope_with_phases() -> Vec<Case> {
    let mut cases = Vec::new();
    for pairing in [Pairing::Half, Pairing::Interleaved] {
        for (heads, head_dim, pairs) in [(1, 2, 1), (3, 10, 3), (9, 64, 32), (2, 96, 16)] {
            let name = format!("rope {pairing:?} with phases, {heads} heads of {head_dim}");
            cases.push(case(name, |net| {
                let x = net.input(heads * head_dim);
                // Some turns in either direction.
                let phases = net.input(pairs);
                let large = net.b.rms_norm(phases, None, 1e-6);
                let w = net.weight(pairs, pairs, Format::F32);
                let phases = net.b.linear(large, w, None);
                let phases = net.b.add(phases, large);
                let rotary = Rotary {
                    head_dim,
                    pairing,
                    frequencies: (0..pairs).map(|i| 0.7f32.powi(i as i32)).collect(),
                };
                net.b.rope_with_phases(x, &rotary, phases)
            }));
        }
    }
    cases
}

fn scale_and_gate() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (width, k)) in [(1, 1), (13, 13), (64, 4), (300, 1), (300, 100)]
        .into_iter()
        .enumerate()
    {
        let map = MAPS[i % 4];
        cases.push(case(
            format!("scale {width} columns by {k}, {map:?}"),
            |net| {
                let x = net.input(width);
                let w = vector(net, k);
                net.b.scale(x, Parameter { w, map })
            },
        ));
        for range in [(0.0, 2.0), (0.5, 3.125)] {
            let name = format!("gate {width} columns by {k}, {range:?}");
            cases.push(case(name, |net| {
                let (x, gates) = (net.input(width), net.input(k));
                net.b.gate(x, gates, range)
            }));
        }
    }
    cases
}

fn mix() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n_paths, top_k, width) in [(1, 1, 13), (2, 1, 64), (4, 3, 300), (4, 4, 1), (5, 2, 70)] {
        for biased in [false, true] {
            let name = format!("mix {top_k} of {n_paths} paths, {width} wide, biased: {biased}");
            cases.push(case(name, |net| {
                let logits = net.input(n_paths);
                let bias = biased.then(|| vector(net, n_paths));
                let paths: Vec<_> = (0..n_paths).map(|_| net.input(width)).collect();
                net.b.mix(logits, bias, 0.7, top_k, &paths)
            }));
        }
    }
    cases
}
