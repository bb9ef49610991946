"""The tiny decoder of tests/support/made_decoder.rs: the same weights, in float64."""
import numpy as np
import torch

WIDTH, WIDE, LAYERS, HEADS, KV, VOCABULARY = 16, 24, 2, 4, 2, 257


class Numbers:
    """±½ by a linear congruential generator, rounded to float32."""

    def __init__(self, state):
        self.state = state

    def draw(self, *shape):
        out = np.empty(int(np.prod(shape)), np.float32)
        for i in range(out.size):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            out[i] = np.float32(self.state >> 8) / np.float32(2**24) - np.float32(0.5)
        return torch.tensor(out.reshape(shape).astype(np.float64))


def weights():
    numbers, kv, out = Numbers(1), WIDTH // HEADS * KV, {}
    out["embed_tokens.weight"] = numbers.draw(VOCABULARY, WIDTH)
    out["norm.weight"] = numbers.draw(WIDTH)
    for layer in range(LAYERS):
        for name, *shape in [
            ("self_attn.q_proj.weight", WIDTH, WIDTH), ("self_attn.q_proj.bias", WIDTH),
            ("self_attn.k_proj.weight", kv, WIDTH), ("self_attn.k_proj.bias", kv),
            ("self_attn.v_proj.weight", kv, WIDTH), ("self_attn.v_proj.bias", kv),
            ("self_attn.o_proj.weight", WIDTH, WIDTH), ("mlp.gate_proj.weight", WIDE, WIDTH),
            ("mlp.up_proj.weight", WIDE, WIDTH), ("mlp.down_proj.weight", WIDTH, WIDE),
            ("input_layernorm.weight", WIDTH), ("post_attention_layernorm.weight", WIDTH),
        ]:
            out[f"layers.{layer}.{name}"] = numbers.draw(*shape)
    # float32 adds the 1, as the other side does.
    return {n: (w.float() + 1).double() if n.endswith("norm.weight") else w for n, w in out.items()}
