//! Random checkpoints with the names, shapes and number formats of published models, to measure loading,
//! memory and speed at full size without their weights. They write nonsense.

mod published;

use crate::{Result, sh::step};
use published::{metis, mtlm1, neo3, ssmoelm};
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
        const PIECE_BYTES: usize = 1 << 16;
        let mut buffer = Vec::with_capacity(PIECE_BYTES);
        for _ in 0..self.len() {
            match self.fill {
                Fill::Within(limit) => self.push(limit * random.float(), &mut buffer),
                Fill::About(middle) => {
                    self.push(middle * (1.0 + 0.1 * random.float()), &mut buffer);
                }
                Fill::Bytes => buffer.push(random.next() as u8),
                Fill::Whole(n) => buffer.extend(n.to_le_bytes()),
            }
            if buffer.len() >= PIECE_BYTES {
                out.write_all(&buffer)?;
                buffer.clear();
            }
        }
        out.write_all(&buffer)
    }

    fn push(&self, value: f32, buffer: &mut Vec<u8>) {
        match self.dtype {
            "F32" => buffer.extend(value.to_le_bytes()),
            "BF16" => buffer.extend(&value.to_le_bytes()[2..]),
            _ => buffer.extend(half_bits(value).to_le_bytes()),
        }
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
