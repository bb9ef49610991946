"""Writing on the CPU, ours beside transformers' `generate`: the same random weights, the same prompt, the two in turn in one run.

    benches/peers/decoding.py --tokenizer ../shared/models/tiny-random-qwen2            (Qwen2.5-0.5B's shape)
    benches/peers/decoding.py --model ../shared/models/babyllama                        (a small model's own weights)

Float32 in both; as many tokens from each, sampled at temperature 1 with no token that ends a text. A value-guided token (twenty
alternatives in one pass) is set beside plain ones of ours: at most .4 of 21 single steps is what it should cost.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
import transformers

from backbones import make

PROMPT = "Once upon a time there was a little girl who lived with her mother in a house at the edge of the wood. "


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", type=pathlib.Path, help="a causal language model; without it random weights are made")
    arguments.add_argument("--tokenizer", type=pathlib.Path, help="of whose tokenizer random weights make use")
    arguments.add_argument("--tokens", type=int, default=32, help="written by each completion")
    arguments.add_argument("--counts", type=int, nargs="+", default=[1, 8], help="completions side by side")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--ours", type=pathlib.Path, help="the compiled bench `decoding`; default: cargo builds it")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.model or pathlib.Path(name)
        if not given.model:
            make(folder, False, given.tokenizer)
        compare(given, Ours(folder, given), Peer(folder))


class Ours:
    def __init__(self, folder, given):
        build = [given.ours] if given.ours else ["cargo", "bench", "--quiet", "--locked", "--bench", "decoding", "--"]
        command = [*build, str(folder), PROMPT]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.process.stdout.readline())
        print(f"ours: opened in {ready['ready']:.1f} s; a prompt of {ready['prompt_tokens']} tokens")

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["seconds"], answer["tokens"]


class Peer:
    def __init__(self, folder):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.inputs = self.tokenizer(PROMPT, return_tensors="pt")

    @torch.inference_mode()
    def write(self, count, tokens):
        start = time.perf_counter()
        written = self.model.generate(**{name: self.inputs[name] for name in ("input_ids", "attention_mask")}, do_sample=True,
                                      num_return_sequences=count, min_new_tokens=tokens, max_new_tokens=tokens,
                                      temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0)
        seconds = time.perf_counter() - start
        return seconds, count * (written.shape[1] - self.inputs["input_ids"].shape[1])


def compare(given, ours, peer):
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; transformers {transformers.__version__}; medians of {given.runs} "
          "runs in turn; the prompt included")
    for count in given.counts:
        own, other = [], []
        for _ in range(given.runs):
            own.append(rate(ours.ask(f"plain {count} {given.tokens}")))
            other.append(rate(peer.write(count, given.tokens)))
        own, other = statistics.median(own), statistics.median(other)
        print(f"{count} side by side: ours {own:9.1f} tokens/s, transformers {other:9.1f}: {own / other:.2f} x")
    prompt = statistics.median(ours.ask("prompt")[0] for _ in range(given.runs))
    step = {}
    for command in (f"plain 1 {given.tokens}", f"guided {given.tokens}"):
        taken = [ours.ask(command) for _ in range(given.runs)]
        step[command.split()[0]] = statistics.median((seconds - prompt) / max(1, tokens - 1) for seconds, tokens in taken)
    share = step["guided"] / (21 * step["plain"])
    print(f"a plain token {1e3 * step['plain']:.2f} ms, a guided one {1e3 * step['guided']:.2f} ms: "
          f"{step['guided'] / step['plain']:.2f} plain ones, {share:.3f} of 21 separate steps")


def rate(taken):
    seconds, tokens = taken
    return tokens / seconds


if __name__ == "__main__":
    main()
