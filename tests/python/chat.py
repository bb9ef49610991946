"""OpenAI's own client and LangChain's against `/v1`: streaming and not, choices, stops, seeds, errors, usage."""

import sys
import uuid

import httpx
import openai
from langchain_openai import ChatOpenAI

BASE_URL = sys.argv[1]
MESSAGES = [{"role": "user", "content": "Once upon a time"}]


def completions(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["pref", "pool", "story"]
    assert client.models.retrieve("story").owned_by == "pref"

    options = dict(model="story", messages=MESSAGES, max_tokens=30, temperature=0.8, seed=7, user="ada")
    one = client.chat.completions.create(**options)
    again = client.chat.completions.create(**options)
    assert one.choices[0].message.role == "assistant" and one.choices[0].message.content
    assert one.choices[0].message.content == again.choices[0].message.content, "the same seed"
    assert one.choices[0].finish_reason == "length" and one.object == "chat.completion"
    assert one.usage.completion_tokens == 30 and one.usage.prompt_tokens == 18, one.usage
    assert one.usage.total_tokens == 48
    told = one.model_extra["pref"]
    assert told["rewards"][0] >= 0 and told["revision"] == 0 and told["seed"] == 7, told

    best = client.chat.completions.create(**options, n=3, extra_body={"pref": {"candidates": 6}})
    rewards = best.model_extra["pref"]["rewards"]
    assert len(best.choices) == 3 and rewards == sorted(rewards, reverse=True), rewards
    assert best.usage.completion_tokens == 90

    free = {"pref": {"strategy": "unguided"}}
    whole = client.chat.completions.create(**options, extra_body=free).choices[0].message.content
    chunks = list(client.chat.completions.create(
        **options, extra_body=free, stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole and sum(map(bool, texts)) > 5, "written while it is made"
    assert chunks[-1].usage.completion_tokens == 30 and not chunks[-1].choices
    assert chunks[-2].choices[0].finish_reason == "length"

    streamed = client.chat.completions.create(**options, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert text == one.choices[0].message.content, "best of N, streamed"

    greedy = dict(model="pref", messages=MESSAGES, temperature=0, max_tokens=40, extra_body=free)
    whole = client.chat.completions.create(**greedy).choices[0].message.content
    stopped = client.chat.completions.create(**greedy, stop=["little"]).choices[0]
    assert stopped.message.content == whole[:whole.index("little")] and stopped.finish_reason == "stop"


def feedback(client: openai.OpenAI) -> None:
    """A person chooses among what they were given; with the answer counted, the next completion is asked for."""
    options = dict(model="story", messages=MESSAGES, max_tokens=30, user="grace")
    first, again = (client.chat.completions.create(**options, seed=seed, n=2) for seed in (1, 2))
    body = {"user": "grace", "chosen": {"id": first.id, "index": 1}, "rejected": {"id": again.id},
            "request_id": str(uuid.uuid4())}
    told = client.post("/feedback", body=body, cast_to=httpx.Response).json()
    assert told["answers"] == told["revision"] == 1, told
    assert client.post("/feedback", body=body, cast_to=httpx.Response).json() == told, "a retry counts once"
    since = client.chat.completions.create(**options, extra_body={"pref": {"min_revision": told["revision"]}})
    assert since.model_extra["pref"]["revision"] == 1
    stream = list(client.chat.completions.create(**options, seed=3, stream=True))
    body |= {"chosen": {"id": stream[0].id}, "rejected": {"id": first.id}, "outcome": "tie", "request_id": None}
    assert client.post("/feedback", body=body, cast_to=httpx.Response).json()["answers"] == 2
    try:
        client.post("/feedback", body={**body, "user": "eve"}, cast_to=httpx.Response)
    except openai.NotFoundError as raised:
        assert raised.code == "COMPLETION_NOT_FOUND", raised
    else:
        raise AssertionError("another person's completion")


def refusals(client: openai.OpenAI) -> None:
    def refused(error: type[openai.APIStatusError], **options: object) -> openai.APIStatusError:
        try:
            client.chat.completions.create(**{"model": "story", "messages": MESSAGES, "max_tokens": 5, **options})
        except error as raised:
            return raised
        raise AssertionError(f"{options} was taken")

    bad = openai.BadRequestError
    assert refused(bad, temperature=-1).param == "temperature"
    assert refused(bad, model="nobody").param == "model"
    assert refused(bad, n=0).param == "n"
    assert refused(bad, messages=[]).param == "messages"
    assert refused(bad, messages=[{"role": "tool", "content": "x", "tool_call_id": "1"}]).param == "messages[0].role"
    assert refused(bad, messages=[{"role": "user", "content": "long " * 100}]).param == "messages"
    assert refused(bad, tools=[{"type": "function", "function": {"name": "f"}}]).param == "tools"
    assert refused(bad, extra_body={"pref": {"strategy": "luck"}}).param == "pref.strategy"
    assert refused(bad, extra_body={"pref": {"sorcery": 1}}).code == "INVALID_FIELD"
    too_many = refused(openai.APIStatusError, n=1000)
    assert too_many.status_code == 413 and too_many.param == "n"
    assert refused(bad, extra_body={"pref": {"candidates": 65}}).param == "pref.candidates"
    assert refused(bad, extra_body={"pref": {"guidance_scale": 1e7}}).param == "pref.guidance_scale"
    assert refused(openai.NotFoundError, model="pool").code == "PROMPT_NOT_IN_POOL"
    try:
        client.models.retrieve("nobody")
    except openai.NotFoundError as raised:
        assert raised.code == "MODEL_NOT_FOUND"
    else:
        raise AssertionError("a model that is not there")


def langchain() -> None:
    chat = ChatOpenAI(model="story", base_url=BASE_URL, api_key="none", temperature=0, max_tokens=20,
                      extra_body={"pref": {"strategy": "unguided"}})
    whole = chat.invoke("Once upon a time")
    assert whole.content and whole.usage_metadata["output_tokens"] == 20, whole
    assert "".join(chunk.content for chunk in chat.stream("Once upon a time")) == whole.content


client = openai.OpenAI(base_url=BASE_URL, api_key="none", max_retries=0)
completions(client)
feedback(client)
refusals(client)
langchain()
