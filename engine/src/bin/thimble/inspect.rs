//! `thimble inspect`: what is in a model file, also in one that Thimble cannot run.

use std::{collections::BTreeMap, path::Path};

use engine::{
    Source,
    weights::{Dtype, Tensor, gguf, metadata::Value, safetensors, torch},
};

use crate::terminal::{Failure, say, sources};

/// What a model's headers say.
struct Contents {
    /// `SmolLM2.gguf, GGUF version 3, 98,362,432 bytes`
    files: Vec<String>,
    architecture: Option<String>,
    settings: Vec<(String, String)>,
    tensors: Vec<Tensor>,
}

/// Prints the contents of a file or folder.
pub async fn inspect(path: &Path) -> Result<(), Failure> {
    let contents = read(&sources(path)?).await?;
    say(&describe(&contents))
}

async fn read(sources: &[Source]) -> Result<Contents, Failure> {
    let mut contents = Contents {
        files: Vec::new(),
        architecture: None,
        settings: Vec::new(),
        tensors: Vec::new(),
    };
    for (file, source) in sources.iter().enumerate() {
        let name = source.name().to_string();
        let kind = if name.ends_with(".safetensors") {
            let header = safetensors::open(source, file).await?;
            contents.tensors.extend(header.tensors);
            for setting in header.metadata.into_iter().map(|(k, v)| (k, shortened(&v))) {
                // Each shard says the same.
                if !contents.settings.contains(&setting) {
                    contents.settings.push(setting);
                }
            }
            "safetensors".to_string()
        } else if torch::is_torch(&name) {
            let header = torch::open(source, file).await?;
            contents.tensors.extend(header.tensors);
            contents.settings.extend(header.metadata);
            "PyTorch".to_string()
        } else if name == "config.json" {
            read_config(&mut contents, &source.read_all().await?)?;
            "settings".to_string()
        } else if name.ends_with(".json") || name.ends_with(".jinja") {
            "tokenizer and text".to_string()
        } else {
            let gguf = gguf::open(source, file).await?;
            contents.architecture = gguf
                .metadata
                .str("general.architecture")
                .ok()
                .map(String::from);
            contents
                .settings
                .extend(gguf.metadata.iter().map(|(k, v)| (k.to_string(), shown(v))));
            contents.tensors.extend(gguf.tensors);
            format!("GGUF version {}", gguf.version)
        };
        contents
            .files
            .push(format!("{name}, {kind}, {} bytes", grouped(source.len())));
    }
    Ok(contents)
}

/// `config.json`: nested values as JSON.
fn read_config(contents: &mut Contents, json: &[u8]) -> Result<(), Failure> {
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)
        .map_err(|e| Failure::Said(format!("config.json is not a JSON object: {e}")))?;
    let architecture = config
        .get("architectures")
        .and_then(|a| a.get(0))
        .or(config.get("model_type"));
    contents.architecture = architecture.and_then(|a| a.as_str()).map(String::from);
    contents.settings.extend(
        config
            .into_iter()
            .map(|(k, v)| (k, shortened(&v.to_string()))),
    );
    Ok(())
}

fn describe(contents: &Contents) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    for file in &contents.files {
        line(file);
    }
    line(&format!(
        "architecture: {}",
        contents.architecture.as_deref().unwrap_or("not said")
    ));
    let n: u64 = contents
        .tensors
        .iter()
        .map(n_weights)
        .fold(0, u64::saturating_add);
    line(&format!(
        "parameters: {} in {} tensors",
        grouped(n),
        contents.tensors.len()
    ));
    line("\nformats");
    for (format, (count, n, n_bytes)) in formats(&contents.tensors) {
        let bits = n_bytes as f64 * 8.0 / (n.max(1)) as f64;
        line(&format!(
            "  {format:<8} {count:>5} tensors {:>16} weights {:>16} bytes {bits:>6.2} bits each",
            grouped(n),
            grouped(n_bytes)
        ));
    }
    line("\nsettings");
    for (key, value) in &contents.settings {
        line(&format!("  {key} = {value}"));
    }
    line("\ntensors");
    let width = contents
        .tensors
        .iter()
        .map(|t| t.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(60);
    for t in &contents.tensors {
        let n_bytes = grouped(t.range.end - t.range.start);
        line(&format!(
            "  {:<width$} {:<8} {:<16} {n_bytes:>14} bytes",
            t.name,
            format_name(t),
            format!("{:?}", t.shape)
        ));
    }
    out
}

/// Per format: tensors, weights, bytes.
fn formats(tensors: &[Tensor]) -> BTreeMap<String, (usize, u64, u64)> {
    let mut formats = BTreeMap::new();
    for t in tensors {
        let (count, n, n_bytes) = formats.entry(format_name(t)).or_insert((0, 0u64, 0));
        *count += 1;
        *n = n.saturating_add(n_weights(t));
        *n_bytes += t.range.end - t.range.start;
    }
    formats
}

fn format_name(tensor: &Tensor) -> String {
    match &tensor.dtype {
        Ok(Dtype::Planes(planes)) => planes.format.stem().to_uppercase(),
        Ok(known) => format!("{known:?}").to_uppercase(),
        Err(name) => name.clone(),
    }
}

/// The shape of a tensor of unknown format is not checked against its size, so the product may be anything.
fn n_weights(tensor: &Tensor) -> u64 {
    tensor
        .shape
        .iter()
        .fold(1, |n: u64, d| n.saturating_mul(*d as u64))
}

fn shown(value: &Value) -> String {
    fn list<T: std::fmt::Debug>(items: &[T]) -> String {
        let first = items
            .iter()
            .take(4)
            .map(|item| shortened(&format!("{item:?}")));
        let mut parts: Vec<String> = first.collect();
        if items.len() > 4 {
            parts.push("…".into());
        }
        format!("{} items: {}", items.len(), parts.join(", "))
    }
    match value {
        Value::Uint(n) => n.to_string(),
        Value::Int(n) => n.to_string(),
        // Most are f32 in the file, and shortest as such.
        Value::Float(x) if f64::from(*x as f32) == *x => format!("{:?}", *x as f32),
        Value::Float(x) => format!("{x:?}"),
        Value::Bool(b) => b.to_string(),
        Value::Str(text) => shortened(&format!("{text:?}")),
        Value::Strings(items) => list(items),
        Value::Ints(items) => list(items),
        Value::Bytes(items) => list(items),
        Value::Floats(items) => list(items),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}… ({} characters)", &text[..at], text.chars().count()),
        None => text.to_string(),
    }
}

/// 98362432 → 98,362,432
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
