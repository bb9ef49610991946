use nalgebra::DMatrix;

use super::Dataset;
use crate::model::{Example, Examples, MEASURES, interpretable_measures};

/// The measure with which every base function's correlation is positive, so that its sign means something: length.
pub(super) const SIGN_MEASURE: usize = 0;
/// Correlations below this are not worth a word.
const WEAKEST: f64 = 0.25;
/// Measures that move together like this say the same.
const SAME: f64 = 0.6;
/// Most measures that a label names.
const MOST: usize = 3;
/// Texts kept at each end of a base function.
const EXAMPLES: usize = 20;
/// Longest text kept, in characters.
const EXAMPLE_CHARACTERS: usize = 2_000;

/// The lexical style measures of every text of a dataset, N × measures.
pub(super) fn style_measures(data: &Dataset) -> DMatrix<f64> {
    let mut measures = DMatrix::zeros(data.text_count(), MEASURES.len());
    for text in 0..data.text_count() {
        let (prompt, response) = data.text(text);
        let row = interpretable_measures(prompt, response);
        measures.row_mut(text).iter_mut().zip(row).for_each(|(to, from)| *to = from);
    }
    measures
}

/// A label for each base function: the style measures that it moves with, by the correlation of their differences over
/// distinct pairs, `+` where it rewards more of them, none that says the same as one before. Empty where it moves with
/// none.
pub(super) fn labels(data: &Dataset, features: &DMatrix<f64>, styles: &DMatrix<f64>) -> Vec<String> {
    let (phi, style) = (differences(data, features), differences(data, styles));
    (0..features.ncols())
        .map(|j| {
            let mut found: Vec<(f64, usize)> = (0..MEASURES.len())
                .map(|m| (correlation(&phi, j, &style, m), m))
                .filter(|(r, _)| r.abs() >= WEAKEST)
                .collect();
            found.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
            let mut named: Vec<(f64, usize)> = Vec::with_capacity(MOST);
            for (r, m) in found {
                let said = named.iter().any(|&(_, n)| correlation(&style, m, &style, n).abs() >= SAME);
                if !said && named.len() < MOST {
                    named.push((r, m));
                }
            }
            let words = named
                .iter()
                .map(|&(r, m)| format!("{} {}", if r > 0.0 { '+' } else { '−' }, MEASURES[m].name));
            words.collect::<Vec<_>>().join(", ")
        })
        .collect()
}

/// For each base function the texts at its two ends, φ_j centred over a prompt's texts; with many prompts, few of each.
pub(super) fn examples(data: &Dataset, features: &DMatrix<f64>) -> Vec<Examples> {
    let mut centred = features.clone();
    let mut prompts = Vec::new();
    let mut start = 0;
    while start < data.text_count() {
        let prompt = data.text(start).0;
        let end = (start..data.text_count()).find(|&t| data.text(t).0 != prompt).unwrap_or(data.text_count());
        let mean = features.rows(start, end - start).row_mean();
        centred.rows_mut(start, end - start).row_iter_mut().for_each(|mut row| row -= &mean);
        prompts.extend(std::iter::repeat_n(prompts.last().map_or(0, |last: &usize| last + 1), end - start));
        start = end;
    }
    let each = EXAMPLES.div_ceil(data.prompts().len().max(1));
    (0..features.ncols())
        .map(|j| {
            let mut order: Vec<usize> = (0..data.text_count()).collect();
            order.sort_by(|&a, &b| centred[(b, j)].total_cmp(&centred[(a, j)]));
            let example = |&text: &usize| example(data, text, centred[(text, j)]);
            let top = spread(order.iter().copied(), &prompts, each);
            let bottom = spread(order.iter().rev().copied(), &prompts, each);
            Examples { top: top.iter().map(example).collect(), bottom: bottom.iter().map(example).collect() }
        })
        .collect()
}

/// The first texts of an order, no more than `each` of one prompt.
fn spread(order: impl Iterator<Item = usize>, prompts: &[usize], each: usize) -> Vec<usize> {
    let mut taken = vec![0; prompts.last().map_or(0, |last| last + 1)];
    let fresh = |text: &usize| {
        taken[prompts[*text]] += 1;
        taken[prompts[*text]] <= each
    };
    order.filter(fresh).take(EXAMPLES).collect()
}

fn example(data: &Dataset, text: usize, value: f64) -> Example {
    let (prompt, response) = data.text(text);
    let shorten = |text: &str| match text.char_indices().nth(EXAMPLE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    Example { prompt: shorten(prompt), response: shorten(response), value }
}

/// Row differences over distinct pairs, first less second.
fn differences(data: &Dataset, rows: &DMatrix<f64>) -> DMatrix<f64> {
    let mut differences = DMatrix::zeros(data.pairs().len(), rows.ncols());
    for (at, pair) in data.pairs().iter().enumerate() {
        differences.set_row(at, &(rows.row(pair.first) - rows.row(pair.second)));
    }
    differences
}

/// Correlation of two columns of differences, each pair counted in both orders: no mean to take off.
fn correlation(a: &DMatrix<f64>, i: usize, b: &DMatrix<f64>, j: usize) -> f64 {
    let (a, b) = (a.column(i), b.column(j));
    let norm = a.norm() * b.norm();
    if norm > 0.0 { a.dot(&b) / norm } else { 0.0 }
}
