use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;

use super::completion::{Head, Outcome, Permit, Usage, outcome, reason, usage};
use super::error::HttpError;
use crate::engine::{EngineError, Generated, Generation, GenerationEvent};

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pref: Option<Outcome>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// The completion as server-sent events, `[DONE]` at the end. With `live`, text comes as it is written; else the choices come
/// when all candidates are there. An error on the way is an event, and the last one.
pub(super) fn streamed(
    head: Head,
    generation: Generation,
    choices: usize,
    live: bool,
    with_usage: bool,
    permit: Permit,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let opening = (0..choices)
        .map(|index| head.chunk(index, Delta { role: Some("assistant"), content: Some("") }, None));
    let opening: Vec<_> = opening.collect();
    let events = stream::unfold(Some((generation, permit, head)), move |going| async move {
        let (mut generation, permit, head) = going?;
        match generation.next().await {
            Some(Ok(GenerationEvent::Delta(text))) => {
                let chunks = if live { vec![head.text(0, &text)] } else { Vec::new() };
                Some((chunks, Some((generation, permit, head))))
            }
            Some(Ok(GenerationEvent::Finished(generated))) => {
                Some((head.closing(&generated, choices, live, with_usage), None))
            }
            Some(Err(error)) => Some((vec![head.names.error(error).json()], None)),
            None => Some((vec![HttpError::from(EngineError::Draining).json()], None)),
        }
    });
    let events = stream::iter([opening]).chain(events).flat_map(stream::iter);
    let done = stream::iter(["[DONE]".to_owned()]);
    let lines = events.chain(done).map(|line| Ok(Event::default().data(line)));
    Sse::new(lines).keep_alive(KeepAlive::default())
}

impl Head {
    fn text(&self, index: usize, text: &str) -> String {
        self.chunk(index, Delta { content: Some(text), ..Delta::default() }, None)
    }

    fn chunk(&self, index: usize, delta: Delta<'_>, finish_reason: Option<&'static str>) -> String {
        self.line(vec![Choice { index, delta, finish_reason }], None, None)
    }

    fn line(&self, choices: Vec<Choice<'_>>, usage: Option<Usage>, pref: Option<Outcome>) -> String {
        let Self { id, created, model, .. } = self;
        let chunk =
            Chunk { id, object: "chat.completion.chunk", created: *created, model, choices, usage, pref };
        serde_json::to_string(&chunk).unwrap_or_default()
    }

    /// The texts that were not given out yet, why each ended, what they are worth, and the usage if it is wanted.
    fn closing(&self, generated: &Generated, choices: usize, live: bool, with_usage: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let indices: Vec<_> = generated.best(choices).collect();
        for (index, &made) in indices.iter().enumerate() {
            if !live {
                lines.push(self.text(index, &generated.completions[made].text));
            }
            let finish_reason = Some(reason(generated.completions[made].finish));
            let choice = Choice { index, delta: Delta::default(), finish_reason };
            let last = index + 1 == indices.len();
            lines.push(self.line(vec![choice], None, last.then(|| outcome(self, generated, choices))));
        }
        if with_usage {
            lines.push(self.line(Vec::new(), Some(usage(generated, choices)), None));
        }
        lines
    }
}
