//! One side's factors, each row by itself, while the other side stands still.

use rayon::prelude::*;

use super::rows::{Entry, Rows};
use crate::math::cholesky;
use crate::math::logistic::{binary_cross_entropy, sigmoid};

/// Rows that a thread takes at a time.
const PIECE: usize = 64;
/// Entries whose factors are fetched together, so that the processor waits for many reads at once.
const BATCH: usize = 16;
/// Longest step, in logits, at which a whole Newton step surely lowers the loss: (eᴿ − R − 1)/R² is .72 at 1, and 1 at 1.79.
const WHOLE: f64 = 1.0;
/// Share of δ² that the bound may take up for a whole step to be kept: half is what the quadratic takes.
const KEPT: f64 = 0.9;

/// The rows of a matrix of judgments, the factors of its columns, and the ridge on what is moved.
///
/// Factors are kept in single precision, since fetching them is what a sweep waits for; all sums are in double.
#[derive(Clone, Copy)]
pub(super) struct Sweep<'a, const N: usize> {
    pub(super) rows: &'a Rows,
    pub(super) other: &'a [[f32; N]],
    pub(super) ridge: f64,
}

impl<const N: usize> Sweep<'_, N> {
    /// A Newton step on each row of `own`; tells by how much the objective surely fell.
    ///
    /// For f(u) = Σ w bce(σ(uᵀv), a) + (ρ/2)‖u‖² with gradient g and Hessian H, let d = H⁻¹g, δ² = gᵀd, x = dᵀv and
    /// R = max |x|. As |σ″| ≤ σ′ ≤ ¼, an entry's curvature at u − td is at most w/4 and at most e^{t|x|} w σ′(z), and so (as for
    /// the self-concordance of Bach 2010)
    ///
    /// f(u − td) ≤ f(u) − tδ² + Σ w min{σ′(z) (e^{t|x|} − 1 − t|x|), t²x²/8} + (ρ/2) t²‖d‖²
    ///           ≤ f(u) − tδ² + δ² (e^{tR} − 1 − tR) / R².
    ///
    /// The whole step, t = 1, is taken where the second bound with R ≤ ‖d‖ max ‖v‖ allows it, which costs nothing; else
    /// where the first does; else t = ln(1 + R)/R, at which the second is least.
    pub(super) fn newton(self, own: &mut [[f32; N]]) -> f64 {
        let radius = self.other.iter().map(squared_norm).fold(0.0, f64::max).sqrt();
        let pieces: Vec<f64> = own
            .par_chunks_mut(PIECE)
            .enumerate()
            .map_init(Vec::new, |curvatures, (piece, own)| {
                let rows = own.iter_mut().enumerate();
                rows.map(|(k, u)| self.step(self.rows.row(piece * PIECE + k), u, radius, curvatures)).sum()
            })
            .collect();
        pieces.iter().sum()
    }

    fn step(self, entries: &[Entry], u: &mut [f32; N], radius: f64, curvatures: &mut Vec<f64>) -> f64 {
        let (g, mut h) = self.derivatives(entries, &widened(u), curvatures);
        let mut d = g;
        if !cholesky::factor(h.as_flattened_mut(), N) {
            return 0.0;
        }
        cholesky::solve(h.as_flattened(), N, &mut d);
        let decrement = dot(&g, &d);
        let length = dot(&d, &d);
        let mut reach = radius * length.sqrt();
        let (mut t, mut spent) = (1.0, decrement * curved(reach));
        if reach > WHOLE {
            reach = 0.0;
            spent = 0.5 * self.ridge * length;
            self.visit(entries, &d, |batch, entries, x, _| {
                for ((e, x), c) in entries.iter().zip(x).zip(&curvatures[batch * BATCH..]) {
                    reach = reach.max(x.abs());
                    spent += (c * (x.abs().exp_m1() - x.abs())).min(0.125 * f64::from(e.weight) * x * x);
                }
            });
            if spent > KEPT * decrement {
                t = reach.ln_1p() / reach;
                spent = decrement * t * t * curved(t * reach);
            }
        }
        u.iter_mut().zip(&d).for_each(|(u, d)| *u = (f64::from(*u) - t * d) as f32);
        t * decrement - spent
    }

    /// g = Σ w (σ(z) − a) v + ρu, H = Σ w σ′(z) vvᵀ + ρI, and w σ′(z) of each entry. H's sum is in single precision: an
    /// error there changes the step by as little, and not where the steps end.
    fn derivatives(
        self,
        entries: &[Entry],
        u: &[f64; N],
        curvatures: &mut Vec<f64>,
    ) -> ([f64; N], [[f64; N]; N]) {
        let mut g = u.map(|u| self.ridge * u);
        let mut h = [[0.0_f32; N]; N];
        curvatures.clear();
        self.visit(entries, u, |number, entries, z, v| {
            let mut residuals = [0.0; BATCH];
            for ((e, z), r) in entries.iter().zip(z).zip(&mut residuals) {
                let (w, p) = (f64::from(e.weight), sigmoid(*z));
                *r = w * (p - f64::from(e.preference));
                curvatures.push(w * p * (1.0 - p));
            }
            for ((v, r), c) in v.iter().zip(&residuals).zip(&curvatures[number * BATCH..]) {
                let scaled = v.map(|v| *c as f32 * v);
                for k in 0..N {
                    g[k] += r * f64::from(v[k]);
                    for l in 0..N {
                        h[k][l] += v[k] * scaled[l];
                    }
                }
            }
        });
        let mut h = h.map(|row| row.map(f64::from));
        (0..N).for_each(|k| h[k][k] += self.ridge);
        (g, h)
    }

    /// The loss without the penalty, if asked for, and the largest absolute entry of the gradient with it.
    pub(super) fn evaluate<const LOSS: bool>(self, own: &[[f32; N]]) -> (f64, f64) {
        let rows = own.par_iter().enumerate();
        let of_rows: Vec<(f64, f64)> = rows
            .map(|(row, u)| {
                let u = widened(u);
                let (mut loss, mut g) = (0.0, u.map(|u| self.ridge * u));
                self.visit(self.rows.row(row), &u, |_, entries, z, v| {
                    for ((e, z), v) in entries.iter().zip(z).zip(v) {
                        let (w, a) = (f64::from(e.weight), f64::from(e.preference));
                        if LOSS {
                            loss += w * binary_cross_entropy(*z, a);
                        }
                        let r = w * (sigmoid(*z) - a);
                        g.iter_mut().zip(v).for_each(|(g, v)| *g += r * f64::from(*v));
                    }
                });
                (loss, g.iter().fold(0.0, |m, g| f64::max(m, g.abs())))
            })
            .collect();
        of_rows.iter().fold((0.0, 0.0), |(loss, largest), row| (loss + row.0, f64::max(largest, row.1)))
    }

    /// `own` becomes the product of the matrix of w(2a − 1) with the other side, in single precision: where to begin.
    pub(super) fn multiply(self, own: &mut [[f32; N]]) {
        own.par_chunks_mut(PIECE).enumerate().for_each(|(piece, own)| {
            for (k, u) in own.iter_mut().enumerate() {
                *u = [0.0; N];
                for e in self.rows.row(piece * PIECE + k) {
                    let x = e.weight * (2.0 * e.preference - 1.0);
                    u.iter_mut().zip(&self.other[e.column as usize]).for_each(|(u, v)| *u += x * v);
                }
            }
        });
    }

    /// Goes over a row's entries in batches: calls with the batch's number, its entries, u's product with the factors of
    /// each, and these factors.
    fn visit(
        self,
        entries: &[Entry],
        u: &[f64; N],
        mut each: impl FnMut(usize, &[Entry], &[f64], &[[f32; N]]),
    ) {
        let mut factors = [[0.0_f32; N]; BATCH];
        let mut products = [0.0; BATCH];
        for (number, batch) in entries.chunks(BATCH).enumerate() {
            for ((e, v), z) in batch.iter().zip(&mut factors).zip(&mut products) {
                *v = self.other[e.column as usize];
                *z = dot(u, &widened(v));
            }
            each(number, batch, &products[..batch.len()], &factors[..batch.len()]);
        }
    }
}

/// (eᴿ − 1 − R) / R², which is ½ at R = 0.
fn curved(r: f64) -> f64 {
    if r < 1e-3 { 0.5 + r / 6.0 } else { (r.exp_m1() - r) / (r * r) }
}

fn widened<const N: usize>(row: &[f32; N]) -> [f64; N] {
    row.map(f64::from)
}

fn squared_norm<const N: usize>(row: &[f32; N]) -> f64 {
    row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

/// In four sums, so that it is a few vector instructions; N is a multiple of 4.
fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    let mut sums = [0.0; 4];
    for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}
