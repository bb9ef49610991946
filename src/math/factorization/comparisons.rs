use nalgebra::DMatrix;

/// What is learned from: embedded texts and who preferred which.
#[derive(Debug, Clone, Copy)]
pub struct Comparisons<'a> {
    /// h(x, y) of every distinct text (texts × d).
    pub embeddings: &'a DMatrix<f64>,
    /// The judgments; a user's repeats of a pair are kept.
    pub observations: &'a [Observation],
    /// Number of users; users without judgments are allowed.
    pub users: usize,
    /// A fixed style measure of every text, with which a base function's correlation is positive; where there is
    /// none, the sign is that of the head's largest entry.
    pub style: Option<&'a [f64]>,
}

/// One judgment, by indices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Who judged: below the number of users.
    pub user: usize,
    /// y₁: a row of the embeddings.
    pub first: usize,
    /// y₂: another row.
    pub second: usize,
    /// a ∈ \[0, 1\]: 1 if the first was preferred, 0 if the second, ½ for a tie.
    pub preference: f64,
    /// w ≥ 0
    pub weight: f64,
}
