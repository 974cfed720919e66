//! Recording what metric models add to a transformer's ops.

use super::Builder;
use crate::op::{Act, Cache, Heads, Metric, Op, Similarity};

impl Builder {
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
