use std::fmt::Write;

use crate::generate::{GenerateError, OpenAi};
use crate::model::{Example, Examples};

/// Texts shown to the language model at each end.
const SHOWN: usize = 5;
/// Longest text shown, in characters.
const SHOWN_CHARACTERS: usize = 600;
/// Longest label kept, in characters.
const LABEL_CHARACTERS: usize = 60;

const SYSTEM: &str = "You name what tells two groups of answers apart. The groups were sorted by a number that measures \
one quality of an answer; the questions differ and do not matter. Reply with one short phrase of at most six words for \
what group A has more of than group B, such as: warm and personal tone. Reply with the phrase alone, in lower case.";

/// A label for each base function in a language model's words (App. E), from the texts at its two ends: `+ phrase`, what
/// it rewards. A base function without texts, or about which the model has nothing to say, keeps its label of `labels`.
///
/// # Errors
/// A language model that cannot be reached, or refuses.
pub async fn interpret(
    labels: &[String],
    examples: &[Examples],
    model: &OpenAi,
) -> Result<Vec<String>, GenerateError> {
    let known = |j: usize| labels.get(j).cloned().unwrap_or_default();
    let mut interpreted = Vec::with_capacity(examples.len());
    for (j, Examples { top, bottom }) in examples.iter().enumerate() {
        let label = if top.is_empty() || bottom.is_empty() {
            known(j)
        } else {
            let question = format!("Group A\n{}\nGroup B\n{}", listed(top), listed(bottom));
            let phrase = phrase(&model.reply(SYSTEM, &question).await?);
            if phrase.is_empty() { known(j) } else { format!("+ {phrase}") }
        };
        interpreted.push(label);
    }
    Ok(interpreted)
}

fn listed(examples: &[Example]) -> String {
    let mut list = String::new();
    for (n, Example { prompt, response, .. }) in examples.iter().take(SHOWN).enumerate() {
        let shorten = |text: &str| text.chars().take(SHOWN_CHARACTERS).collect::<String>();
        let _ = writeln!(list, "{}. Question: {}\n   Answer: {}", n + 1, shorten(prompt), shorten(response));
    }
    list
}

/// The first line without marks around it. Commas separate styles in a label, so that there are none in a phrase.
fn phrase(reply: &str) -> String {
    let line = reply.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = line.trim_matches(|c: char| !c.is_alphanumeric() && c != ')').replace(", ", " and ");
    line.chars().take(LABEL_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_becomes_one_phrase() {
        for (reply, expected) in [
            ("warm and personal tone", "warm and personal tone"),
            ("\n \"Long, careful sentences.\"\nGroup A has …", "Long and careful sentences"),
            ("- use of lists (bulleted)", "use of lists (bulleted)"),
            ("…", ""),
            ("", ""),
        ] {
            assert_eq!(phrase(reply), expected);
        }
        assert_eq!(phrase(&"é".repeat(100)).chars().count(), LABEL_CHARACTERS);
    }
}
