//! What attention scores by: a dot product, or a distance with learned parameters.

use super::Weight;

/// How attention scores a key for a query: `alpha · scale · similarity(q, k)`, per head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// What makes the two alike.
    pub similarity: Similarity,
    /// Factor of the score that all heads share, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Factor of the score of each head, `[1, n_heads]`.
    pub alpha: Option<Parameter>,
    /// With squared distances: the weight of each dimension, `[1, n_heads · head_dim]`.
    pub diagonal: Option<Parameter>,
    /// Which keys count at all.
    pub balls: Option<Balls>,
}

impl Metric {
    /// `scale · q·k`
    pub fn dot(scale: f32) -> Self {
        Self {
            similarity: Similarity::Dot,
            scale,
            alpha: None,
            diagonal: None,
            balls: None,
        }
    }

    /// Whether scores are dot products, each times a factor of its head.
    pub fn is_product(&self) -> bool {
        self.similarity == Similarity::Dot && self.balls.is_none()
    }

    /// The weights of its parameters.
    pub fn weights(&self) -> impl Iterator<Item = Weight> {
        let balls = self.balls.map(|balls| [balls.origins, balls.radii.w]);
        let parameters = self.alpha.into_iter().chain(self.diagonal);
        parameters
            .map(|parameter| parameter.w)
            .chain(balls.into_iter().flatten())
    }
}

/// What makes a query and a key alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// `q · k`
    Dot,
    /// `−‖q − k‖²`; with a diagonal metric `−Σ_c m_c (q_c − k_c)²` (Mahalanobis 1936).
    NegSqDist,
    /// `q·k / (‖q‖ ‖k‖)`
    Cosine,
}

/// Ball pruning: a key farther than a head's radius from that head's origin scores [`Balls::OUTSIDE`],
/// whatever the query. Where all keys do, they count the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Balls {
    /// `[1, n_heads · head_dim]`
    pub origins: Weight,
    /// `[1, n_heads]`
    pub radii: Parameter,
}

impl Balls {
    /// The score of a key outside: so low that one key inside makes its weight 0, and finite.
    /// Mirrors `OUTSIDE` in shaders/balls/given.wgsl.
    pub const OUTSIDE: f32 = -1e30;
}

/// A learned vector, and the function that keeps what it stands for in bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// `[1, width]`, as stored.
    pub w: Weight,
    /// From what is stored to what is meant.
    pub map: Map,
}

/// Element-wise functions of parameters. Mirrors `mapped` in shaders/map.wgsl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Map {
    /// `x`
    Identity,
    /// `exp(x)`
    Exp,
    /// `ln(1 + exp(x))`
    Softplus,
    /// `2 · sigmoid(x)`: between 0 and 2, 1 in the middle.
    Gate,
}
