#!/usr/bin/env python3
"""Reward models of Qwen2.5-0.5B's shape in the server: memory, time to the first answer, and a change of models under load.

    PYTHON_WITH_PREF_AND_NUMPY benches/resident.py --binary target/release/pref \\
        --tokenizer ../shared/models/tiny-random-qwen2 --data ../shared/data/alpacaeval/pool.jsonl.gz

Two backbones of random weights are made, and a head is trained on each. The server starts with the first; callers rank answers
without a pause while the second is activated, and afterwards. Every call has to be answered. Memory is the server's resident set
(VmRSS, and VmHWM at most) over the weights' bytes in float32. Needs the Python client (clients/python).
"""
import argparse
import gzip
import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
import time

import numpy as np
import pref

SHAPE = dict(model_type="qwen2", hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
             intermediate_size=4864, vocab_size=151_936, max_position_embeddings=32_768, rope_theta=1e6, rms_norm_eps=1e-6,
             hidden_act="silu", tie_word_embeddings=True, eos_token_id=1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/pref")
    arguments.add_argument("--tokenizer", required=True, type=pathlib.Path, help="a folder with a tokenizer.json")
    arguments.add_argument("--data", required=True, help="JSON lines {prompt, responses}, may be .gz")
    arguments.add_argument("--callers", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=30, help="of load before, and again after the change")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        judgments = people(given.data, folder / "judgments.jsonl")
        models = [model(given, folder, judgments, seed) for seed in (0, 1)]
        weights = (folder / "backbone-0/model.safetensors").stat().st_size
        print(f"weights: {weights / 2**20:.0f} MiB in float32, each of the two")
        with Server(given, folder, models[1]) as server:
            other = server.client.get_model().version
        with Server(given, folder, models[0]) as server:
            measure(given, server, judgments, weights, other)


def tensors():
    d, wide, kv = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["hidden_size"] // SHAPE["num_attention_heads"] * 2
    yield "model.embed_tokens.weight", (SHAPE["vocab_size"], d)
    yield "model.norm.weight", (d,)
    for layer in range(SHAPE["num_hidden_layers"]):
        for part, *shape in [("self_attn.q_proj.weight", d, d), ("self_attn.q_proj.bias", d), ("self_attn.k_proj.weight", kv, d),
                             ("self_attn.k_proj.bias", kv), ("self_attn.v_proj.weight", kv, d), ("self_attn.v_proj.bias", kv),
                             ("self_attn.o_proj.weight", d, d), ("mlp.gate_proj.weight", wide, d), ("mlp.up_proj.weight", wide, d),
                             ("mlp.down_proj.weight", d, wide), ("input_layernorm.weight", d), ("post_attention_layernorm.weight", d)]:
            yield f"model.layers.{layer}.{part}", tuple(shape)


def backbone(folder, tokenizer, seed):
    """Weights drawn as transformers draws them, in a safetensors file written piece by piece."""
    folder.mkdir()
    shutil.copy(tokenizer / "tokenizer.json", folder)
    (folder / "config.json").write_text(json.dumps(SHAPE))
    header, at = {}, 0
    for name, shape in tensors():
        size = 4 * int(np.prod(shape))
        header[name] = dict(dtype="F32", shape=list(shape), data_offsets=[at, at + size])
        at += size
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    draw = np.random.default_rng(seed)
    with open(folder / "model.safetensors", "wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for name, shape in tensors():
            values = draw.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
            out.write((values + 1 if "norm" in name else values).tobytes())


def people(data, path):
    """Twelve people who like long answers more or less, on few short texts: it is the server that is measured."""
    opened = gzip.open(data, "rt") if data.endswith(".gz") else open(data)
    with opened:
        pool = [json.loads(line) for line in opened]
    draw = random.Random(0)
    draw.shuffle(pool)
    questions = [(one["prompt"][:80], [text[:80 + 40 * n] for n, text in enumerate(one["responses"][:3])]) for one in pool[:8]]
    with open(path, "w", encoding="utf-8") as out:
        for person in range(12):
            for prompt, answers in questions:
                a, b = draw.sample(answers, 2)
                likes = (len(a) > len(b)) == (person % 3 > 0)
                out.write(json.dumps({"user_id": f"u{person}", "prompt": prompt, "response_a": a, "response_b": b,
                                      "preference": int(likes)}) + "\n")
    return path, questions


def model(given, folder, judgments, seed):
    weights = folder / f"backbone-{seed}"
    backbone(weights, given.tokenizer, seed)
    out = folder / f"model-{seed}"
    subprocess.run([given.binary, "train", "--data", judgments[0], "--backbone", weights, "--base-functions", "2", "--output", out],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


class Server:
    def __init__(self, given, folder, model):
        command = [given.binary, "--data-dir", str(folder / "data"), "serve", "--listen", "127.0.0.1:0", "--log", "warn",
                   "--model", str(model)]
        begun = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = self.process.stdout.readline().removeprefix("listening on ").strip()
        self.client = pref.Client(address, timeout=120)
        self.client.wait_ready()
        while True:
            try:
                self.client.score("nobody", "Hello", ["Hi!", "Yes?"])
                break
            except pref.PrefError:
                time.sleep(0.05)
        self.start = time.perf_counter() - begun

    def memory(self, line):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(row.split()[1] for row in text.splitlines() if row.startswith(line))) * 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.terminate()
        self.process.wait()


def measure(given, server, judgments, weights, other):
    def say(what):
        resident, most = server.memory("VmRSS:"), server.memory("VmHWM:")
        print(f"{what}: resident {resident / 2**20:.0f} MiB, {resident / weights:.3f} of one model's weights "
              f"(+ {(resident - weights) / 2**20:.0f} MiB); at most {most / weights:.3f}")

    print(f"from the start to the first answer: {server.start:.1f} s")
    say("loaded and warm")
    stop, calls, failures = threading.Event(), [], []

    def call(seed):
        draw = random.Random(seed)
        while not stop.is_set():
            prompt, answers = draw.choice(judgments[1])
            # Texts that nobody has embedded yet.
            answers = [f"{answer} {draw.random():.6f}" for answer in answers]
            begun = time.perf_counter()
            try:
                server.client.score(f"caller-{seed}", prompt, answers)
                calls.append((begun, time.perf_counter() - begun))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(given.callers)]
    for thread in threads:
        thread.start()
    time.sleep(given.seconds)
    say("under load")
    changing = time.perf_counter()
    active = server.client.activate_model(other).version
    changed = time.perf_counter()
    assert active == other, active
    say("the other is active")
    time.sleep(given.seconds)
    stop.set()
    for thread in threads:
        thread.join()
    say("after more load")
    for name, within in (("before", lambda at: at < changing), ("while the other was activated", lambda at: changing <= at < changed),
                         ("after", lambda at: at >= changed)):
        times = sorted(seconds for at, seconds in calls if within(at))
        print(f"{name}: {len(times)} calls, median {times[len(times) // 2]:.2f} s, slowest {times[-1]:.2f} s" if times
              else f"{name}: no calls")
    print(f"the change took {changed - changing:.1f} s; {len(failures)} of {len(calls) + len(failures)} calls failed")
    for failure in failures[:3]:
        print(" ", failure)


if __name__ == "__main__":
    main()
