//! The built-in backbone: named measures of style, then hashed n-grams.
//!
//! It reads no weights, so every machine can run it and gives the same result. The measures lead: most of what people
//! differ on in a prompt's answers is how they are written. The n-grams follow in three blocks: the
//! *skeleton* (words outside a list of common English words replaced by a placeholder, so that phrasing is seen and
//! topic is not), the words themselves, and characters.

mod lexicon;
mod measures;
mod ngrams;
mod scan;

use sha2::{Digest, Sha256};

use self::lexicon::Lexicon;
use self::scan::Scan;
use super::backbone::{Backbone, Embedding, Text};
use super::error::ModelError;

pub use self::measures::{MEASURES, Measure};

/// Name and version. Any change of a vector is a new version.
pub(super) const ID: &str = "lexical-v2";

/// h(x, y) by counting: d = [`MEASURES`] + the n-gram blocks.
#[derive(Debug)]
pub struct Lexical {
    lexicon: Lexicon,
    hash: String,
}

impl Lexical {
    /// The backbone of this build.
    pub fn new() -> Self {
        let lexicon = Lexicon::english();
        let mut hasher = Sha256::new();
        hasher.update(ID);
        MEASURES.iter().for_each(|measure| hasher.update(format!("{measure:?}")));
        hasher.update(ngrams::DESCRIPTION);
        hasher.update(lexicon.description());
        Self { lexicon, hash: hex::encode(hasher.finalize()) }
    }

    /// The style measures of `response` to `prompt`, in the order of [`MEASURES`]: about zero mean and unit variance
    /// over ordinary answers, and bounded. Labels of base functions correlate φ with them.
    pub fn measures(&self, prompt: &str, response: &str) -> Vec<f64> {
        let (prompt, response) = (Scan::new(prompt), Scan::new(response));
        measures::scaled(&prompt, &response, &self.lexicon).to_vec()
    }

    fn embed_one(&self, prompt: &Scan, response: &str) -> Embedding {
        let response = Scan::new(response);
        let mut vector = Vec::with_capacity(self.dimension());
        vector.extend(measures::scaled(prompt, &response, &self.lexicon).iter().map(|&z| z as f32));
        ngrams::extend(&mut vector, &response, &self.lexicon);
        Embedding { vector, tokens: response.words.len() }
    }
}

impl Default for Lexical {
    fn default() -> Self {
        Self::new()
    }
}

impl Backbone for Lexical {
    fn id(&self) -> &str {
        ID
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dimension(&self) -> usize {
        MEASURES.len() + ngrams::DIMENSION
    }

    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        let groups = texts.chunk_by(|a, b| a.prompt == b.prompt);
        Ok(groups
            .flat_map(|group| {
                let prompt = Scan::new(group[0].prompt);
                group.iter().map(move |text| self.embed_one(&prompt, text.response))
            })
            .collect())
    }
}

/// The style measures of `response` to `prompt`: see [`Lexical::measures`].
pub fn interpretable_measures(prompt: &str, response: &str) -> Vec<f64> {
    static LEXICAL: std::sync::LazyLock<Lexical> = std::sync::LazyLock::new(Lexical::new);
    LEXICAL.measures(prompt, response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed(prompt: &str, response: &str) -> Vec<f32> {
        Lexical::new().embed(&[Text::new(prompt, response)]).unwrap().remove(0).vector
    }

    #[test]
    fn any_text_gives_finite_bounded_numbers() {
        let long = "All work and no play makes Jack a dull boy. ".repeat(2_300);
        let odd = [
            "",
            " ",
            "\n\n",
            "?",
            "日本語のテキスト。",
            "👍🏽👩‍👩‍👧 نص عربي",
            "\u{0}\u{feff}",
            "…",
            "'",
            "’s",
            &long,
        ];
        for response in odd {
            for prompt in ["", "How do I rest?"] {
                let vector = embed(prompt, response);
                assert_eq!(vector.len(), Lexical::new().dimension());
                assert!(vector.iter().all(|v| v.is_finite() && v.abs() < 4.0), "{response:.40?}");
            }
        }
    }

    #[test]
    fn alone_and_in_a_batch_a_text_gives_the_same_vector() {
        let texts = [Text::new("x", "One."), Text::new("x", "Two!"), Text::new("y", "One.")];
        let batch = Lexical::new().embed(&texts).unwrap();
        for (text, embedding) in texts.iter().zip(&batch) {
            assert_eq!(embedding.vector, embed(text.prompt, text.response));
        }
    }

    #[test]
    fn each_measure_has_a_name_of_its_own_and_moves_with_its_style() {
        let index =
            |name: &str| MEASURES.iter().position(|m| m.name == name).unwrap_or_else(|| panic!("{name}"));
        for (at, measure) in MEASURES.iter().enumerate() {
            assert_eq!(index(measure.name), at);
        }
        let plain = "Soak the beans overnight. Simmer them for an hour.";
        let cases = [
            (
                "length",
                "Soak the beans overnight. Simmer them for an hour. Then rinse them and serve them warm with rice.",
            ),
            ("hedging", "Perhaps soak the beans overnight. You might simmer them for an hour, I think."),
            (
                "certainty",
                "Definitely soak the beans overnight. You must always simmer them for an hour, without a doubt.",
            ),
            (
                "politeness",
                "Thank you for asking! Please soak the beans overnight and kindly simmer them for an hour.",
            ),
            ("enthusiasm", "Wow, wonderful! Soak the beans overnight. Simmer them for an amazing hour."),
            ("questions", "Soak the beans overnight. Simmer them for how long? An hour?"),
            ("exclamations", "Soak the beans overnight! Simmer them for an hour!"),
            (
                "contractions",
                "Don't skip soaking the beans overnight. They'll simmer for an hour, it's fine.",
            ),
            ("connectives", "Furthermore, soak the beans overnight. Consequently, simmer them for an hour."),
            (
                "colloquial words",
                "Yeah, gonna soak the beans overnight, kinda. Simmer the stuff for an hour, ok.",
            ),
            ("list items", "- Soak the beans overnight.\n- Simmer them for an hour."),
            ("asks the user", "Soak the beans overnight. Simmer them for an hour. Which beans do you have?"),
            ("emoji", "Soak the beans overnight 🙂. Simmer them for an hour 🎉."),
            ("numbers", "Soak the 500 g of beans for 12 hours. Simmer them for 60 minutes."),
        ];
        let measures = |response: &str| interpretable_measures("How do I cook beans?", response);
        for (name, response) in cases {
            assert!(measures(response)[index(name)] > measures(plain)[index(name)] + 0.2, "{name}");
        }
    }

    #[test]
    fn the_vectors_of_this_version_are_fixed() {
        let vector =
            embed("How do I cook beans?", "Perhaps soak them overnight, ok? It's worth it!\n1. Rinse.");
        let mut hasher = Sha256::new();
        // Four decimals: the last bits of a logarithm differ between machines.
        vector.iter().for_each(|v| hasher.update(((v * 1e4).round() as i64).to_le_bytes()));
        assert_eq!(hex::encode(&hasher.finalize()[..8]), "272711f2c7c7c33b");
    }
}
