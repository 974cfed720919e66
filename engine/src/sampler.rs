//! What a request may ask of the sampler.

/// Sampling settings. Mirrors `Sampling` in shaders/sample.wgsl.
///
/// Applied in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p, draw.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Sampling {
    /// 0 picks the most likely token; the others are then ignored, save the penalty.
    pub temperature: f32,
    /// Keep the `k` most likely tokens (and those that tie with the last of them); 0 keeps all.
    pub top_k: u32,
    /// Keep the most likely tokens until their probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive logits and multiplies negative ones of tokens already in the context; 1 is off
    /// (Keskar et al. 2019).
    pub repetition_penalty: f32,
    /// The same seed, settings and prompt give the same text on the same backend.
    pub seed: u32,
}
