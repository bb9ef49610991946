"""Embeddings of any folder by sentence-transformers or transformers, beside those of `pref embed`: the largest difference.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install torch transformers sentence-transformers
    /tmp/reference/bin/python backbones.py --pref PATH_OF_PREF ../../../shared/models/tiny-random-bert ...

Without folders: a ModernBERT of random weights, made here. float32 on a CPU, texts alone, and again together in one
call of pref.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
import transformers

TEXTS = ["Hi!", "A boat floats, and so does a letter.", "Tell me about boats, and the sea. " * 3,
         "Once upon a time there was a red boat.", "The boat was red."]


def modern_bert(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    letters = ["[PAD]", "[CLS]", "[SEP]"] + [chr(n) for n in range(32, 127)]
    tokenizer = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(letters)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.ModernBertConfig(
        vocab_size=len(letters), hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=512, local_attention=16, pad_token_id=0, cls_token_id=1, sep_token_id=2,
        bos_token_id=1, eos_token_id=2, initializer_range=0.2)
    transformers.ModernBertModel(config).save_pretrained(folder)


def peer(folder):
    if (folder / "modules.json").exists():
        import sentence_transformers
        return sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    encoder = model.config.model_type in ("bert", "modernbert")

    @torch.no_grad()
    def embed(text):
        rows = model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
        return (rows.mean(0) if encoder else rows[-1]).numpy()

    return embed


def ours(pref, folder, texts):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    command = [pref, "embed", "--backbone", str(folder), "--device", "cpu"]
    out = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    return np.array([json.loads(line)["embedding"] for line in out.splitlines()])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pref", default="pref")
    arguments.add_argument("folders", nargs="*", type=pathlib.Path)
    given = arguments.parse_args()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folders = given.folders or [pathlib.Path(name)]
        if not given.folders:
            modern_bert(folders[0])
        for folder in folders:
            embed = peer(folder)
            expected = np.array([embed(text) for text in TEXTS])
            alone = np.concatenate([ours(given.pref, folder, [text]) for text in TEXTS])
            together = ours(given.pref, folder, TEXTS)
            print(f"{folder.name}: {np.abs(alone - expected).max():.1e} alone, {np.abs(together - expected).max():.1e} "
                  f"together, of entries up to {np.abs(expected).max():.2f}")


if __name__ == "__main__":
    main()
