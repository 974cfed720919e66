//! Cases of the ops of metric models.

use super::Net;
use super::cases::{Case, case};
use engine::formats::Format;
use engine::op::{Balls, Heads, Map, Metric, Parameter, Similarity, Weight};

/// Every case.
pub fn all() -> Vec<Case> {
    metric_attention()
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

/// Up to 283 keys: over two tiles.
fn metric_attention() -> Vec<Case> {
    let sizes = [(1, 1, 4), (3, 1, 12), (8, 2, 16), (2, 1, 100), (2, 2, 256)];
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
