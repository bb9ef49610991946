use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Backbone, BackboneRecord, Embedding, ModelError, Text};

/// Several backbones as one, `a+b`: h = (h_a, h_b).
pub(super) struct Concat {
    parts: Vec<Arc<dyn Backbone>>,
    id: String,
    hash: String,
}

impl Concat {
    pub(super) fn new(parts: Vec<Arc<dyn Backbone>>) -> Self {
        let id = parts.iter().map(|part| part.id()).collect::<Vec<_>>().join("+");
        let mut hasher = Sha256::new();
        for part in &parts {
            hasher.update(part.hash().as_bytes());
            hasher.update(b"\n");
        }
        Self { parts, id, hash: hex::encode(hasher.finalize()) }
    }
}

impl Backbone for Concat {
    fn id(&self) -> &str {
        &self.id
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dimension(&self) -> usize {
        self.parts.iter().map(|part| part.dimension()).sum()
    }

    /// `tokens` is the sum over the parts.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        let mut whole: Vec<_> = texts
            .iter()
            .map(|_| Embedding { vector: Vec::with_capacity(self.dimension()), tokens: 0 })
            .collect();
        for part in &self.parts {
            for (whole, piece) in whole.iter_mut().zip(part.embed(texts)?) {
                whole.vector.extend(piece.vector);
                whole.tokens += piece.tokens;
            }
        }
        Ok(whole)
    }

    fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        for part in &self.parts {
            if !part.fits(texts)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn record(&self) -> BackboneRecord {
        let parts: Vec<_> = self.parts.iter().map(|part| part.record()).collect();
        BackboneRecord {
            spec: parts.iter().map(|part| part.spec.as_str()).collect::<Vec<_>>().join("+"),
            id: self.id.clone(),
            hash: self.hash.clone(),
            dimension: self.dimension(),
            pooling: None,
            template: parts.iter().find_map(|part| part.template.clone()),
            max_tokens: parts.iter().filter_map(|part| part.max_tokens).min(),
            dtype: parts.iter().find_map(|part| part.dtype),
            revision: None,
        }
    }
}
