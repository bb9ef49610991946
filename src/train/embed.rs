use nalgebra::DMatrix;

use super::watch::Watch;
use super::{Dataset, Stage, TrainError};
use crate::model::{Backbone, Text};

/// Texts a call to the backbone, about: whole prompts stay together, as [`Backbone::embed`] asks.
const BATCH: usize = 64;

/// h of every distinct text of a dataset, N × d, each embedded once.
///
/// # Errors
/// The backbone's own.
pub fn embeddings(data: &Dataset, backbone: &dyn Backbone) -> Result<DMatrix<f64>, TrainError> {
    embed(data, backbone, &mut Watch::begin(&mut (), Stage::Embed))
}

/// [`embeddings`] under watch, which may cancel.
pub(super) fn embed(
    data: &Dataset,
    backbone: &dyn Backbone,
    watch: &mut Watch<'_>,
) -> Result<DMatrix<f64>, TrainError> {
    let (n, d) = (data.text_count(), backbone.dimension());
    let mut embeddings = DMatrix::zeros(n, d);
    let mut start = 0;
    while start < n {
        let end = batch_end(data, start);
        let texts: Vec<Text<'_>> = (start..end)
            .map(|text| {
                let (prompt, response) = data.text(text);
                Text::new(prompt, response)
            })
            .collect();
        for (text, embedding) in (start..end).zip(backbone.embed(&texts)?) {
            let row = embedding.vector.iter().map(|&value| f64::from(value));
            embeddings.row_mut(text).iter_mut().zip(row).for_each(|(to, from)| *to = from);
        }
        start = end;
        watch.reach(end as f64 / n as f64)?;
    }
    Ok(embeddings)
}

/// The end of the batch that begins at `start`: at least [`BATCH`] texts where there are that many, cut between
/// prompts.
fn batch_end(data: &Dataset, start: usize) -> usize {
    let n = data.text_count();
    let mut end = (start + BATCH).min(n);
    while end < n && data.text(end).0 == data.text(end - 1).0 {
        end += 1;
    }
    end
}
