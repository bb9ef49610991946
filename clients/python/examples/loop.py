"""The whole loop: import candidates, ask ten questions, look at the profile, get an answer in the person's way.

    python examples/loop.py                  # two simulated people
    python examples/loop.py --ask YOUR_NAME  # you

needs a server on 127.0.0.1:50051 (``make run``).
"""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Callable

import pref
from pref.v1.common_pb2 import Outcome, Query

POOL = "example"
QUESTIONS = 10

OPENINGS = ["", "Great question! ", "Certainly. One might consider the following. ", "Ha, I love this one. "]
ADVICE = {
    "How do I keep basil alive?": [
        "Give it 6 hours of light, and water every 2 days.",
        "Put it on a sunny sill. Pinch off flowers. Water from below every 2 days, and do not let it stand wet.",
        "Basil requires at least 6 hours of daylight, evenly moist soil and regular harvesting from the top, which "
        "encourages the plant to branch and therefore to yield considerably more leaves. Pinch off flowers once a "
        "week. Water from below every 2 days. Repot it after 4 weeks, since the roots will have filled the pot.",
    ],
    "What should I cook tonight?": [
        "Pasta with 2 cloves of garlic and oil.",
        "Try a quick curry: onion, chickpeas, 2 tomatoes, spices. It takes 20 minutes and one pan!",
        "You could prepare a risotto. First, soften an onion for 5 minutes; then toast 300 grams of rice; then add a "
        "litre of warm stock a ladle at a time, stirring, until the grains are tender. Finish it with butter and 50 "
        "grams of cheese, and let it rest for 2 minutes before it is served.",
    ],
    "How can I sleep better?": [
        "Go to bed at 10 each day.",
        "Keep the room dark and cool, skip coffee after 2 in the afternoon, and put the phone away at 9!",
        "It may be advisable to establish a consistent routine: dim the lights 2 hours before bed, refrain from "
        "screens, and reserve the bed for sleep, so that over time it becomes associated with rest alone. Keep the "
        "room at 18 degrees. Avoid coffee for 8 hours before bed. Rise at the same time on all 7 days of the week.",
    ],
    "How do I learn to juggle?": [
        "Start with 1 ball, then 2, then 3.",
        "Stand in front of a bed so that drops are easy to pick up, and throw to eye height 100 times a day!",
        "Begin by throwing 1 ball in an arc from hand to hand until it lands 20 times without your looking; then add "
        "a second as the first reaches its peak; and only when that is steady should a third one be attempted. "
        "Practise for 10 minutes a day. Stand in front of a bed, so that drops are easy to pick up.",
    ],
}
PROMPTS = {
    prompt: [opening + text for opening in OPENINGS for text in texts] for prompt, texts in ADVICE.items()
}


def likes_it_short(query: Query) -> Outcome:
    """Prefers the shorter answer."""
    shorter = len(query.response_a) < len(query.response_b)
    return pref.OUTCOME_FIRST if shorter else pref.OUTCOME_SECOND


def likes_it_thorough(query: Query) -> Outcome:
    """Prefers the longer answer."""
    longer = len(query.response_a) > len(query.response_b)
    return pref.OUTCOME_FIRST if longer else pref.OUTCOME_SECOND


def asks_at_the_terminal(query: Query) -> Outcome:
    """Asks whoever sits there."""
    keys = {
        "a": pref.OUTCOME_FIRST,
        "b": pref.OUTCOME_SECOND,
        "t": pref.OUTCOME_TIE,
        "n": pref.OUTCOME_NEITHER,
        "s": pref.OUTCOME_SKIP,
    }
    print(f"\n{query.prompt}\n  A: {query.response_a}\n  B: {query.response_b}")
    while True:
        key = input("a, b, t (tie), n (neither), s (skip)? ").strip().lower()
        if key in keys:
            return keys[key]


def learn(client: pref.Client, user: str, answer: Callable[[Query], Outcome]) -> None:
    """Asks a person the questions that tell most about them, and shows what is known after each."""
    for number in range(1, QUESTIONS + 1):
        [query] = client.next_query(user, pool=POOL).queries
        profile = client.submit_preference(user, query.query_id, answer(query)).profile
        print(f"{user}: question {number:2} worth {query.information_gain:.2f} bits, "
              f"{profile.remaining_uncertainty:.0%} of the uncertainty remains")


def describe(client: pref.Client, user: str) -> None:
    """Prints the base reward functions that weigh most with a person."""
    profile = client.get_user(user)
    functions = client.describe_model(profile.model_version).base_functions
    known = sorted(
        zip(profile.coefficients, profile.standard_errors, functions), key=lambda entry: -abs(entry[0])
    )
    for coefficient, error, function in known[:3]:
        print(f"{user}: {coefficient:+.2f} ± {error:.2f} on [{function.label}]")


def answer_everyone(client: pref.Client, users: list[str], prompt: str) -> None:
    """Prints the answer that anyone would get, and the one that each person gets."""
    generator = f"pool:{POOL}"
    plain = client.complete(users[0], prompt, generator=generator, strategy=pref.GENERATION_STRATEGY_UNGUIDED)
    print(f"\n{prompt}\nanyone: {plain.text}")
    for user in users:
        revision = client.get_user(user).revision
        chosen = client.complete(user, prompt, generator=generator, candidates=12, min_revision=revision)
        print(f"{user}: {chosen.text}\n  ({chosen.reward:+.2f} beside the average candidate)")


def main() -> None:
    """Runs the loop for two simulated people, or for one at the terminal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--target", default="127.0.0.1:50051", help="where the server listens")
    parser.add_argument("--api-key", default=os.environ.get("PREF_API_KEY"), help="where the server asks who calls")
    parser.add_argument("--ask", metavar="NAME", help="ask the person at this terminal")
    arguments = parser.parse_args()
    run = uuid.uuid4().hex[:4]
    people: dict[str, Callable[[Query], Outcome]] = {
        f"sam-{run}": likes_it_short,
        f"thea-{run}": likes_it_thorough,
    }
    if arguments.ask:
        people = {arguments.ask: asks_at_the_terminal}

    with pref.Client(arguments.target, api_key=arguments.api_key) as client:
        client.wait_ready()
        client.import_candidates(
            POOL, [pref.Candidates(prompt=prompt, responses=texts) for prompt, texts in PROMPTS.items()]
        )
        for user, answer in people.items():
            learn(client, user, answer)
            describe(client, user)
        answer_everyone(client, list(people), "How can I sleep better?")
        if not arguments.ask:
            for user in people:
                client.delete_user(user)


if __name__ == "__main__":
    main()
