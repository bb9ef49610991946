use super::Prompt;
use crate::math::Posterior;

/// Most things that an instruction asks for.
const MOST: usize = 5;

/// What a user likes, in words for a language model: what the base functions measure (`labels`, one for each, such as
/// `+ length, − hedging`), by the sign of their coefficients, the strongest first. Coefficients that are within a standard error of
/// zero say nothing. Nothing where there is nothing to say.
pub fn style_instruction(labels: &[String], posterior: &Posterior) -> Option<String> {
    let errors = posterior.standard_errors();
    let mut styles: Vec<(&str, f64)> = Vec::new();
    for ((label, &lambda), error) in labels.iter().zip(posterior.coefficients()).zip(&errors) {
        if lambda.abs() <= *error {
            continue;
        }
        for part in label.split(", ") {
            let (sign, name) = match (part.strip_prefix("+ "), part.strip_prefix("− ")) {
                (Some(name), _) => (1.0, name),
                (None, Some(name)) => (-1.0, name),
                (None, None) => continue,
            };
            match styles.iter_mut().find(|(known, _)| *known == name) {
                Some((_, weight)) => *weight += sign * lambda,
                None => styles.push((name, sign * lambda)),
            }
        }
    }
    styles.retain(|(_, weight)| *weight != 0.0);
    styles.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    styles.truncate(MOST);
    if styles.is_empty() {
        return None;
    }
    let listed = |title: &str, of: fn(f64) -> bool| {
        let names: Vec<_> = styles.iter().filter(|(_, weight)| of(*weight)).map(|(name, _)| *name).collect();
        if names.is_empty() { String::new() } else { format!("{title}: {}.\n", names.join("; ")) }
    };
    Some(format!(
        "How this reader likes answers, learned from their choices, what matters most first.\n{}{}Answer in that way, and do not \
         mention it.",
        listed("More of", |weight| weight > 0.0),
        listed("Less of", |weight| weight < 0.0)
    ))
}

impl Prompt {
    /// The same prompt below an instruction: at the end of the system's message where there is one. The beginning of a text
    /// stays as it is.
    #[must_use]
    pub fn instructed(self, instruction: &str) -> Self {
        let system = |content: String| ("system".to_owned(), content);
        match self {
            Self::Raw(_) => self,
            Self::User(text) => Self::Chat(vec![system(instruction.to_owned()), ("user".to_owned(), text)]),
            Self::Chat(mut messages) => {
                match messages.first_mut() {
                    Some((role, content)) if role == "system" => {
                        *content = format!("{content}\n\n{instruction}");
                    }
                    _ => messages.insert(0, system(instruction.to_owned())),
                }
                Self::Chat(messages)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, DVector};

    use super::*;

    fn posterior(coefficients: &[f64]) -> Posterior {
        let hessian = DMatrix::identity(coefficients.len(), coefficients.len()) * 100.0;
        Posterior::from_parts(DVector::from_column_slice(coefficients), hessian).unwrap()
    }

    #[test]
    fn the_strongest_tastes_are_said_and_uncertain_ones_are_not() {
        let labels = ["+ length, − hedging", "", "+ warm tone", "+ length, + questions"].map(str::to_owned);
        let told = style_instruction(&labels, &posterior(&[0.5, 3.0, -0.05, -2.0])).unwrap();
        let expected = "How this reader likes answers, learned from their choices, what matters most first.\n\
                        Less of: questions; length; hedging.\nAnswer in that way, and do not mention it.";
        assert_eq!(told, expected);
        let told = style_instruction(&labels, &posterior(&[-0.5, 0.0, 2.0, 0.0])).unwrap();
        assert!(told.contains("More of: warm tone; hedging.\nLess of: length.\n"), "{told}");
        assert_eq!(style_instruction(&labels, &posterior(&[0.1, 0.1, 0.1, 0.1])), None);
        assert_eq!(style_instruction(&[], &posterior(&[2.0])), None);
    }

    #[test]
    fn an_instruction_joins_the_systems_message() {
        let chat = |turns: &[(&str, &str)]| {
            Prompt::Chat(turns.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect())
        };
        assert_eq!(Prompt::User("x".to_owned()).instructed("i"), chat(&[("system", "i"), ("user", "x")]));
        assert_eq!(
            chat(&[("system", "s"), ("user", "x")]).instructed("i"),
            chat(&[("system", "s\n\ni"), ("user", "x")])
        );
        assert_eq!(chat(&[("user", "x")]).instructed("i"), chat(&[("system", "i"), ("user", "x")]));
        assert_eq!(Prompt::Raw("x".to_owned()).instructed("i"), Prompt::Raw("x".to_owned()));
    }
}
