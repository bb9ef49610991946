use futures::StreamExt;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::timeout;

use super::client::{OpenAi, chain};
use super::events::Events;
use super::wire::{Body, Choice, Piece, Usage};
use crate::generate::{Abandoned, Completion, Completions, Event, Finish, GenerateError, Generator, Request};

/// Replies asked for at once, of an upstream that makes one a request.
const AT_ONCE: usize = 8;

type Sender = UnboundedSender<Result<Event, GenerateError>>;

impl Generator for OpenAi {
    /// Asks for all completions in one request; of an upstream that makes fewer, for the rest one by one. Whoever drops what this
    /// returns hangs up on the upstream.
    ///
    /// Needs tokio's runtime.
    fn generate(&self, request: Request) -> Result<Completions, GenerateError> {
        let (sender, events) = mpsc::unbounded_channel();
        let upstream = self.clone();
        tokio::spawn(async move {
            let patience = upstream.config().timeout;
            tokio::select! {
                () = sender.closed() => {}
                written = timeout(patience, upstream.write(&request, &sender)) => {
                    if let Err(error) = written.unwrap_or_else(|_| Err(upstream.late())) {
                        // Whoever has left does not want it any more.
                        let _ = sender.send(Err(error));
                    }
                }
            }
        });
        Ok(Completions { prompt_tokens: None, events, abandoned: Abandoned::default() })
    }
}

/// A reply on its way.
#[derive(Default)]
struct Reply {
    choices: Vec<Partial>,
    usage: Option<Usage>,
}

#[derive(Default)]
struct Partial {
    text: String,
    finish: Option<Finish>,
    begun: bool,
}

impl OpenAi {
    async fn write(&self, request: &Request, sender: &Sender) -> Result<(), GenerateError> {
        let (made, first) = self.ask(request, 0, request.count, sender).await?;
        let rest = (made..request.count).map(|index| self.ask(request, index, 1, sender));
        let mut rest = futures::stream::iter(rest).buffer_unordered(AT_ONCE);
        let mut total = first;
        while let Some(asked) = rest.next().await {
            let (_, usage) = asked?;
            total = total.zip(usage).map(|(total, usage)| Usage {
                prompt_tokens: total.prompt_tokens,
                completion_tokens: total.completion_tokens + usage.completion_tokens,
            });
        }
        if let Some(Usage { prompt_tokens, completion_tokens }) = total {
            let _ = sender.send(Ok(Event::Usage { prompt_tokens, completion_tokens }));
        }
        Ok(())
    }

    /// Asks for `count` completions, which become those from index `from` on; how many came, at least one.
    async fn ask(
        &self,
        request: &Request,
        from: usize,
        count: usize,
        sender: &Sender,
    ) -> Result<(usize, Option<Usage>), GenerateError> {
        let config = self.config();
        let seed = request.seed.wrapping_add(from as u64);
        let response = self.post(&Body::streamed(&config.model, &config.url, request, count, seed)).await?;
        let read = self.read(response, from, count, sender).await;
        self.note(&read);
        read
    }

    async fn read(
        &self,
        mut response: reqwest::Response,
        from: usize,
        count: usize,
        sender: &Sender,
    ) -> Result<(usize, Option<Usage>), GenerateError> {
        let mut reply = Reply::default();
        reply.choices.resize_with(count, Partial::default);
        let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
        let is_stream = kind
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        let mut is_whole = !is_stream;
        if is_stream {
            let mut events = Events::default();
            'stream: while let Some(bytes) = self.piece(&mut response).await? {
                for data in events.push(&bytes).map_err(|why| self.rubbish(why.to_owned()))? {
                    if data == "[DONE]" {
                        is_whole = true;
                        break 'stream;
                    }
                    self.take(&data, from, &mut reply, sender)?;
                }
            }
        } else {
            let mut body = Vec::new();
            while let Some(bytes) = self.piece(&mut response).await? {
                body.extend_from_slice(&bytes);
            }
            self.take(&String::from_utf8_lossy(&body), from, &mut reply, sender)?;
        }
        let made = reply.choices.iter().take_while(|partial| partial.begun).count();
        if made == 0 {
            return Err(self.rubbish("no completion is in it".to_owned()));
        }
        for (index, partial) in reply.choices.into_iter().take(made).enumerate() {
            let finish = partial.finish.or(is_whole.then_some(Finish::Stop));
            let finish =
                finish.ok_or_else(|| self.rubbish("it ended before the completion did".to_owned()))?;
            let completion = Completion { text: partial.text, finish, tokens: None };
            let _ = sender.send(Ok(Event::Finished { index: from + index, completion }));
        }
        Ok((made, reply.usage))
    }

    /// More of the response's bytes; nothing at its end.
    async fn piece(&self, response: &mut reqwest::Response) -> Result<Option<Vec<u8>>, GenerateError> {
        match timeout(self.config().idle_timeout, response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes.map(|bytes| bytes.to_vec())),
            Ok(Err(error)) => Err(self.rubbish(format!("it was cut off: {}", chain(&error.without_url())))),
            Err(_) => Err(self.stalled()),
        }
    }

    /// Reads one piece of a reply, and passes its texts on.
    fn take(&self, data: &str, from: usize, reply: &mut Reply, sender: &Sender) -> Result<(), GenerateError> {
        let piece: Piece = serde_json::from_str(data).map_err(|error| self.rubbish(error.to_string()))?;
        if let Some(error) = piece.error {
            let words = error.pointer("/message").and_then(serde_json::Value::as_str);
            return Err(self.away(words.unwrap_or("an error without words").to_owned()));
        }
        reply.usage = piece.usage.or(reply.usage);
        for mut choice in piece.choices {
            let Choice { index, .. } = choice;
            let Some(partial) = reply.choices.get_mut(index) else {
                return Err(self.rubbish(format!("choice {index} was not asked for")));
            };
            partial.begun = true;
            partial.finish = choice.finish().or(partial.finish);
            if let Some(text) = choice.text().filter(|text| !text.is_empty()) {
                partial.text.push_str(&text);
                let _ = sender.send(Ok(Event::Delta { index: from + index, text, tokens: 0 }));
            }
        }
        Ok(())
    }
}
