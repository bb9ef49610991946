use rayon::prelude::*;

use super::{Embedding, ModelError};

/// Embeds texts batch by batch: `forward` gives the vectors of a batch, `texts` the place of each among `ids`.
///
/// On a CPU whole batches run `side_by_side`: of a batch's own work only the largest products are parallel.
pub(super) fn embed_batches<B: Sync>(
    batches: &[B],
    ids: &[Vec<u32>],
    side_by_side: bool,
    texts: impl Fn(&B) -> Vec<usize>,
    forward: impl Fn(&B) -> Result<Vec<Vec<f32>>, ModelError> + Sync,
) -> Result<Vec<Embedding>, ModelError> {
    let vectors: Vec<_> = if side_by_side {
        batches.par_iter().map(&forward).collect::<Result<_, _>>()?
    } else {
        batches.iter().map(forward).collect::<Result<_, _>>()?
    };
    let mut embeddings = vec![Embedding { vector: Vec::new(), tokens: 0 }; ids.len()];
    for (text, vector) in batches.iter().flat_map(texts).zip(vectors.into_iter().flatten()) {
        embeddings[text] = Embedding { vector, tokens: ids[text].len() };
    }
    Ok(embeddings)
}
