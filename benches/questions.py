#!/usr/bin/env python3
"""What generated questions tell (Algorithm 2): ten of them beside ten random ones from a pool, and ten chosen ones.

    PYTHON_WITH_PREF benches/guidance.py --binary target/release/pref --generator ../shared/models/babyllama --keep DIR
    PYTHON_WITH_PREF benches/questions.py --binary target/release/pref --generator ../shared/models/babyllama --keep DIR

With the language model, the reward model and the value head that benches/guidance.py left in DIR. Simulated people whose taste is
known answer ten questions over the real server, each person in each of three ways: questions whose responses are generated for the
purpose, to prompts that no training has seen; random pairs of a pool of 640 stories; the most informative pairs of that pool. Told is
what remains of the prior's uncertainty, tr H⁻¹ / tr Σ, and how often the person's later choices between unseen stories are told
rightly; ± is the standard error over people, of differences within people.
"""
import argparse
import json
import math
import pathlib
import random
import statistics
import subprocess
import uuid

import guidance
import pref


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/pref")
    arguments.add_argument("--generator", required=True, help="a directory with a causal language model")
    arguments.add_argument("--keep", required=True, help="the folder that benches/guidance.py filled")
    arguments.add_argument("--people", type=int, default=20)
    arguments.add_argument("--questions", type=int, default=10)
    arguments.add_argument("--candidates", type=int, default=8)
    arguments.add_argument("--guidance-scale", type=float, default=10.0)
    arguments.add_argument("--max-tokens", type=int, default=120)
    given = arguments.parse_args()
    folder = pathlib.Path(given.keep)
    command = [given.binary, "--data-dir", str(folder / f"data-{uuid.uuid4().hex[:6]}"), "serve", "--listen", "127.0.0.1:0", "--log",
               "warn", "--call-timeout-seconds", "300", "--model", str(folder / "model"), "--generator", f"story=local:{given.generator}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().removeprefix("listening on ").strip()
        with pref.Client(address, timeout=300) as client:
            client.wait_ready()
            guidance.until_it_serves(client)
            measure(given, client, *(json.loads((folder / name).read_text()) for name in ("stories.json", "scale.json")))
    finally:
        server.terminate()
        server.wait()


def measure(given, client, stories, scale):
    # A third of the prompts is kept for what is to be told at the end.
    learned, tested = list(stories)[:40], list(stories)[40:]
    client.import_candidates("stories", [pref.Candidates(prompt=p, responses=sorted(set(stories[p]))) for p in learned])
    unseen = guidance.prompts()[90:]
    sampling = pref.Sampling(max_tokens=given.max_tokens)

    def generated(user, number, draw):
        source = pref.GenerateSource(prompt=draw.choice(unseen), candidates=given.candidates, sampling=sampling,
                                     guidance_scale=given.guidance_scale, generator="story")
        return client.next_query(user, generate=source)

    ways = {
        "generated": generated,
        "random of the pool": lambda user, *_: client.next_query(user, pool="stories", strategy=pref.QUERY_STRATEGY_RANDOM),
        "chosen of the pool": lambda user, *_: client.next_query(user, pool="stories"),
    }
    left = {way: [] for way in ways}
    right = {way: [] for way in ways}
    for person in range(given.people):
        draw = random.Random(f"person {person}")
        taste = (draw.gauss(0, 1), draw.gauss(0, 1))
        for way, ask in ways.items():
            user, draw = f"{person}-{uuid.uuid4().hex[:8]}", random.Random(f"answers of {person}")
            course = []
            for number in range(given.questions):
                [query] = ask(user, number, draw).queries
                told = [guidance.utility(taste, text, scale) for text in (query.response_a, query.response_b)]
                first = draw.random() < 1 / (1 + math.exp(-2 * (told[0] - told[1])))
                reply = client.submit_preference(user, query.query_id, pref.OUTCOME_FIRST if first else pref.OUTCOME_SECOND)
                course.append(reply.profile.remaining_uncertainty)
            left[way].append(course)
            right[way].append(accuracy(client, user, taste, tested, stories, scale))
        print(f"person {person + 1} of {given.people}", flush=True)
    print(f"\n{given.people} people, {given.questions} questions each, {given.candidates} candidates a generated question, "
          f"β = {given.guidance_scale:g}\n")
    marks = [n for n in (1, 2, 5, given.questions) if n <= given.questions]
    print(f"{'uncertainty left after':24}" + "".join(f"{n:>16}" for n in marks) + f"{'told rightly':>18}")
    for way in ways:
        cells = [cell([course[n - 1] for course in left[way]]) for n in marks]
        print(f"{way:24}" + "".join(f"{text:>16}" for text in cells) + f"{cell(right[way]):>18}")
    for other in list(ways)[1:]:
        last = [a[-1] - b[-1] for a, b in zip(left["generated"], left[other])]
        rightly = [a - b for a, b in zip(right["generated"], right[other])]
        print(f"generated less {other}: uncertainty left {cell(last, '+')}, told rightly {cell(rightly, '+')}")


def accuracy(client, user, taste, prompts, stories, scale):
    """How often the better of two unseen stories for this taste has the higher reward."""
    hits = []
    for prompt in prompts:
        texts = sorted(set(stories[prompt]))
        rewards = {one.index: one.reward for one in client.score(user, prompt, texts).responses}
        worth = [guidance.utility(taste, text, scale) for text in texts]
        for a in range(len(texts)):
            for b in range(a):
                if worth[a] != worth[b]:
                    hits.append((rewards[a] > rewards[b]) == (worth[a] > worth[b]))
    return statistics.mean(hits)


def cell(values, sign=""):
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
