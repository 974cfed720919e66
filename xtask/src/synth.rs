//! Random checkpoints with the names, shapes and number formats of published models, to measure loading,
//! memory and speed at full size without their weights. They write nonsense.

use crate::{Result, sh::step};
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// What can be made.
pub const FAMILIES: [&str; 4] = ["ssmoelm", "metis", "neo-3", "mtlm1"];

/// A tensor to be made up.
struct Tensor {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    fill: Fill,
}

/// Its numbers.
#[derive(Clone, Copy)]
enum Fill {
    /// Even within ± the given limit.
    Within(f32),
    /// Nearly this: norm weights, scales.
    About(f32),
    /// Random bytes.
    Bytes,
    /// This whole number.
    Whole(i32),
}

/// The files of a model.
struct Model {
    tensors: Vec<Tensor>,
    config: Value,
    /// What calibration would find out, which it cannot on random weights.
    sidecar: Value,
    vocab: usize,
    special: &'static [&'static str],
}

/// Writes models/cache/synth-FAMILY/.
pub fn write(family: &str) -> Result {
    let model = match family {
        "ssmoelm" => ssmoelm(),
        "metis" => metis(),
        "neo-3" => neo3(),
        "mtlm1" => mtlm1(),
        other => {
            return Err(format!(
                "there is no family `{other}`; choose one of {}",
                FAMILIES.join(", ")
            ));
        }
    };
    let folder = format!("models/cache/synth-{family}");
    step(&format!("random {family} in {folder}"), || {
        let failed = |e: std::io::Error| format!("{folder}: {e}");
        fs::create_dir_all(&folder).map_err(failed)?;
        let put =
            |name: &str, json: &Value| fs::write(format!("{folder}/{name}"), json.to_string());
        if model.config != Value::Null {
            put("config.json", &model.config).map_err(failed)?;
        }
        put("thimble.json", &model.sidecar).map_err(failed)?;
        put("tokenizer.json", &tokenizer(model.vocab, model.special)).map_err(failed)?;
        let path = format!("{folder}/model.safetensors");
        safetensors(Path::new(&path), &model.tensors).map_err(failed)
    })?;
    let elements: usize = model.tensors.iter().map(Tensor::len).sum();
    let bytes = fs::metadata(format!("{folder}/model.safetensors")).map_or(0, |m| m.len());
    println!(
        "{bytes} bytes, {elements} elements in {} tensors",
        model.tensors.len()
    );
    Ok(())
}

impl Tensor {
    fn new(name: impl Into<String>, dtype: &'static str, shape: &[usize], fill: Fill) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            fill,
        }
    }

    /// A matrix whose products keep their input's size.
    fn matrix(
        name: impl Into<String>,
        dtype: &'static str,
        shape: &[usize],
        inputs: usize,
    ) -> Self {
        let limit = (3.0 / inputs as f32).sqrt();
        Self::new(name, dtype, shape, Fill::Within(limit))
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn n_bytes(&self) -> usize {
        let each = match self.dtype {
            "F32" | "I32" => 4,
            "F16" | "BF16" => 2,
            _ => 1,
        };
        self.len() * each
    }

    fn write(&self, out: &mut impl Write, random: &mut Random) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(1 << 16);
        for _ in 0..self.len() {
            let value = match self.fill {
                Fill::Within(limit) => limit * random.float(),
                Fill::About(middle) => middle * (1.0 + 0.1 * random.float()),
                Fill::Bytes => {
                    buffer.push(random.next() as u8);
                    if buffer.len() >= 1 << 16 {
                        out.write_all(&buffer)?;
                        buffer.clear();
                    }
                    continue;
                }
                Fill::Whole(n) => {
                    buffer.extend(n.to_le_bytes());
                    continue;
                }
            };
            match self.dtype {
                "F32" => buffer.extend(value.to_le_bytes()),
                "BF16" => buffer.extend(&value.to_le_bytes()[2..]),
                _ => buffer.extend(half_bits(value).to_le_bytes()),
            }
            if buffer.len() >= 1 << 16 {
                out.write_all(&buffer)?;
                buffer.clear();
            }
        }
        out.write_all(&buffer)
    }
}

/// IEEE 754 binary16 of a number that it can hold, rounded towards zero.
fn half_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = (bits >> 23 & 255) as i32 - 127 + 15;
    if exponent <= 0 {
        return sign;
    }
    sign | (exponent as u16) << 10 | (bits >> 13) as u16 & 0x3FF
}

fn safetensors(path: &Path, tensors: &[Tensor]) -> std::io::Result<()> {
    let header = header(tensors);
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut random = Random(0x2545_F491);
    for tensor in tensors {
        tensor.write(&mut out, &mut random)?;
    }
    out.flush()
}

fn header(tensors: &[Tensor]) -> String {
    let mut header = Map::new();
    let mut end = 0;
    for tensor in tensors {
        let start = end;
        end += tensor.n_bytes();
        let entry =
            json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    header
}

/// xorshift32: the same file every time.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// In -1 ..= 1.
    fn float(&mut self) -> f32 {
        self.next() as i32 as f32 / i32::MAX as f32
    }
}

/// Byte-level, without merges: one token per byte, and words that only fill the vocabulary.
fn tokenizer(vocab: usize, special: &[&str]) -> Value {
    let own = |b: u32| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..256).filter(|b| !own(*b)).enumerate();
    let mut alphabet: Vec<u32> = (0..256).filter(|b| own(*b)).collect();
    alphabet.extend(others.map(|(i, _)| 256 + i as u32));
    let bytes = alphabet
        .into_iter()
        .filter_map(char::from_u32)
        .map(String::from);
    let fillers = (0..).map(|i| format!("Ġword{i}"));
    let names = special
        .iter()
        .map(|s| s.to_string())
        .chain(bytes)
        .chain(fillers);
    let ids: Map<String, Value> = names
        .take(vocab)
        .zip(0..)
        .map(|(n, i)| (n, json!(i)))
        .collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "ignore_merges": false, "vocab": ids, "merges": []}
    })
}

/// SSMoELM-Base and -it: the published file has 12.1 MB and 11.9 M elements.
fn ssmoelm() -> Model {
    let mut tensors = Vec::new();
    let mut packed = |key: String, bits: usize, rows: usize, cols: usize| {
        let suffix = if bits == 1 { "bin" } else { "int4" };
        // The largest value of a row is its scale times 1 or 7.
        let scale = (1.0 / cols as f32).sqrt() / if bits == 1 { 1.0 } else { 4.0 };
        tensors.push(Tensor::new(
            format!("{key}__{suffix}"),
            "U8",
            &[rows, cols * bits / 8],
            Fill::Bytes,
        ));
        tensors.push(Tensor::new(
            format!("{key}__scale"),
            "F16",
            &[rows],
            Fill::About(scale),
        ));
        tensors.push(Tensor::new(
            format!("{key}__shape"),
            "I32",
            &[2],
            Fill::Whole(rows as i32),
        ));
        tensors.push(Tensor::new(
            format!("{key}__cols"),
            "I32",
            &[1],
            Fill::Whole(cols as i32),
        ));
    };
    let (d, kv, hidden, n_layers, n_experts) = (768, 192, 256, 6, 8);
    packed("embed.weight".into(), 4, 8192, d);
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}.weight");
        let outer = if layer == 0 || layer == n_layers - 1 {
            4
        } else {
            1
        };
        packed(at("attn.q_proj"), 4, d, d);
        packed(at("attn.k_proj"), 4, kv, d);
        packed(at("attn.v_proj"), outer, kv, d);
        packed(at("attn.o_proj"), outer, d, d);
        let experts = (0..n_experts).map(|e| (format!("moe.experts.{e}"), 1));
        for (expert, bits) in experts.chain([("moe.shared".to_string(), 4)]) {
            packed(at(&format!("{expert}.gate_proj")), bits, hidden, d);
            packed(at(&format!("{expert}.up_proj")), bits, hidden, d);
            packed(at(&format!("{expert}.down_proj")), bits, d, hidden);
        }
    }
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}.weight");
        tensors.push(Tensor::matrix(at("moe.router"), "F16", &[n_experts, d], d));
        tensors.push(Tensor::new(at("attn_norm"), "F16", &[d], Fill::About(1.0)));
        tensors.push(Tensor::new(at("mlp_norm"), "F16", &[d], Fill::About(1.0)));
    }
    tensors.push(Tensor::new("norm.weight", "F16", &[d], Fill::About(1.0)));
    Model {
        tensors,
        config: Value::Null,
        sidecar: json!({
            "bits_msb_first": true, "bits_one_is_plus": true, "nibbles_low_first": true, "nibbles_offset": 8,
            "embedding_offset": null, "rope_interleaved": false, "rope_theta": 10000.0, "norm_topk_prob": true
        }),
        vocab: 8192,
        special: &[
            "<bos>",
            "<eos>",
            "<pad>",
            "<|system|>",
            "<|user|>",
            "<|assistant|>",
            "<|eot|>",
        ],
    }
}

/// Metis-1.5: 268 tensors, 898,051,168 parameters, bf16, matrices [in, out].
fn metis() -> Model {
    let (vocab, d, kv, latent, hidden, n_experts, n_layers) =
        (32_768, 1536, 512, 512, 1024, 32, 19);
    let mut tensors = vec![
        Tensor::matrix("embed", "BF16", &[vocab, d], d),
        Tensor::new("final_norm.scale", "BF16", &[d], Fill::About(1.0)),
    ];
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}");
        let mut matrix = |name: &str, shape: &[usize]| {
            let inputs = shape[shape.len() - 2];
            tensors.push(Tensor::matrix(at(name), "BF16", shape, inputs));
        };
        matrix("q", &[d, d]);
        matrix("k", &[d, kv]);
        matrix("v", &[d, kv]);
        matrix("o", &[d, d]);
        matrix("latent_down", &[d, latent]);
        matrix("latent_up", &[latent, d]);
        matrix("router", &[d, n_experts]);
        matrix("expert_w1", &[n_experts, latent, hidden]);
        matrix("expert_w2", &[n_experts, hidden, latent]);
        matrix("shared_w1", &[d, hidden]);
        matrix("shared_w2", &[hidden, d]);
        tensors.push(Tensor::new(
            at("router_bias"),
            "BF16",
            &[n_experts],
            Fill::Within(0.1),
        ));
        tensors.push(Tensor::new(
            at("attn_norm.scale"),
            "BF16",
            &[d],
            Fill::About(1.0),
        ));
        tensors.push(Tensor::new(
            at("moe_norm.scale"),
            "BF16",
            &[d],
            Fill::About(1.0),
        ));
    }
    Model {
        tensors,
        config: json!({
            "model_type": "metis_multihead_latent_moe", "name": "Metis-1.5", "vocab_size": vocab, "block_size": 1024,
            "d_model": d, "n_layer": n_layers, "n_heads": 24, "n_kv_heads": 8, "head_dim": 64, "rope_theta": 10000.0,
            "bos_token_id": 1, "eos_token_id": 2
        }),
        sidecar: json!({}),
        vocab,
        special: &["<pad>", "<bos>", "<eos>", "<unk>"],
    }
}

/// neo-3-1B: 30 layers, every fifth of the first 25 dense, the others of 16 gated experts.
fn neo3() -> Model {
    let (vocab, d, kv, hidden, n_experts, n_layers) = (49_152, 576, 192, 1536, 16, 30);
    let mut tensors = vec![
        Tensor::matrix("model.embed_tokens.weight", "BF16", &[vocab, d], d),
        Tensor::new("model.norm.weight", "BF16", &[d], Fill::About(1.0)),
    ];
    for layer in 0..n_layers {
        let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
        let mut matrix = |name: &str, rows: usize, cols: usize| {
            tensors.push(Tensor::matrix(at(name), "BF16", &[rows, cols], cols));
        };
        matrix("self_attn.q_proj", d, d);
        matrix("self_attn.k_proj", kv, d);
        matrix("self_attn.v_proj", kv, d);
        matrix("self_attn.o_proj", d, d);
        if layer % 5 == 0 && layer < 25 {
            matrix("mlp.gate_proj", hidden, d);
            matrix("mlp.up_proj", hidden, d);
            matrix("mlp.down_proj", d, hidden);
        } else {
            matrix("mlp.router", n_experts, d);
            for expert in 0..n_experts {
                matrix(&format!("mlp.experts.{expert}.fc1"), 2 * hidden, d);
                matrix(&format!("mlp.experts.{expert}.fc2"), d, hidden);
            }
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push(Tensor::new(at(norm), "BF16", &[d], Fill::About(1.0)));
        }
    }
    Model {
        tensors,
        config: json!({
            "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": d, "intermediate_size": hidden,
            "num_hidden_layers": n_layers, "num_attention_heads": 9, "num_key_value_heads": 3, "num_local_experts": n_experts,
            "num_experts_per_tok": 2, "vocab_size": vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "rope_theta": 100000.0, "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0
        }),
        sidecar: json!({"fc_gate_last": false}),
        vocab,
        special: &["<|endoftext|>"],
    }
}

/// MTLM1-200M by the likeliest of the sizes that fit its count: 28 layers of 768, the head stored as well.
fn mtlm1() -> Model {
    let (vocab, d, hidden, n_layers) = (32_000, 768, 1280, 28);
    let mut tensors = Vec::new();
    let matrix =
        |name: String, rows: usize, cols: usize| Tensor::matrix(name, "F32", &[rows, cols], cols);
    tensors.push(matrix("tok_emb.weight".into(), vocab, d));
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}.weight");
        tensors.push(Tensor::new(at("norm1"), "F32", &[d], Fill::About(1.0)));
        tensors.push(matrix(at("attn.qkv"), 3 * d, d));
        tensors.push(matrix(at("attn.o_proj"), d, d));
        tensors.push(Tensor::new(at("norm2"), "F32", &[d], Fill::About(1.0)));
        tensors.push(matrix(at("mlp.w1"), hidden, d));
        tensors.push(matrix(at("mlp.w2"), hidden, d));
        tensors.push(matrix(at("mlp.w3"), d, hidden));
    }
    tensors.push(Tensor::new("norm_f.weight", "F32", &[d], Fill::About(1.0)));
    tensors.push(matrix("lm_head.weight".into(), vocab, d));
    Model {
        tensors,
        config: json!({"vocab_size": vocab, "d_model": d, "n_heads": 12, "n_layers": n_layers, "max_seq_len": 1024}),
        sidecar: json!({"rope_interleaved": true}),
        vocab,
        special: &["<unk>", "<s>", "</s>"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(model: &Model) -> usize {
        model.tensors.iter().map(Tensor::len).sum()
    }

    /// The counts that the authors publish.
    #[test]
    fn counts_are_the_published_ones() {
        assert_eq!(
            (metis().tensors.len(), elements(&metis())),
            (268, 898_051_168)
        );
        let packed = ssmoelm();
        let data: usize = packed.tensors.iter().map(Tensor::n_bytes).sum();
        let bytes = data + header(&packed.tensors).len() + 8;
        assert_eq!(
            (elements(&packed) + 50_000) / 100_000,
            119,
            "11.9 M elements"
        );
        assert_eq!((bytes + 50_000) / 100_000, 121, "12.1 MB");
        assert_eq!(elements(&neo3()) / 1_000_000, 1130);
        assert_eq!(elements(&mtlm1()) / 1_000_000, 197);
    }

    #[test]
    fn halves_are_those_of_ieee_754() {
        for (value, bits) in [
            (1.0, 0x3C00),
            (-2.0, 0xC000),
            (0.5, 0x3800),
            (0.1, 0x2E66),
            (0.0, 0),
        ] {
            assert_eq!(half_bits(value), bits, "{value}");
        }
    }
}
