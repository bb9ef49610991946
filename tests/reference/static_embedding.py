"""Static embeddings by model2vec itself: writes the folder static/ and static_embedding.json.

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install model2vec==0.10.0
"""
import json
from pathlib import Path

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "[PAD] [UNK] [CLS] [SEP] a the boat was red ##dish and shiny ! , . how do i row ##ing it please thank you".split()
TEXTS = ["How do I row a boat?", "The boat was reddish, and shiny!", "please", "Quixotic", "", "!" * 40 + "," * 60,
         "Thank you. It was the boat"]

rng = np.random.default_rng(7)
tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
# As after vocabulary quantization: fewer vectors than tokens, and a weight for each token.
vectors = rng.normal(size=(10, 6)).astype(np.float16)
model = StaticModel(vectors, tokenizer, normalize=True, max_length=64, weights=rng.uniform(0.1, 2, len(WORDS)),
                    token_mapping=rng.integers(0, 10, len(WORDS)))
folder = Path(__file__).parent / "static"
model.save_pretrained(folder)
for extra in folder.iterdir():
    if extra.name not in ("config.json", "modules.json", "tokenizer.json", "model.safetensors"):
        extra.unlink()
model = StaticModel.from_pretrained(folder)
model.embedding = model.embedding.astype(np.float32)  # stored in half precision, computed in single
embeddings = model.encode(TEXTS, max_length=64).astype(float)
cases = [{"text": text, "embedding": [round(x, 7) for x in row]} for text, row in zip(TEXTS, embeddings.tolist())]
(Path(__file__).parent / "static_embedding.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
