//! Recording what metric models add to a transformer's ops.

use super::Builder;
use crate::op::{Act, Cache, Heads, Metric, Op, Parameter, Rotary, Similarity, Weight};

impl Builder {
    /// `x[n, d], w[1, d], bias[1, d] → [n, d]`.
    pub fn layer_norm(&mut self, x: Act, w: Weight, bias: Option<Weight>, eps: f32) -> Act {
        for w in [w].into_iter().chain(bias) {
            assert_eq!((w.rows, w.cols), (1, x.width), "norm of another width");
        }
        let y = self.act(x.width);
        self.push(Op::LayerNorm { x, w, bias, eps, y });
        y
    }

    /// As [`Builder::rope`], with `phases[n, pairs]` added to the angles.
    pub fn rope_with_phases(&mut self, x: Act, rotary: &Rotary, phases: Act) -> Act {
        assert_eq!(
            phases.width,
            rotary.frequencies.len(),
            "not one phase per pair"
        );
        let y = self.rope(x, rotary);
        let Some(Op::Rope { phases: none, .. }) = self.ops.last_mut() else {
            unreachable!("a rope was just recorded")
        };
        *none = Some(phases);
        y
    }

    /// Cosines and sines of the position, `[n, 2 · frequencies.len()]`.
    pub fn fourier(&mut self, frequencies: Vec<f32>) -> Act {
        let y = self.act(2 * frequencies.len());
        self.push(Op::Fourier { frequencies, y });
        y
    }

    /// The rows of a cache, up to each token's own, by `w[1, width · taps]` and `bias[1, width]` →
    /// `[n, width]`.
    pub fn conv(&mut self, x: Cache, w: Weight, bias: Option<Weight>) -> Act {
        assert!(
            w.rows == 1 && w.cols.is_multiple_of(x.width),
            "{} taps for {} columns",
            w.cols,
            x.width
        );
        if let Some(b) = bias {
            assert_eq!((b.rows, b.cols), (1, x.width), "bias of another width");
        }
        let y = self.act(x.width);
        self.push(Op::Conv { x, w, bias, y });
        y
    }

    /// `x[n, d], factors[1, k] → [n, d]`, `k` dividing `d`.
    pub fn scale(&mut self, x: Act, factors: Parameter) -> Act {
        assert!(
            factors.w.rows == 1 && x.width.is_multiple_of(factors.w.cols),
            "{} factors for {} columns",
            factors.w.cols,
            x.width
        );
        let y = self.act(x.width);
        self.push(Op::Scale { x, factors, y });
        y
    }

    /// `x[n, d], gates[n, k] → [n, d]`, `k` dividing `d`: times what lies in `range` by the gates' sigmoids.
    pub fn gate(&mut self, x: Act, gates: Act, range: (f32, f32)) -> Act {
        assert!(
            x.width.is_multiple_of(gates.width),
            "{} gates for {} columns",
            gates.width,
            x.width
        );
        let y = self.act(x.width);
        self.push(Op::Gate { x, gates, range, y });
        y
    }

    /// `Σ_i weight_i · paths[i]`, `[n, d]` each, by `logits[n, n_paths]` and `bias[1, n_paths]`: softmax of
    /// `(logits + bias) / temperature`, of which the `top_k` largest are kept and divided by their sum.
    pub fn mix(
        &mut self,
        logits: Act,
        bias: Option<Weight>,
        temperature: f32,
        top_k: usize,
        paths: &[Act],
    ) -> Act {
        assert_eq!(logits.width, paths.len(), "not one logit per path");
        assert!(
            (1..=paths.len()).contains(&top_k),
            "{top_k} of {} paths",
            paths.len()
        );
        if let Some(b) = bias {
            assert_eq!((b.rows, b.cols), (1, logits.width), "bias of another width");
        }
        let weights = self.act(logits.width);
        self.push(Op::PathWeights {
            logits,
            bias,
            temperature,
            top_k,
            y: weights,
        });
        let mut sum = None;
        for (path, &x) in paths.iter().enumerate() {
            assert_eq!(x.width, paths[0].width, "paths of several widths");
            let y = self.act(x.width);
            self.push(Op::Blend {
                sum,
                x,
                weights,
                path,
                y,
            });
            sum = Some(y);
        }
        sum.expect("at least one path")
    }

    /// `q[n, n_heads · head_dim]` over the caches → the same shape as `q`.
    pub fn metric_attention(
        &mut self,
        q: Act,
        k: Cache,
        v: Cache,
        heads: Heads,
        metric: Metric,
    ) -> Act {
        let Heads {
            n_heads,
            n_kv_heads,
            head_dim,
        } = heads;
        let (width, kv_width) = (n_heads * head_dim, n_kv_heads * head_dim);
        assert_eq!(q.width, width, "queries of another width");
        assert_eq!(
            (k.width, v.width),
            (kv_width, kv_width),
            "caches of another width"
        );
        assert_eq!(n_heads % n_kv_heads, 0, "heads do not divide");
        assert!(
            metric.diagonal.is_none() || metric.similarity == Similarity::NegSqDist,
            "a diagonal metric weighs squared distances"
        );
        let per_dimension = metric.diagonal.map(|diagonal| diagonal.w);
        let per_head = metric.alpha.map(|alpha| alpha.w);
        let (origins, radii) = metric
            .balls
            .map(|balls| (balls.origins, balls.radii.w))
            .unzip();
        for w in per_dimension.into_iter().chain(origins) {
            assert_eq!((w.rows, w.cols), (1, width), "not one number per dimension");
        }
        for w in per_head.into_iter().chain(radii) {
            assert_eq!((w.rows, w.cols), (1, n_heads), "not one number per head");
        }
        let y = self.act(width);
        self.push(Op::Attention {
            q,
            k,
            v,
            heads,
            metric,
            y,
        });
        y
    }
}
