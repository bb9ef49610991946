use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::math::eigenpairs;

/// Columns per parallel piece. Fixed, so that results do not depend on the number of threads.
const PIECE: usize = 64;
/// The widest span of differences that is kept whole: a full eigendecomposition of this size takes seconds.
const EXACT: usize = 1024;
/// Coordinates that are kept of a wider one. The ridge leaves next to nothing of the weights on the rest.
const COORDINATES: usize = 768;
/// Pairs at most that the choice of coordinates looks at.
const SAMPLE: usize = 8192;
/// Steps of subspace iteration.
const POWERS: usize = 3;

/// Embeddings in the coordinates in which learning W is nearly diagonal.
///
/// Let S = E[(h₁ − h₂)(h₁ − h₂)ᵀ] over distinct pairs, D² = m √diag S with m the mean of √diag S, and
/// D⁻¹SD⁻¹ = U diag(s) Uᵀ. Then z = UᵀD⁻¹h has second moment diag(s) over the pairs, and a head W̃ (J × r) on z is the
/// head W = W̃UᵀD⁻¹ on h. Coordinates in which no pair differs are left out: nothing can be learned of them, and W is
/// zero there; of very many coordinates those in which pairs differ most are kept. Both penalties of the objective become
/// diagonal, Σ_k (γ s_k + α) ‖w̃_k‖².
///
/// D is half way between two extremes. A plain ridge on W (D² = m² I) trusts a feature by its variance, and one that
/// happens to be measured in thousands drowns the rest; standardised features (D² = diag S) count alike, rare n-grams
/// as much as length. Embeddings of any overall scale give the same fit.
#[derive(Debug)]
pub(super) struct Basis {
    /// z of every text (r × texts).
    z: DMatrix<f64>,
    /// The same transposed (texts × r).
    z_transposed: DMatrix<f64>,
    /// s (r), descending.
    pub(super) moments: DVector<f64>,
    /// UᵀD⁻¹ (r × d)
    fold: DMatrix<f64>,
}

impl Basis {
    /// The basis of embeddings (texts × d) for pairs of texts.
    pub(super) fn new(embeddings: &DMatrix<f64>, pairs: &[(usize, usize)]) -> Self {
        let n = pairs.len() as f64;
        let square = |k: usize| -> f64 {
            let column = embeddings.column(k);
            pairs.iter().map(|&(first, second)| (column[first] - column[second]).powi(2)).sum()
        };
        let deviation: Vec<f64> =
            (0..embeddings.ncols()).into_par_iter().map(|k| (square(k) / n).sqrt()).collect();
        let floor = 1e-12 * deviation.iter().fold(0.0_f64, |m, &x| m.max(x));
        let mean = deviation.iter().sum::<f64>() / deviation.len() as f64;
        let scale: Vec<f64> =
            deviation.iter().map(|&x| if x > floor { 1.0 / (x * mean).sqrt() } else { 0.0 }).collect();
        let (moments, mut fold) = principal(embeddings, &scale, pairs);
        fold.column_iter_mut().zip(&scale).for_each(|(mut column, scale)| column *= *scale);
        let z_transposed = product(embeddings, &fold.transpose());
        Self { z: z_transposed.transpose(), z_transposed, moments, fold }
    }

    /// r
    pub(super) fn rank(&self) -> usize {
        self.moments.len()
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.z.ncols()
    }

    /// W̃z of every text: J × texts.
    pub(super) fn project(&self, head: &DMatrix<f64>) -> DMatrix<f64> {
        product(head, &self.z)
    }

    /// Σ_t o_t z_tᵀ for o (J × texts): J × r.
    pub(super) fn collect(&self, o: &DMatrix<f64>) -> DMatrix<f64> {
        product(o, &self.z_transposed)
    }

    /// W = W̃UᵀD⁻¹ (J × d)
    pub(super) fn unfold(&self, head: &DMatrix<f64>) -> DMatrix<f64> {
        head * &self.fold
    }

    /// w (d) of a single w̃ (1 × r).
    pub(super) fn unfold_one(&self, head: &DMatrix<f64>) -> DVector<f64> {
        self.unfold(head).row(0).transpose()
    }
}

/// Eigenvalues of S = E[(g₁ − g₂)(g₁ − g₂)ᵀ] over pairs, g = D⁻¹h, descending, and its eigenvectors as rows (r × d):
/// all that are not zero where there are at most [`EXACT`], and else nearly the first [`COORDINATES`].
fn principal(h: &DMatrix<f64>, scale: &[f64], pairs: &[(usize, usize)]) -> (DVector<f64>, DMatrix<f64>) {
    let d = h.ncols();
    let smallest = pairs.len().min(h.nrows()).min(d);
    if smallest > EXACT {
        return leading(h, scale, pairs);
    }
    if smallest == d {
        let (values, vectors) = eigen(scaled(second_moment(h, pairs), scale));
        return (values, vectors.transpose());
    }
    // S = AᵀA for a factor A of as many rows as there are pairs or texts. If AAᵀv = sv, then Aᵀv/√s is an eigenvector of S.
    let mut factor = if smallest == pairs.len() {
        differences(h, pairs) / (pairs.len() as f64).sqrt()
    } else {
        root_of_moments(h.nrows(), pairs).tr_mul(h)
    };
    factor.column_iter_mut().zip(scale).for_each(|(mut column, scale)| column *= *scale);
    let (values, vectors) = eigen(&factor * factor.transpose());
    let mut rows = vectors.tr_mul(&factor);
    rows.row_iter_mut().zip(&values).for_each(|(mut row, value)| row /= value.sqrt());
    (values, rows)
}

/// Subspace iteration from a random start (Halko, Martinsson, Tropp 2011) with S of at most [`SAMPLE`] pairs. Within the
/// subspace found the moments and directions are those of all pairs.
fn leading(h: &DMatrix<f64>, scale: &[f64], pairs: &[(usize, usize)]) -> (DVector<f64>, DMatrix<f64>) {
    let every = pairs.len().div_ceil(SAMPLE);
    let sample: Vec<(usize, usize)> = pairs.iter().copied().step_by(every).collect();
    let moment = scaled(second_moment(h, &sample), scale);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut span = DMatrix::from_fn(h.ncols(), COORDINATES, |_, _| rng.random::<f64>() - 0.5);
    for _ in 0..POWERS {
        span = product(&moment, &span).qr().q();
    }
    let mut unscaled = span.clone();
    unscaled.row_iter_mut().zip(scale).for_each(|(mut row, scale)| row *= *scale);
    let (values, rotation) = eigen(second_moment(&product(h, &unscaled), pairs));
    (values, rotation.tr_mul(&span.transpose()))
}

/// D⁻¹SD⁻¹
fn scaled(mut moment: DMatrix<f64>, scale: &[f64]) -> DMatrix<f64> {
    moment.column_iter_mut().zip(scale).for_each(|(mut column, scale)| column *= *scale);
    moment.row_iter_mut().zip(scale).for_each(|(mut row, scale)| row *= *scale);
    moment
}

/// Eigenvalues that are not zero, descending, and their eigenvectors as columns.
fn eigen(matrix: DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
    let (values, vectors) = eigenpairs(matrix);
    let least = 1e-9 * values.iter().next().unwrap_or(&0.0);
    let kept = values.iter().take_while(|value| **value > least).count();
    (values.rows(0, kept).into_owned(), vectors.columns(0, kept).into_owned())
}

/// L (texts × texts, lower) with LLᵀ = E[(e₁ − e₂)(e₁ − e₂)ᵀ] over pairs, e_t the unit vector of a text: S = GᵀLLᵀG.
///
/// That matrix is the Laplacian of who was compared with whom. It is singular (texts that are compared among
/// themselves can all gain alike), and its Cholesky factor has a zero column for each such group.
fn root_of_moments(texts: usize, pairs: &[(usize, usize)]) -> DMatrix<f64> {
    let share = 1.0 / pairs.len() as f64;
    let mut root: DMatrix<f64> = DMatrix::zeros(texts, texts);
    for &(first, second) in pairs {
        root[(first, first)] += share;
        root[(second, second)] += share;
        root[(first.max(second), first.min(second))] -= share;
    }
    let least = 1e-12 * root.diagonal().max();
    for k in 0..texts {
        let pivot = root[(k, k)];
        let mut column = root.column(k).rows(k, texts - k).into_owned();
        column *= if pivot > least { 1.0 / pivot.sqrt() } else { 0.0 };
        root.column_mut(k).rows_mut(k, texts - k).copy_from(&column);
        for j in k + 1..texts {
            let by = column[j - k];
            if by != 0.0 {
                root.column_mut(j).rows_mut(j, texts - j).axpy(-by, &column.rows(j - k, texts - j), 1.0);
            }
        }
        root.column_mut(k).rows_mut(0, k).fill(0.0);
    }
    root
}

/// E[(h₁ − h₂)(h₁ − h₂)ᵀ] over pairs: d × d.
fn second_moment(h: &DMatrix<f64>, pairs: &[(usize, usize)]) -> DMatrix<f64> {
    let d = h.ncols();
    let mut moment = DMatrix::zeros(d, d);
    for piece in pairs.chunks(1024) {
        let differences = differences(h, piece);
        moment += product(&differences.transpose(), &differences);
    }
    moment / pairs.len().max(1) as f64
}

/// h₁ − h₂ of pairs: pairs × d.
fn differences(h: &DMatrix<f64>, pairs: &[(usize, usize)]) -> DMatrix<f64> {
    DMatrix::from_fn(pairs.len(), h.ncols(), |p, k| h[(pairs[p].0, k)] - h[(pairs[p].1, k)])
}

/// A B, pieces of B's columns in parallel.
fn product(a: &DMatrix<f64>, b: &DMatrix<f64>) -> DMatrix<f64> {
    let mut result = DMatrix::zeros(a.nrows(), b.ncols());
    let rows = a.nrows();
    if rows == 0 || b.ncols() == 0 {
        return result;
    }
    result.as_mut_slice().par_chunks_mut(rows * PIECE).enumerate().for_each(|(piece, out)| {
        let columns = out.len() / rows;
        let part = a * b.columns(piece * PIECE, columns);
        out.copy_from_slice(part.as_slice());
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fewer pairs than texts and dimensions, fewer texts than pairs and dimensions, fewer dimensions than either.
    #[test]
    fn over_the_pairs_z_has_its_moments_on_the_diagonal_and_loses_nothing_by_any_route() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (texts, pairs, d, rank) in [(20, 12, 30, 12), (8, 27, 30, 7), (20, 60, 9, 9)] {
            let h = DMatrix::from_fn(texts, d, |_, _| rng.random::<f64>() - 0.5);
            let mut every: Vec<(usize, usize)> =
                (0..texts).flat_map(|a| (a + 1..texts).map(move |b| (a, b))).collect();
            every.sort_by_key(|&(a, b)| (b - a, a));
            every.truncate(pairs);
            let basis = Basis::new(&h, &every);
            assert_eq!(basis.rank(), rank, "{texts} texts, {pairs} pairs, d = {d}");
            let moment = second_moment(&basis.z_transposed, &every);
            let expected = DMatrix::from_diagonal(&basis.moments);
            assert!((moment - expected).amax() < 1e-10 * basis.moments[0], "{texts}, {pairs}, {d}");
            assert!(basis.moments.as_slice().is_sorted_by(|a, b| a >= b));
            // What differs between compared texts can be had back from z: D⁻¹(h₁ − h₂) lies in the span of U.
            let total: f64 = basis.moments.iter().sum();
            let scaled = second_moment(&h, &every).diagonal();
            let mean = scaled.iter().map(|v| v.sqrt()).sum::<f64>() / d as f64;
            let trace: f64 = scaled.iter().map(|v| v / (v.sqrt() * mean)).sum();
            assert!((total - trace).abs() < 1e-10 * trace, "{total} {trace}");
        }
    }

    /// Differences that lie in 40 of 1,100 dimensions, and little else beside.
    #[test]
    fn of_many_coordinates_those_are_kept_in_which_pairs_differ_most() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut draw = |rows, columns| DMatrix::from_fn(rows, columns, |_, _| rng.random::<f64>() - 0.5);
        let h = draw(1_200, 40) * draw(40, 1_100) + draw(1_200, 1_100) * 0.01;
        let pairs: Vec<(usize, usize)> = (0..1_200).map(|t| (t, (t * 7 + 1) % 1_200)).collect();
        let basis = Basis::new(&h, &pairs);
        assert_eq!(basis.rank(), COORDINATES);
        let moment = second_moment(&basis.z_transposed, &pairs);
        assert!((moment - DMatrix::from_diagonal(&basis.moments)).amax() < 1e-10 * basis.moments[0]);
        let first: f64 = basis.moments.iter().take(40).sum();
        let all: f64 = basis.moments.iter().sum();
        assert!(first > 0.998 * all && basis.moments[40] < 0.01 * basis.moments[39], "{first} of {all}");
    }
}
