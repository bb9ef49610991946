//! The start of the factorization: a low-rank completion of the users × pairs matrix (Algorithm 1, line 1).

use nalgebra::DMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cells::{ByPair, Outcome};

/// A ≈ U diag(d) Vᵀ with orthonormal U (users × J) and V (pairs × J).
#[derive(Debug, Clone)]
pub(super) struct LowRank {
    pub(super) users: DMatrix<f64>,
    /// After the threshold; descending.
    pub(super) values: Vec<f64>,
    pub(super) pairs: DMatrix<f64>,
}

/// Observed entries of a matrix, in the order of rows and once more in that of columns.
pub(super) struct Sparse {
    by_row: Lines,
    by_column: Lines,
}

/// Rows, or columns, one after the other.
struct Lines {
    /// Where each begins, and one end.
    starts: Vec<usize>,
    /// (column, entry), or (row, entry).
    entries: Vec<(u32, f64)>,
}

/// How far the singular values may still move, relative to the largest, at the end.
const TOLERANCE: f64 = 1e-7;
/// Lines that a thread takes at a time.
const PIECE: usize = 64;

impl Sparse {
    /// The entries 2a − 1 ∈ \[−1, 1\] of outcomes sorted by user. No row or column mean is removed.
    pub(super) fn of_outcomes(outcomes: &[Outcome], user_starts: &[usize], by_pair: &ByPair) -> Self {
        let entry = |o: &Outcome| 2.0 * o.preference - 1.0;
        let by_row = Lines {
            starts: user_starts.to_vec(),
            entries: outcomes.iter().map(|o| (o.pair as u32, entry(o))).collect(),
        };
        let mut by_column = Lines { starts: vec![0], entries: Vec::with_capacity(outcomes.len()) };
        for pair in 0..by_pair.pairs() {
            let raters = by_pair.of(pair).iter().map(|&(cell, user)| (user as u32, entry(&outcomes[cell])));
            by_column.entries.extend(raters);
            by_column.starts.push(by_column.entries.len());
        }
        Self { by_row, by_column }
    }
}

impl Lines {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// C (S − P_Ω(AᵀB))ᵀ for A (J × lines) and B, C (J × length of a line): J × lines.
    fn residual_times(&self, a: &DMatrix<f64>, b: &DMatrix<f64>, c: &DMatrix<f64>) -> DMatrix<f64> {
        let j = c.nrows();
        let (a, b, c) = (a.as_slice(), b.as_slice(), c.as_slice());
        let mut out = DMatrix::zeros(j, self.len());
        out.as_mut_slice().par_chunks_mut(j * PIECE).enumerate().for_each(|(piece, sums)| {
            for (k, sum) in sums.chunks_exact_mut(j).enumerate() {
                let line = piece * PIECE + k;
                let own = &a[line * j..][..j];
                for &(other, x) in &self.entries[self.starts[line]..self.starts[line + 1]] {
                    let at = other as usize * j;
                    let z: f64 = own.iter().zip(&b[at..][..j]).map(|(a, b)| a * b).sum();
                    sum.iter_mut().zip(&c[at..][..j]).for_each(|(s, c)| *s += (x - z) * c);
                }
            }
        });
        out
    }
}

/// Soft-impute (Mazumder, Hastie, Tibshirani 2010) of rank at most J, from zero.
///
/// Repeats Z ← the rank-J singular value decomposition of P_Ω(X) + P_Ω⊥(Z) with singular values shrunk by τ, whose fixed
/// points minimise ½‖P_Ω(X − Z)‖² + τ‖Z‖_*. The filled-in matrix equals P_Ω(X − Z) + Z, sparse plus low rank, and is
/// never formed: each round makes one step of subspace iteration with it, at a cost linear in the observed entries.
///
/// τ is `threshold` times the largest singular value of P_Ω(X).
pub(super) fn soft_impute(x: &Sparse, rank: usize, threshold: f64, rounds: usize, seed: u64) -> LowRank {
    let (rows, columns) = (&x.by_row, &x.by_column);
    let rank = rank.min(rows.len()).min(columns.len()).max(1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // U and V are kept transposed, a component a row: J × users and J × pairs.
    let mut v = orthonormal(&DMatrix::from_fn(rank, columns.len(), |_, _| rng.random::<f64>() - 0.5));
    // A few steps on P_Ω(X) alone give τ and the first subspace.
    let mut largest = 0.0;
    let mut u = DMatrix::zeros(rank, rows.len());
    let (no_u, no_v) = (u.clone(), DMatrix::zeros(rank, columns.len()));
    for _ in 0..20 {
        u = orthonormal(&rows.residual_times(&no_u, &v, &v));
        let b = columns.residual_times(&no_v, &u, &u);
        let (left, values) = rotate(&b, &mut u);
        v = left;
        largest = values[0];
    }
    let tau = threshold * largest;
    let mut d = vec![0.0; rank];
    for _ in 0..rounds {
        let scaled = scale(&u, &d);
        let mut next = orthonormal(&(rows.residual_times(&scaled, &v, &v) + &scaled));
        let overlap = &next * scaled.transpose();
        let b = columns.residual_times(&v, &scaled, &next) + overlap * &v;
        let (left, values) = rotate(&b, &mut next);
        (u, v) = (next, left);
        let shrunk: Vec<f64> = values.iter().map(|s| (s - tau).max(0.0)).collect();
        let change = shrunk.iter().zip(&d).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        d = shrunk;
        if change <= TOLERANCE * largest {
            break;
        }
    }
    LowRank { users: u.transpose(), values: d, pairs: v.transpose() }
}

/// The rows of A replaced by an orthonormal basis of their span (J × n, J ≤ n).
fn orthonormal(a: &DMatrix<f64>) -> DMatrix<f64> {
    a.transpose().qr().q().transpose()
}

/// From B = Vᵀ-side product (J × n) for the basis U: the right factor (J × n, orthonormal rows) and singular values,
/// descending; turns U's rows to match.
fn rotate(b: &DMatrix<f64>, u: &mut DMatrix<f64>) -> (DMatrix<f64>, Vec<f64>) {
    let qr = b.transpose().qr();
    let (q, r) = (qr.q(), qr.r());
    // Bᵀ = Q R; R = P diag(s) Tᵀ; hence B = T diag(s) (QP)ᵀ.
    let svd = r.svd(true, true);
    let (Some(p), Some(t)) = (svd.u, svd.v_t) else {
        return (b.clone(), vec![0.0; b.nrows()]);
    };
    *u = t * &*u;
    ((q * p).transpose(), svd.singular_values.iter().copied().collect())
}

fn scale(u: &DMatrix<f64>, d: &[f64]) -> DMatrix<f64> {
    DMatrix::from_fn(u.nrows(), u.ncols(), |j, i| u[(j, i)] * d[j])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const REFERENCE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/soft_impute.json"));

    /// `tests/reference/soft_impute.py`: a full singular value decomposition of the dense matrix every round.
    #[test]
    fn meets_the_dense_definition() {
        let reference: Value = serde_json::from_str(REFERENCE).expect("JSON");
        let count = |name: &str| reference[name].as_u64().expect("a count") as usize;
        let (rows, columns) = (count("rows"), count("columns"));
        let mut row_starts = vec![0; rows + 1];
        let mut outcomes = Vec::new();
        for cell in reference["cells"].as_array().expect("cells") {
            let (row, pair) =
                (cell[0].as_u64().expect("row") as usize, cell[1].as_u64().expect("column") as usize);
            row_starts[row + 1] += 1;
            outcomes.push(Outcome {
                pair,
                preference: 0.5 + 0.5 * cell[2].as_f64().expect("entry"),
                weight: 1.0,
            });
        }
        (0..rows).for_each(|row| row_starts[row + 1] += row_starts[row]);
        let by_pair = ByPair::new(&outcomes, &row_starts, columns);
        let sparse = Sparse::of_outcomes(&outcomes, &row_starts, &by_pair);
        let threshold = reference["threshold"].as_f64().expect("a number");
        let LowRank { users, values, pairs } = soft_impute(&sparse, count("rank"), threshold, 20_000, 1);
        for (value, expected) in values.iter().zip(reference["values"].as_array().expect("values")) {
            assert!((value - expected.as_f64().expect("a number")).abs() < 1e-5, "{value} {expected}");
        }
        let completed = users * DMatrix::from_diagonal(&values.into()) * pairs.transpose();
        for i in 0..rows {
            for j in 0..columns {
                let expected = reference["completed"][i][j].as_f64().expect("a number");
                assert!(
                    (completed[(i, j)] - expected).abs() < 1e-5,
                    "({i}, {j}): {} {expected}",
                    completed[(i, j)]
                );
            }
        }
    }
}
