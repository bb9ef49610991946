//! A language model's chat template (Jinja), rendered once into a template of `{prompt}` and `{response}`.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Deserialize;
use tokenizers::Tokenizer;

use super::ModelError;
use super::layout::{file_error, optional, read};
use super::tokens::Template;

/// What asks for the folder's own template.
pub(super) const NAME: &str = "chat";

/// The conversation of a user's `{prompt}` and the assistant's `{response}`, as the folder's template writes it: from
/// `chat_template.jinja`, else `tokenizer_config.json`. Special tokens at its beginning that the tokenizer adds of
/// its own accord are left out.
pub(super) fn rendered(directory: &Path) -> Result<String, ModelError> {
    let (config_path, file_path) =
        (directory.join("tokenizer_config.json"), directory.join("chat_template.jinja"));
    let config = optional::<TokenizerConfig>(&config_path)?.unwrap_or_default();
    let (path, source) = if file_path.is_file() {
        let source = String::from_utf8(read(&file_path)?).map_err(|error| file_error(&file_path, error))?;
        (file_path, source)
    } else {
        let source = match config.chat_template {
            Some(ChatTemplate::One(source)) => source,
            Some(ChatTemplate::Named(templates)) => {
                let default = templates.into_iter().find(|template| template.name == "default");
                let none = || file_error(&config_path, "chat_template: got none of the name \"default\"");
                default.ok_or_else(none)?.template
            }
            None => {
                let reason = format!("chat_template: got none, and the template was to be {NAME:?}");
                return Err(file_error(&config_path, reason));
            }
        };
        (config_path, source)
    };

    let token = |token: Option<Token>| token.map(Token::content).unwrap_or_default();
    let (bos_token, eos_token) = (token(config.bos_token), token(config.eos_token));
    let rendered = render(&source, &bos_token, &eos_token)
        .map_err(|error| file_error(&path, format!("chat_template: {error:#}")))?;

    let tokenizer_path = directory.join("tokenizer.json");
    let added = Tokenizer::from_bytes(read(&tokenizer_path)?)
        .and_then(|tokenizer| tokenizer.encode_fast("", true))
        .map_err(|error| file_error(&tokenizer_path, error))?;
    let rendered = rendered.strip_prefix(&added.get_tokens().concat()).unwrap_or(&rendered);
    if Template::parse(rendered).is_err() {
        let reason = format!(
            "chat_template: got {rendered:?}; allowed: the user's message once, then the answer once"
        );
        return Err(file_error(&path, reason));
    }
    Ok(rendered.to_owned())
}

/// As transformers renders: blocks leave no blank lines, strings have Python's methods.
fn render(source: &str, bos_token: &str, eos_token: &str) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.render_str(
        source,
        context! {
            messages => [
                context! { role => "user", content => "{prompt}" },
                context! { role => "assistant", content => "{response}" },
            ],
            add_generation_prompt => false,
            bos_token,
            eos_token,
        },
    )
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    chat_template: Option<ChatTemplate>,
    bos_token: Option<Token>,
    eos_token: Option<Token>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChatTemplate {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Added { content: String },
}

impl Token {
    fn content(self) -> String {
        match self {
            Self::Plain(content) | Self::Added { content } => content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_leave_no_lines_and_strings_have_pythons_methods() {
        let source = "{{ bos_token }}{% for m in messages %}\n  {% if m.role == 'user' %}\nQ: {{ m['content'].strip() }}\n\
                      {% else %}\nA: {{ m.content | trim }}{{ eos_token }}\n  {% endif %}\n{% endfor %}";
        assert_eq!(render(source, "<s>", "</s>").unwrap(), "<s>Q: {prompt}\nA: {response}</s>\n");
    }
}
