"""Backbones, ours beside sentence-transformers (an encoder of MiniLM's shape) and transformers (a decoder of
Qwen2.5-0.5B's shape): the same random weights, the same texts, the two in turn in one run.

    benches/peers/backbones.py encoder --data ../shared/data/alpacaeval/pool.jsonl.gz --tokenizer ../shared/models/tiny-random-bert
    benches/peers/backbones.py decoder --data ../shared/data/alpacaeval/pool.jsonl.gz --tokenizer ../shared/models/tiny-random-qwen2

Speed does not depend on what the weights are, so none are downloaded. The tokenizers are small models', with few word
pieces. The peer's batch size is the fastest of 1, 4, 8, 16 and 32, found first; sentence-transformers sorts by length, and
so does the loop around transformers here. `decoder --candidates N`: N answers to each prompt, whose tokens we read once.
`--device cuda:0 --dtype bfloat16` puts both on a GPU; ours has to be built with `--features cuda`: give it as --ours.
"""
import argparse
import gzip
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import transformers

ENCODER = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
               max_position_embeddings=512)
DECODER = dict(hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
               intermediate_size=4864, vocab_size=151_936, max_position_embeddings=32_768, rope_theta=1e6,
               tie_word_embeddings=True, rms_norm_eps=1e-6, eos_token_id=1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("kind", choices=["encoder", "decoder"])
    arguments.add_argument("--data", required=True, help="JSON lines {prompt, responses}, may be .gz")
    arguments.add_argument("--tokenizer", required=True, type=pathlib.Path)
    arguments.add_argument("--prompts", type=int, default=0, help="default: 10 for the encoder, 8 for the decoder")
    arguments.add_argument("--candidates", type=int, default=0, help="answers a prompt; default: 12 and 1")
    arguments.add_argument("--characters", type=int, default=0, help="longest prompt and answer, so that nothing is cut; default: 400 and 160")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--device", default="cpu", help="cpu or cuda:N")
    arguments.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    arguments.add_argument("--ours", type=pathlib.Path, help="the compiled bench `backbones`; default: cargo builds it")
    given = arguments.parse_args()
    encoder = given.kind == "encoder"
    prompts, candidates = given.prompts or (10 if encoder else 8), given.candidates or (12 if encoder else 1)
    lines = texts(given.data, prompts, candidates, given.characters or (400 if encoder else 160))

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make(folder, encoder, given.tokenizer)
        peer = (Encoder if encoder else Decoder)(folder, given.device, getattr(torch, given.dtype))
        joined = [line["prompt"] + "\n\n" + line["response"] for line in lines]
        compare(Ours(folder, lines, given), peer, joined, given.runs)


def texts(path, prompts, candidates, longest):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened:
        pool = [json.loads(line) for line in opened]
    random.Random(0).shuffle(pool)
    return [{"prompt": one["prompt"][:longest], "response": answer[:longest]}
            for one in pool[:prompts] for answer in one["responses"][:candidates]]


def make(folder, encoder, tokenizer):
    torch.manual_seed(0)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer / file).exists():
            shutil.copy(tokenizer / file, folder)
    if encoder:
        vocabulary = json.loads((tokenizer / "config.json").read_text())["vocab_size"]
        model = transformers.BertModel(transformers.BertConfig(vocab_size=vocabulary, **ENCODER))
        (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512, "do_lower_case": false}')
        kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
        (folder / "modules.json").write_text(json.dumps(
            [{"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
             for n, (path, kind) in enumerate(kinds)]))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling/config.json").write_text(json.dumps(
            {"word_embedding_dimension": ENCODER["hidden_size"], "pooling_mode_mean_tokens": True}))
    else:
        model = transformers.Qwen2Model(transformers.Qwen2Config(**DECODER))
    model.save_pretrained(folder)


class Ours:
    name = "ours"

    def __init__(self, folder, lines, given):
        path = folder / "texts.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        build = ["cargo", "bench", "--quiet", "--locked", "--bench", "backbones", "--"]
        command = [str(given.ours)] if given.ours else build
        command += [str(folder), str(path), given.device, given.dtype]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.process.stdout.readline())
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        print(f"ours: opened in {ready['ready']:.1f} s, resident {ready['resident_bytes'] / weights:.3f} of the weights' "
              f"{weights / 2**20:.0f} MiB, at most {ready['peak_bytes'] / weights:.3f} while it was opened")

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def vectors(self):
        return np.array(self.ask("vectors")["vectors"])


class Encoder:
    name = "sentence-transformers"

    def __init__(self, folder, device, dtype):
        import sentence_transformers
        self.model = sentence_transformers.SentenceTransformer(str(folder), device=device,
                                                               model_kwargs=dict(dtype=dtype))

    def embed(self, joined, batch):
        return self.model.encode(joined, batch_size=batch, show_progress_bar=False, convert_to_numpy=True)


class Decoder:
    name = "transformers"

    def __init__(self, folder, device, dtype):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.Qwen2Model.from_pretrained(folder, dtype=dtype).to(device).eval()

    @torch.inference_mode()
    def embed(self, joined, batch):
        order = sorted(range(len(joined)), key=lambda index: len(joined[index]))
        vectors = np.zeros((len(joined), DECODER["hidden_size"]), np.float32)
        for start in range(0, len(order), batch):
            chosen = order[start:start + batch]
            inputs = self.tokenizer([joined[index] for index in chosen], padding=True, padding_side="right",
                                    return_tensors="pt").to(self.model.device)
            rows = self.model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}).last_hidden_state
            last = inputs["attention_mask"].sum(1) - 1
            vectors[chosen] = rows[torch.arange(len(chosen)), last].float().cpu().numpy()
        return vectors


def compare(ours, peer, joined, runs):
    print(f"{len(joined)} texts; torch {torch.__version__}, {torch.get_num_threads()} threads")
    difference = np.abs(ours.vectors() - peer.embed(joined, 8)).max()
    print(f"largest difference of an entry of an embedding: {difference:.1e}")

    def timed(batch):
        begin = time.perf_counter()
        peer.embed(joined, batch)
        return time.perf_counter() - begin

    best = min((1, 4, 8, 16, 32), key=timed)
    seconds = {"ours together": [], "ours one by one": [], f"{peer.name}, batches of {best}": [],
               f"{peer.name}, one by one": []}
    for _ in range(runs):
        together, single = ours.ask("together"), ours.ask("single")
        for name, taken in zip(seconds, (together["seconds"], single["seconds"], timed(best), timed(1))):
            seconds[name].append(taken)
    tokens = together["tokens"]
    base = statistics.median(seconds[f"{peer.name}, batches of {best}"])
    print(f"{tokens} tokens; median of {runs} runs in turn")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:42} {median:8.3f} s {len(joined) / median:9.1f} texts/s {tokens / median:9.0f} tokens/s "
              f"{base / median:6.2f} x")


if __name__ == "__main__":
    main()
