"""Hidden states of tiny decoders by transformers in float64: Qwen2, and Llama with scaled rotary positions.

The weights are those of made_decoder.py; a token is a byte.
"""
import json

import torch
from transformers import LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model

from made_decoder import HEADS, KV, LAYERS, VOCABULARY, WIDE, WIDTH, weights

torch.set_default_dtype(torch.float64)
LONG = "Tell me about boats, and the sea. " * 12
TEXTS = ["Hi!", "A boat floats, and so does a letter.", LONG]
SHAPE = dict(vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=WIDE, num_hidden_layers=LAYERS,
             num_attention_heads=HEADS, num_key_value_heads=KV, max_position_embeddings=512, rms_norm_eps=1e-6,
             attn_implementation="eager")
LLAMA_3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=64)
CASES = [
    dict(model_type="qwen2", rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
    dict(model_type="llama", rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
    dict(model_type="llama", rope_parameters=LLAMA_3),
]

out = []
for case in CASES:
    Config, Model = (Qwen2Config, Qwen2Model) if case["model_type"] == "qwen2" else (LlamaConfig, LlamaModel)
    network = Model(Config(**SHAPE, rope_parameters=case["rope_parameters"])).double()
    missing, unexpected = network.load_state_dict(weights(), strict=False)
    assert not missing and all(name.endswith("bias") for name in unexpected), (missing, unexpected)
    texts = []
    for text in TEXTS:
        with torch.no_grad():
            hidden = network(torch.tensor([list(text.encode())])).last_hidden_state[0, -1]
        texts.append(dict(text=text, last_hidden_state=[round(x, 7) for x in hidden.tolist()]))
    out.append(dict(config=case, texts=texts))
json.dump(out, open("decoders.json", "w"), indent=1)
