"""A peer's OpenAI-compatible server (llama-cpp-python's) and ours: the same weights, the same requests, in turn in one run.

    benches/peers/server.py --binary target/release/pref --model ../shared/models/babyllama

The weights become a GGUF file in float32. Then llama.cpp's server answers on a port of its own, and ours on another, with the same
language model in its process and the peer's as an upstream. Checked: greedily, both write the same text; what comes through
ours is what the peer writes, and its candidates can be ranked. Told: tokens a second over HTTP, one caller and several at once, the median of the runs.
"""
import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import gguf
import numpy
from safetensors.numpy import load_file

PROMPT = "Once upon a time there was a little girl who lived with her mother"
FREE = {"pref": {"strategy": "unguided"}}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/pref")
    arguments.add_argument("--model", type=pathlib.Path, required=True, help="a Llama in Hugging Face layout whose tokens are characters")
    arguments.add_argument("--tokens", type=int, default=120)
    arguments.add_argument("--callers", type=int, nargs="+", default=[1, 8])
    arguments.add_argument("--runs", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        convert(given.model, folder / "model.gguf")
        peer = peer_server(stack, folder / "model.gguf")
        ours = our_server(stack, given, folder, peer)
        agree(given, ours, peer)
        race(given, {"ours": (ours, "near", FREE), "llama-cpp-python": (peer, "far", {}), "ours, llama-cpp-python behind it": (ours, "far", FREE)})


def convert(folder, file):
    """Hugging Face's Llama as llama.cpp reads it."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: entry[1])
    special = {"<unk>": gguf.TokenType.UNKNOWN, "<s>": gguf.TokenType.CONTROL, "</s>": gguf.TokenType.CONTROL}
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text.encode() for text, _ in vocabulary])
    writer.add_token_scores([0.0] * len(vocabulary))
    writer.add_token_types([special.get(text, gguf.TokenType.NORMAL) for text, _ in vocabulary])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_chat_template(settings["chat_template"])
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm"}
    for name, tensor in load_file(folder / "model.safetensors").items():
        tensor = tensor.astype(numpy.float32)
        layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)
        if layer:
            number, part = layer.groups()
            if part.endswith(("q_proj", "k_proj")):
                tensor = interleaved(tensor, heads if part.endswith("q_proj") else groups)
            name = f"blk.{number}.{names[part]}.weight"
        else:
            name = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                    "lm_head.weight": "output.weight"}[name]
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(weight, heads):
    """Rotary positions turn halves of a head in one layout, neighbours in the other."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def peer_server(stack, file):
    port = free_port()
    log = stack.enter_context(open(file.with_suffix(".log"), "w+"))
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--port", str(port), "--n_ctx", "256", "--n_gpu_layers", "0",
               "--n_threads", "2", "--n_threads_batch", "2", "--type_k", "0", "--type_v", "0", "--model_alias", "far"]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return wait(f"http://127.0.0.1:{port}/v1", process, log)


def our_server(stack, given, folder, peer):
    data, model = folder / "data.jsonl", folder / "model"
    run = lambda *command: subprocess.run([given.binary, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    run("synth", "attributes", "--users", 12, "--pairs", 60, "--output", data)
    run("train", "--base-functions", 3, "--data", data, "--output", model)
    port = free_port()
    log = stack.enter_context(open(folder / "pref.log", "w+"))
    command = [given.binary, "--data-dir", str(folder / "data"), "serve", "--listen", "127.0.0.1:0", "--http-listen", f"127.0.0.1:{port}",
               "--model", str(model), "--generator", f"near=local:{given.model}", "--generator", f"far=openai:{peer}#far"]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    url = wait(f"http://127.0.0.1:{port}/v1", process, log)
    for _ in range(600):
        try:
            complete(url, "near", 1, FREE)
            return url
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise SystemExit("our server does not become ready")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(url, process, log):
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/models").read()
            return url
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"no server at {url}:\n{log.read()[-3000:]}")


def complete(url, model, tokens, more):
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": tokens, **more}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def agree(given, ours, peer):
    def text(url, model, more):
        made = complete(url, model, given.tokens, {"temperature": 0, **more})
        return made["choices"][0]["message"]["content"].strip()

    # Unless told otherwise this peer makes repeated tokens less likely, by 1.1.
    same = [text(ours, "near", FREE), text(peer, "far", {"repeat_penalty": 1.0})]
    through = [text(peer, "far", {}), text(ours, "far", FREE)]
    print(f"greedy, both: {same[0][:90]!r}\nby the peer's own settings, and through ours: {through[0][:90]!r}")
    assert same[0] == same[1], f"the same weights write the same text: {same}"
    assert through[0] == through[1], f"what comes through ours is what the upstream writes: {through}"
    best = complete(ours, "far", 30, {"user": "ada", "n": 2, "pref": {"candidates": 4}})
    assert len(best["choices"]) == 2 and len(best["pref"]["rewards"]) == 2, best


def race(given, servers):
    print(f"\n{given.tokens} tokens a completion, tokens a second, median of {given.runs} runs")
    for callers in given.callers:
        speeds = {name: [] for name in servers}
        for run in range(given.runs + 1):
            for name, (url, model, more) in servers.items():
                begun = time.perf_counter()
                with concurrent.futures.ThreadPoolExecutor(callers) as pool:
                    asked = [pool.submit(complete, url, model, given.tokens, {"temperature": 1, "seed": run * callers + n, **more})
                             for n in range(callers)]
                    # A token is a character; the peer counts none in a stream.
                    written = sum(len(one.result()["choices"][0]["message"]["content"]) for one in asked)
                # The first run warms up.
                if run:
                    speeds[name].append(written / (time.perf_counter() - begun))
        for name, values in speeds.items():
            print(f"{callers} at once  {name:34} {statistics.median(values):8.0f}  ({min(values):.0f} to {max(values):.0f})")


if __name__ == "__main__":
    main()
