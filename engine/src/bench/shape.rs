//! What a loaded model is made of, as far as its speed depends on it.

use crate::{
    formats::WeightInfo,
    op::{Op, Weight},
    program::Program,
};

/// What is to be known of a model that was loaded.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Its forward pass.
    pub program: Program,
    /// By weight id.
    pub weights: Vec<WeightInfo>,
}

impl Shape {
    /// Bytes of packed weights that one decoded token reads: of an embedding a row, of experts those that are chosen.
    pub fn bytes_per_token(&self) -> u64 {
        let bytes = |w: Weight| {
            let info = &self.weights[w.id];
            info.format.bytes(info.rows, info.cols)
        };
        let read = |op: &Op| {
            let (matrix, vectors) = op.weights();
            let matrix = matrix.map_or(0, |w| match op {
                Op::Embed { .. } => bytes(w) / w.rows,
                Op::ExpertLinear {
                    routing, n_experts, ..
                } => bytes(w) / n_experts * (routing.width / 2),
                _ => bytes(w),
            });
            matrix + vectors.into_iter().map(bytes).sum::<usize>()
        };
        self.program.ops.iter().map(read).sum::<usize>() as u64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        formats::Format,
        op::{Router, Score},
        program::Builder,
    };

    fn info(format: Format, rows: usize, cols: usize) -> WeightInfo {
        let name = "w".into();
        WeightInfo {
            name,
            format,
            rows,
            cols,
        }
    }

    /// An embedding, a norm, 2 of 4 experts, and a head.
    pub(in crate::bench) fn shape() -> Shape {
        let weights = vec![
            info(Format::F16, 100, 64),
            info(Format::F32, 1, 64),
            info(Format::F32, 4, 64),
            info(Format::Q8, 4 * 32, 64),
            info(Format::Q4, 100, 32),
        ];
        let w = |id: usize| Weight {
            id,
            rows: weights[id].rows,
            cols: weights[id].cols,
        };
        let mut b = Builder::new();
        let x = b.embed(w(0));
        let x = b.rms_norm(x, Some(w(1)), 1e-5);
        let logits = b.linear(x, w(2), None);
        let router = Router {
            score: Score::Softmax,
            top_k: 2,
            renormalise: true,
        };
        let routing = b.route(logits, None, router);
        let x = b.expert_linear(x, w(3), routing, 4);
        let x = b.combine(x, routing);
        let x = b.last(x);
        let logits = b.linear(x, w(4), None);
        let program = b.finish(logits);
        Shape { program, weights }
    }

    #[test]
    fn a_token_reads_a_row_and_its_experts() {
        let row = 64 * 2;
        let (norm, router) = (64 * 4, 4 * 64 * 4);
        let experts = 2 * 32 * (64 + 64 / 32 * 2);
        let head = 100 * (32 / 2 + 4);
        assert_eq!(
            shape().bytes_per_token(),
            row + norm + router + experts + head
        );
    }
}
