#!/usr/bin/env python3
"""What personal generation is worth: two people of opposite tastes, each strategy's reward, likelihood apart and time.

    cargo build --release
    PYTHON_WITH_PREF benches/guidance.py --binary target/release/pref --generator ../shared/models/babyllama

A language model writes stories to the first prompts; simulated people judge them by how much is said aloud in them and how long
their sentences are; a reward model and one value head are trained on that. Two new people answer twelve comparisons each. For
prompts that neither training has seen, each strategy writes an answer for each of the two, over the real server. Rewards are of
Score (all answers to a prompt ranked at once, so that they are on one scale) and by the taste itself; ± is the standard error over
prompts and seeds. Needs the Python client (clients/python).
"""
import argparse
import json
import math
import pathlib
import random
import re
import statistics
import subprocess
import tempfile
import time
import uuid

import pref

WHO = ["Lily", "Tom", "a little girl", "a small dog", "Ben and Mia", "the old man", "a big bear", "Sue", "Tim", "a red bird",
       "Max", "Anna", "the cat", "a boy named Sam", "Jack"]
HOW = ["One day, {} went to the park", "Once upon a time, there was {}", "{} had a new toy", "{} was very sad",
       "{} and mom were at home", "{} saw a big box", "{} wanted to play", "{} liked to run"]


def prompts():
    made = [how.format(who) for how in HOW for who in WHO]
    made = [text[0].upper() + text[1:] for text in made]
    random.Random(0).shuffle(made)
    return made


def traits(text):
    """How much is said aloud, and how long the sentences are."""
    sentences = max(1, len(re.findall(r"[.!?]", text)))
    return (text.count('"') / 2, len(text.split()) / sentences)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/pref")
    arguments.add_argument("--generator", required=True, help="a directory with a causal language model")
    arguments.add_argument("--max-tokens", type=int, default=200)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--keep", help="a folder for what is trained, which is used again if it is there")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(given.keep or name)
        folder.mkdir(exist_ok=True)
        train(given, folder)
        serve(given, folder)


def run(given, *command, **options):
    return subprocess.run([given.binary, *map(str, command)], check=True, text=True, **options)


def train(given, folder):
    """A reward model of people's tastes in stories, and a value head."""
    if (folder / "model/value_head.safetensors").exists():
        return
    learn, draw = prompts()[:90], random.Random(1)
    stories = {}
    for at, prompt in enumerate(learn[:60]):
        lines = run(given, "complete", "--generator", f"local:{given.generator}", "--json", "--count", 16, "--seed", at,
                    "--max-tokens", given.max_tokens, prompt, capture_output=True).stdout
        stories[prompt] = [json.loads(line)["text"] for line in lines.splitlines()]
    scale = spread(stories)
    with open(folder / "judgments.jsonl", "w", encoding="utf-8") as out:
        for person in range(60):
            taste = (draw.gauss(0, 1), draw.gauss(0, 1))
            for _ in range(60):
                prompt = draw.choice(list(stories))
                a, b = draw.sample(stories[prompt], 2)
                if a == b:
                    continue
                logit = 2 * (utility(taste, a, scale) - utility(taste, b, scale))
                out.write(json.dumps({"user_id": f"u{person}", "prompt": prompt, "response_a": a, "response_b": b,
                                      "preference": int(draw.random() < 1 / (1 + math.exp(-logit)))}) + "\n")
    (folder / "scale.json").write_text(json.dumps(scale))
    (folder / "stories.json").write_text(json.dumps(stories))
    run(given, "train", "--data", folder / "judgments.jsonl", "--base-functions", 4, "--output", folder / "model")
    with open(folder / "prompts.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"prompt": prompt}) + "\n" for prompt in learn)
    run(given, "train", "value-head", "--model", folder / "model", "--generator", f"local:{given.generator}",
        "--prompts", folder / "prompts.jsonl", "--rollouts", 16, "--max-tokens", given.max_tokens)


def spread(stories):
    found = [traits(text) for texts in stories.values() for text in texts]
    return [(statistics.mean(column), statistics.stdev(column)) for column in zip(*found)]


def utility(taste, text, scale):
    return sum(t * (value - mean) / deviation for t, value, (mean, deviation) in zip(taste, traits(text), scale))


def serve(given, folder):
    scale, stories = (json.loads((folder / name).read_text()) for name in ("scale.json", "stories.json"))
    command = [given.binary, "--data-dir", str(folder / "data"), "serve", "--listen", "127.0.0.1:0", "--log", "warn",
               "--model", str(folder / "model"), "--generator", f"story=local:{given.generator}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().removeprefix("listening on ").strip()
        with pref.Client(address) as client:
            client.wait_ready()
            until_it_serves(client)
            measure(given, client, stories, scale)
    finally:
        server.terminate()
        server.wait()


def until_it_serves(client):
    """The connection is ready before the models are."""
    for _ in range(600):
        try:
            client.complete("nobody", "One day", generator="story", sampling=pref.Sampling(max_tokens=1), candidates=1)
            return
        except pref.PrefError:
            time.sleep(0.1)
    raise SystemExit("the server does not become ready")


def measure(given, client, stories, scale):
    people = {"talkative": (1.5, 0.0), "silent": (-1.5, 0.0)}
    draw = random.Random(2)
    people = {f"{name}-{uuid.uuid4().hex[:6]}": taste for name, taste in people.items()}
    for user, taste in people.items():
        for _ in range(12):
            prompt = draw.choice(list(stories))
            a, b = draw.sample(stories[prompt], 2)
            first = utility(taste, a, scale) >= utility(taste, b, scale)
            client.submit_preference(user, pref.Comparison(prompt=prompt, response_a=a, response_b=b),
                                     pref.OUTCOME_FIRST if first else pref.OUTCOME_SECOND)
    guided, best = pref.GENERATION_STRATEGY_VALUE_GUIDED, pref.GENERATION_STRATEGY_BEST_OF_N
    strategies = {"unguided": dict(strategy=pref.GENERATION_STRATEGY_UNGUIDED)}
    strategies |= {f"value-guided, β = {beta:g}": dict(strategy=guided, guidance_scale=beta) for beta in (0, 1, 3, 10)}
    strategies |= {f"best of {n}": dict(strategy=best, candidates=n) for n in (4, 16)}
    for user, taste in people.items():
        found = {name: [] for name in strategies}
        for seed in range(given.seeds):
            for prompt in prompts()[90:]:
                texts = []
                for options in strategies.values():
                    begun = time.perf_counter()
                    sampling = pref.Sampling(max_tokens=given.max_tokens, seed=seed)
                    made = client.complete(user, prompt, generator="story", sampling=sampling, **options)
                    texts.append((made.text, time.perf_counter() - begun))
                scored = client.score(user, prompt, [text for text, _ in texts]).responses
                rewards = {one.index: one.reward for one in scored}
                for at, (name, (text, seconds)) in enumerate(zip(strategies, texts)):
                    gain = rewards[at] - rewards[0]
                    true = utility(taste, text, scale) - utility(taste, texts[0][0], scale)
                    found[name].append((gain, true, seconds))
        print(f"\n{user}: over unguided, {len(found['unguided'])} answers each")
        print(f"{'':24} {'λᵀφ':>16} {'true taste':>16} {'seconds':>8}")
        for name, rows in found.items():
            cells = []
            for column in (0, 1):
                values = [row[column] for row in rows]
                error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
                cells.append(f"{statistics.mean(values):+7.3f} ± {error:.3f}")
            print(f"{name:24} {cells[0]:>16} {cells[1]:>16} {statistics.mean(row[2] for row in rows):8.2f}")


if __name__ == "__main__":
    main()
