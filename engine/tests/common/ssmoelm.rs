//! The trained SSMoELM, written under other conventions than its own.

use super::tensors::{Tensor, Tensors, halves_to_neighbours};
use safetensors::Dtype;
use std::collections::BTreeMap;

/// One way to write the file.
#[derive(Debug, Clone, Copy)]
pub struct Convention {
    pub msb_first: bool,
    pub one_is_plus: bool,
    pub low_first: bool,
    /// 0 stands for two's complement.
    pub offset: u8,
    /// The embedding in three bits, −3 to 3, with an offset of its own.
    pub embedding: Option<u8>,
    pub interleaved: bool,
    pub names: Names,
    /// Packed bytes without a shape.
    pub flat: bool,
    /// `__cols` without a dimension.
    pub scalar_cols: bool,
    pub experts: Experts,
    /// Gate and up matrices in one.
    pub fused: bool,
    /// Of these two the gate comes first.
    pub gate_first: bool,
}

/// As the file is committed.
pub const COMMITTED: Convention = Convention {
    msb_first: true,
    one_is_plus: true,
    low_first: true,
    offset: 8,
    embedding: None,
    interleaved: false,
    names: Names::Plain,
    flat: false,
    scalar_cols: false,
    experts: Experts::Each,
    fused: false,
    gate_first: true,
};

#[derive(Debug, Clone, Copy)]
pub enum Names {
    /// `layers.0.attn.q_proj.weight`, `layers.0.moe.experts.0.gate_proj.weight`
    Plain,
    /// `blocks.0.attention.wq.weight`, `blocks.0.ffn.experts.0.w1.weight`
    Numbered,
    /// `model.layers.0.self_attn.q_proj.weight`, `model.layers.0.mlp.experts.0.gate_proj.weight`
    HuggingFace,
    /// `transformer.h.0.attn.query`, `transformer.h.0.block_sparse_moe.experts.0.gate`
    Short,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Experts {
    /// A tensor each.
    Each,
    /// One tensor of their rows below one another.
    Stacked,
    /// The same with a dimension for the expert.
    Cube,
}

const EMBEDDING: &str = "embed.weight";

/// A matrix as it is meant: quants row by row, and a scale per row.
#[derive(Clone)]
struct Matrix {
    /// Whether they are signs, 1 and −1.
    signs: bool,
    /// Of the packed bytes.
    shape: Vec<usize>,
    cols: usize,
    quants: Vec<i8>,
    /// f16
    scales: Vec<[u8; 2]>,
}

impl Matrix {
    fn read(signs: bool, packed: &Tensor, scale: &Tensor) -> Self {
        let quants: Vec<i8> = if signs {
            let bits = |byte: &u8| std::array::from_fn(|i| byte >> (7 - i) & 1);
            let plus = |bit: u8| 2 * bit as i8 - 1;
            packed
                .bytes
                .iter()
                .flat_map(bits as fn(_) -> [u8; 8])
                .map(plus)
                .collect()
        } else {
            let nibbles = |byte: &u8| [byte & 15, byte >> 4];
            packed
                .bytes
                .iter()
                .flat_map(nibbles)
                .map(|n| n as i8 - 8)
                .collect()
        };
        Matrix {
            signs,
            shape: packed.shape.clone(),
            cols: quants.len() / packed.shape[0],
            quants,
            scales: scale.bytes.as_chunks::<2>().0.to_vec(),
        }
    }

    /// One row's quants and scale.
    fn row(&self, i: usize) -> (&[i8], [u8; 2]) {
        (&self.quants[i * self.cols..][..self.cols], self.scales[i])
    }

    /// The rows of these matrices, in this order.
    fn of_rows<'m>(rows: impl Iterator<Item = (&'m [i8], [u8; 2])>, like: &Matrix) -> Self {
        let (quants, scales): (Vec<_>, Vec<_>) = rows.unzip();
        Matrix {
            shape: vec![scales.len(), like.shape[1]],
            quants: quants.concat(),
            scales,
            ..like.clone()
        }
    }

    fn below(matrices: &[&Matrix]) -> Self {
        let rows = matrices
            .iter()
            .flat_map(|m| (0..m.scales.len()).map(|i| m.row(i)));
        Matrix::of_rows(rows, matrices[0])
    }

    fn pack(&self, c: &Convention, offset: u8) -> Vec<u8> {
        if self.signs {
            let byte = |eight: &[i8]| {
                let bit = |(i, q): (usize, &i8)| {
                    let set = u8::from((*q > 0) == c.one_is_plus);
                    set << if c.msb_first { 7 - i } else { i }
                };
                eight.iter().enumerate().map(bit).sum()
            };
            return self.quants.chunks(8).map(byte).collect();
        }
        let byte = |two: &[i8]| {
            let [a, b] = [two[0], two[1]].map(|q| (q + offset as i8) as u8 & 15);
            if c.low_first { a | b << 4 } else { b | a << 4 }
        };
        self.quants.chunks(2).map(byte).collect()
    }

    fn write(&self, key: &str, c: &Convention, out: &mut Tensors) {
        let own = c.embedding.filter(|_| key == c.names.of(EMBEDDING));
        let bytes = self.pack(c, own.unwrap_or(c.offset));
        let shape = if c.flat {
            vec![bytes.len()]
        } else {
            self.shape.clone()
        };
        let rows = &self.shape[..self.shape.len() - 1];
        let ints = |ints: &[usize]| {
            ints.iter()
                .flat_map(|i| (*i as i32).to_le_bytes())
                .collect()
        };
        let part = if self.signs { "bin" } else { "int4" };
        let whole = [rows, &[self.cols]].concat();
        let cols_shape: &[usize] = if c.scalar_cols { &[] } else { &[1] };
        for (part, tensor) in [
            (part, Tensor::new(Dtype::U8, &shape, bytes)),
            ("scale", Tensor::new(Dtype::F16, rows, self.scales.concat())),
            (
                "shape",
                Tensor::new(Dtype::I32, &[whole.len()], ints(&whole)),
            ),
            (
                "cols",
                Tensor::new(Dtype::I32, cols_shape, ints(&[self.cols])),
            ),
        ] {
            out.insert(format!("{key}__{part}"), tensor);
        }
    }
}

/// The committed file's tensors as this convention has them.
pub fn write(committed: &Tensors, c: &Convention) -> Tensors {
    let mut matrices = BTreeMap::new();
    let mut out = Tensors::new();
    for (name, tensor) in committed {
        match name.split_once("__") {
            None => {
                out.insert(c.names.of(name), tensor.clone());
            }
            Some((key, part @ ("bin" | "int4"))) => {
                let scale = &committed[&format!("{key}__scale")];
                matrices.insert(key.to_owned(), Matrix::read(part == "bin", tensor, scale));
            }
            Some(_) => {}
        }
    }
    if c.interleaved {
        for (key, m) in &mut matrices {
            if key.contains("q_proj") || key.contains("k_proj") {
                let rows = (0..m.scales.len()).map(|i| m.row(halves_to_neighbours(i)));
                *m = Matrix::of_rows(rows, m);
            }
        }
    }
    if c.embedding.is_some() {
        let embedding = matrices.get_mut(EMBEDDING).unwrap();
        embedding
            .quants
            .iter_mut()
            .for_each(|q| *q = (*q).clamp(-3, 3));
    }
    if c.fused {
        fuse(&mut matrices, c.gate_first);
    }
    if c.experts != Experts::Each {
        stack(&mut matrices, c.experts == Experts::Cube);
    }
    for (key, matrix) in &matrices {
        matrix.write(&c.names.of(key), c, &mut out);
    }
    out
}

/// `gate_proj` and `up_proj` become `gate_up_proj`.
fn fuse(matrices: &mut BTreeMap<String, Matrix>, gate_first: bool) {
    let gates: Vec<String> = matrices
        .keys()
        .filter(|key| key.contains("gate_proj"))
        .cloned()
        .collect();
    for key in gates {
        let gate = matrices.remove(&key).unwrap();
        let up = matrices
            .remove(&key.replace("gate_proj", "up_proj"))
            .unwrap();
        let both = if gate_first {
            [&gate, &up]
        } else {
            [&up, &gate]
        };
        let both = Matrix::below(&both);
        matrices.insert(key.replace("gate_proj", "gate_up_proj"), both);
    }
}

/// `experts.0.…` to `experts.7.…` become `experts.…`.
fn stack(matrices: &mut BTreeMap<String, Matrix>, cube: bool) {
    let firsts: Vec<String> = matrices
        .keys()
        .filter(|key| key.contains("experts.0."))
        .cloned()
        .collect();
    for key in firsts {
        let expert = |e: usize| matrices.get(&key.replace("experts.0.", &format!("experts.{e}.")));
        let each: Vec<&Matrix> = (0..).map_while(expert).collect();
        let (n, mut all) = (each.len(), Matrix::below(&each));
        if cube {
            all.shape = vec![n, all.shape[0] / n, all.shape[1]];
        }
        (0..n).for_each(|e| {
            matrices.remove(&key.replace("experts.0.", &format!("experts.{e}.")));
        });
        matrices.insert(key.replace("experts.0.", "experts."), all);
    }
}

impl Names {
    /// What this naming calls the committed file's `name`.
    fn of(self, name: &str) -> String {
        let words: &[(&str, &str)] = match self {
            Names::Plain => &[],
            Names::Numbered => &[
                ("embed.", "tok_embeddings."),
                ("layers.", "blocks."),
                ("attn_norm", "attention_norm"),
                ("mlp_norm", "ffn_norm"),
                (".attn.", ".attention."),
                (".q_proj", ".wq"),
                (".k_proj", ".wk"),
                (".v_proj", ".wv"),
                (".o_proj", ".wo"),
                (".moe.router", ".ffn.gate"),
                (".moe.", ".ffn."),
                ("gate_up_proj", "w13"),
                ("gate_proj", "w1"),
                ("up_proj", "w3"),
                ("down_proj", "w2"),
                (".shared.", ".shared_expert."),
            ],
            Names::HuggingFace => &[
                ("embed.", "model.embed_tokens."),
                ("layers.", "model.layers."),
                ("attn_norm", "input_layernorm"),
                ("mlp_norm", "post_attention_layernorm"),
                (".attn.", ".self_attn."),
                (".moe.router", ".mlp.gate"),
                (".moe.", ".mlp."),
                (".shared.", ".shared_experts."),
            ],
            Names::Short => &[
                ("embed.weight", "transformer.wte"),
                ("layers.", "transformer.h."),
                ("attn_norm.weight", "ln_1"),
                ("mlp_norm.weight", "ln_2"),
                (".q_proj.weight", ".query"),
                (".k_proj.weight", ".key"),
                (".v_proj.weight", ".value"),
                (".o_proj.weight", ".out"),
                (".moe.router.weight", ".block_sparse_moe.router"),
                (".moe.", ".block_sparse_moe."),
                ("_proj.weight", ""),
            ],
        };
        if name == "norm.weight" && matches!(self, Names::HuggingFace) {
            return "model.norm.weight".into();
        }
        let replace = |name: String, (from, to): &(&str, &str)| name.replace(from, to);
        words.iter().fold(name.to_owned(), replace)
    }
}
