#!/usr/bin/env python3
"""Texts a second of an encoder of MiniLM's shape (6 layers, 384 wide) with random weights, on this machine's CPU.

    cargo build --release
    benches/embedding.py --data ../shared/data/llmfao/preferences.jsonl --tokenizer ../shared/models/tiny-random-bert

Speed does not depend on what the weights are, so none are downloaded. The tokenizer is that of a small model with few
word pieces: texts come out about twice as long as with MiniLM's own, which is why tokens a second are printed too.
Needs Python alone.
"""

import argparse
import array
import json
import pathlib
import random
import resource
import shutil
import struct
import subprocess
import tempfile
import time
import typing

WIDTH, LAYERS, HEADS, WIDE, POSITIONS = 384, 6, 12, 1536, 512


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", required=True, help="JSON lines with response_a")
    arguments.add_argument("--tokenizer", required=True, help="a BERT folder whose tokenizer.json is used")
    arguments.add_argument("--texts", type=int, default=512)
    arguments.add_argument("--max-tokens", type=int, default=256)
    arguments.add_argument("--binary", default="target/release/pref")
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()

    texts = distinct_responses(given.data, given.texts)
    with tempfile.TemporaryDirectory() as folder:
        make_encoder(pathlib.Path(folder), pathlib.Path(given.tokenizer), given.max_tokens)
        command = [given.binary, "embed", "--backbone", folder, "--device", "cpu"]
        start_up = [run(command, texts[:1]) for _ in range(given.runs)]
        whole = [run(command, texts) for _ in range(given.runs)]
    tokens = whole[0].tokens
    print(f"{len(texts)} texts of {tokens / len(texts):.0f} tokens on average; start-up is taken off")
    for name, work in [
        ("wall clock", min(one.wall for one in whole) - min(one.wall for one in start_up)),
        ("one core's time", min(one.cpu for one in whole) - min(one.cpu for one in start_up)),
    ]:
        rates = f"{len(texts) / work:.1f} texts/s, {tokens / work:.0f} tokens/s, {gigaflops(tokens) / work:.0f} GFLOP/s"
        print(f"by {name}: {rates}")


def gigaflops(tokens: int) -> float:
    """Of the products with weights; attention's own are left out."""
    return 2e-9 * tokens * LAYERS * (4 * WIDTH * WIDTH + 2 * WIDTH * WIDE)


class Run(typing.NamedTuple):
    wall: float
    cpu: float
    tokens: int


def run(command: list[str], texts: list[str]) -> Run:
    """Seconds by the wall, seconds of all cores together (which a busy machine does not stretch), tokens read."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    wall, cpu = time.perf_counter(), cpu_seconds()
    answer = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Run(wall, cpu, sum(json.loads(line)["tokens"] for line in answer.stdout.splitlines()))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def distinct_responses(path: str, count: int) -> list[str]:
    with open(path, encoding="utf-8") as lines:
        texts = sorted({json.loads(line)["response_a"] for line in lines})
    random.Random(0).shuffle(texts)
    return texts[:count]


def make_encoder(folder: pathlib.Path, tokenizer: pathlib.Path, max_tokens: int) -> None:
    shutil.copy(tokenizer / "tokenizer.json", folder)
    vocabulary = json.loads((tokenizer / "config.json").read_text())["vocab_size"]
    config = {
        "model_type": "bert", "vocab_size": vocabulary, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": WIDE, "max_position_embeddings": POSITIONS,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_tokens}))
    shapes = {
        "embeddings.word_embeddings.weight": [vocabulary, WIDTH],
        "embeddings.position_embeddings.weight": [POSITIONS, WIDTH],
        "embeddings.token_type_embeddings.weight": [2, WIDTH],
        "embeddings.LayerNorm.weight": [WIDTH],
        "embeddings.LayerNorm.bias": [WIDTH],
    }
    for layer in range(LAYERS):
        for name, rows, columns in [
            ("attention.self.query", WIDTH, WIDTH), ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH), ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", WIDE, WIDTH), ("output.dense", WIDTH, WIDE),
        ]:
            shapes[f"encoder.layer.{layer}.{name}.weight"] = [rows, columns]
            shapes[f"encoder.layer.{layer}.{name}.bias"] = [rows]
        for name in ["attention.output.LayerNorm", "output.LayerNorm"]:
            shapes[f"encoder.layer.{layer}.{name}.weight"] = [WIDTH]
            shapes[f"encoder.layer.{layer}.{name}.bias"] = [WIDTH]
    write_safetensors(folder / "model.safetensors", shapes)


def write_safetensors(path: pathlib.Path, shapes: dict[str, list[int]]) -> None:
    """Small random numbers; a block of them is repeated, which is quick and as good for timing."""
    draw = random.Random(0)
    block = array.array("f", (draw.gauss(0, 0.02) for _ in range(65_537)))
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    repeated = block.tobytes() * (offset // (4 * len(block)) + 1)
    path.write_bytes(struct.pack("<Q", len(text)) + text + repeated[:offset])


if __name__ == "__main__":
    main()
