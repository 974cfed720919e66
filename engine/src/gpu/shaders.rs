//! The files of shaders/, and how a list of them becomes one module.
//!
//! WGSL allows use before declaration, so a kernel is a list of files, concatenated; a role (the weight's
//! format, the reduction, what happens to a result) is filled by choosing which file goes in.

/// Every file, by its name without `.wgsl`.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../shaders/", $name, ".wgsl")))),*]
    };
}

/// `(name, source)` of every file in shaders/.
pub const FILES: &[(&str, &str)] = files![
    "step",
    "matrix",
    "formats/f32",
    "formats/halves",
    "formats/f16",
    "formats/bf16",
    "formats/q8",
    "formats/q4",
    "formats/i4",
    "formats/b1",
    "formats/i4_b1",
    "input/aligned",
    "input/ragged",
    "epilogue/plain",
    "epilogue/bias",
    "epilogue/add",
    "reduce/none",
    "reduce/shared",
    "reduce/subgroup",
    "embed",
    "rms_norm",
    "addend/none",
    "addend/given",
    "layer_norm",
    "fourier",
    "conv",
    "scale",
    "gate",
    "path_weights",
    "blend",
    "dot",
    "norm/none",
    "norm/deferred",
    "gain/none",
    "gain/given",
    "router/none",
    "router/f32",
    "router/f16",
    "router/bf16",
    "tail/none",
    "tail/norm",
    "tail/candidates",
    "matvec",
    "rows/straight",
    "rows/four",
    "dots",
    "block",
    "tile",
    "staged",
    "matmul",
    "phases/none",
    "phases/given",
    "rotary",
    "rope",
    "place",
    "store",
    "store_halves",
    "kept/floats",
    "kept/halves",
    "cache/floats",
    "cache/halves",
    "map",
    "similarity/dot",
    "similarity/neg_sq_dist",
    "similarity/mahalanobis",
    "lengths/none",
    "lengths/divided",
    "alpha/none",
    "alpha/given",
    "balls/none",
    "balls/given",
    "span/whole",
    "span/chunks",
    "attention",
    "flash_attention",
    "functions/silu",
    "functions/gelu",
    "functions/gelu_erf",
    "functions/relu",
    "functions/relu_squared",
    "functions/sigmoid",
    "factor/none",
    "factor/given",
    "activate",
    "scores/softmax",
    "scores/sigmoid",
    "scores/unbiased",
    "scores/biased",
    "choose",
    "route",
    "routing/given",
    "routing/deferred",
    "experts",
    "gather",
    "expert_matvec",
    "expert_matmul",
    "combine",
    "add",
    "last",
    "logit",
    "candidates",
    "select",
    "sample",
    "stream",
    "fused/gated_matvec",
    "fused/gated_matmul",
    "fused/rope_store",
    "fused/attention_input",
    "fused/embed_norm",
    "fused/gated_experts",
    "fused/combined_experts",
];

/// The WGSL of a list of files.
pub fn source(files: &[&str]) -> String {
    let mut text = String::new();
    for name in files {
        let (_, body) = FILES
            .iter()
            .find(|(file, _)| file == name)
            .unwrap_or_else(|| panic!("shaders/{name}.wgsl is not listed in FILES"));
        text.push_str(body);
        text.push('\n');
    }
    text
}
