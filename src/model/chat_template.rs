//! A language model's chat template (Jinja), as transformers renders it.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Deserialize;
use tokenizers::Tokenizer;

use super::ModelError;
use super::layout::{file_error, optional, read};
use super::tokens::Template;

/// What asks for the folder's own template.
pub(super) const NAME: &str = "chat";

/// One turn of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`; what else there is depends on the template.
    pub role: &'a str,
    /// What was said.
    pub content: &'a str,
}

/// The folder's template: from `chat_template.jinja`, else `tokenizer_config.json`.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    /// The file that it is from.
    path: PathBuf,
}

impl ChatTemplate {
    /// Nothing where the folder has none.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a template.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, ModelError> {
        let (config_path, file_path) =
            (directory.join("tokenizer_config.json"), directory.join("chat_template.jinja"));
        let config = optional::<TokenizerConfig>(&config_path)?.unwrap_or_default();
        let (path, source) = if file_path.is_file() {
            let source =
                String::from_utf8(read(&file_path)?).map_err(|error| file_error(&file_path, error))?;
            (file_path, source)
        } else {
            let source = match config.chat_template {
                Some(Source::One(source)) => source,
                Some(Source::Named(templates)) => {
                    let default = templates.into_iter().find(|template| template.name == "default");
                    let none = || file_error(&config_path, "chat_template: got none of the name \"default\"");
                    default.ok_or_else(none)?.template
                }
                None => return Ok(None),
            };
            (config_path, source)
        };
        let token = |token: Option<Token>| token.map(Token::content).unwrap_or_default();
        let (bos_token, eos_token) = (token(config.bos_token), token(config.eos_token));
        Self::new(source, bos_token, eos_token, &path).map(Some)
    }

    /// `path` is the file that the template is from.
    pub(super) fn new(
        source: String,
        bos_token: String,
        eos_token: String,
        path: &Path,
    ) -> Result<Self, ModelError> {
        match environment(source) {
            Ok(environment) => Ok(Self { environment, bos_token, eos_token, path: path.to_owned() }),
            Err(error) => Err(file_error(path, format!("chat_template: {error:#}"))),
        }
    }

    /// The conversation as one text; with `open`, up to where the assistant's next answer begins.
    ///
    /// # Errors
    /// What the template raises, such as at a role that it does not know.
    pub(super) fn render(&self, messages: &[Message<'_>], open: bool) -> Result<String, ModelError> {
        let Self { bos_token, eos_token, .. } = self;
        let turn = |message: &Message<'_>| context! { role => message.role, content => message.content };
        let messages: Vec<_> = messages.iter().map(turn).collect();
        let rendered = self.environment.get_template(NAME).and_then(|template| {
            template.render(context! { messages, add_generation_prompt => open, bos_token, eos_token })
        });
        rendered.map_err(|error| ModelError::ChatTemplate { reason: format!("{error:#}") })
    }
}

/// The conversation of a user's `{prompt}` and the assistant's `{response}`, as the template writes it, to be filled in. Special
/// tokens at its beginning that the tokenizer adds of its own accord are left out.
pub(super) fn rendered(template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<String, ModelError> {
    let (user, assistant) = ("user", "assistant");
    let messages =
        [Message { role: user, content: "{prompt}" }, Message { role: assistant, content: "{response}" }];
    let rendered = template.render(&messages, false).map_err(|error| file_error(&template.path, error))?;
    let added = tokenizer.encode_fast("", true).map_err(|error| ModelError::Tokenizer(error.to_string()))?;
    let rendered = rendered.strip_prefix(&added.get_tokens().concat()).unwrap_or(&rendered);
    if Template::parse(rendered).is_err() {
        let reason = format!(
            "chat_template: got {rendered:?}; allowed: the user's message once, then the answer once"
        );
        return Err(file_error(&template.path, reason));
    }
    Ok(rendered.to_owned())
}

/// As transformers renders: blocks leave no blank lines, strings have Python's methods.
fn environment(source: String) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_template_owned(NAME, source)?;
    Ok(environment)
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    chat_template: Option<Source>,
    bos_token: Option<Token>,
    eos_token: Option<Token>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
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
                      {% else %}\nA: {{ m.content | trim }}{{ eos_token }}\n  {% endif %}\n{% endfor %}\n\
                      {% if add_generation_prompt %}A:{% endif %}";
        let template = ChatTemplate {
            environment: environment(source.to_owned()).unwrap(),
            bos_token: "<s>".to_owned(),
            eos_token: "</s>".to_owned(),
            path: PathBuf::new(),
        };
        let messages =
            [Message { role: "user", content: " Hi " }, Message { role: "assistant", content: "Hello" }];
        assert_eq!(template.render(&messages, false).unwrap(), "<s>Q: Hi\nA: Hello</s>\n");
        assert_eq!(template.render(&messages[..1], true).unwrap(), "<s>Q: Hi\nA:");
    }
}
