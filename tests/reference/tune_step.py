"""Two AdamW steps of a tiny Qwen2, of its low-rank adapters and of all its weights, by transformers and torch in float64.

The same model as tests/support/made_decoder.rs makes, on three people's judgments. Adapters stand beside the weights that
they adapt (y = Wx + (α/r) B A x), and gradients are torch's own.
"""
import json

import torch
from transformers import Qwen2Config, Qwen2Model

from made_decoder import HEADS, KV, LAYERS, VOCABULARY, WIDE, WIDTH, Numbers, weights

torch.set_default_dtype(torch.float64)
J = 2
RANK, ALPHA = 2, 4.0
TIE_WEIGHT, DECAY, CLIP, RATES = 0.25, 0.01, 0.5, [0.01, 0.02]


JUDGMENTS = [  # user, prompt, a, b, preference
    ("ada", "Tea or coffee?", "Tea, and plenty of it.", "Coffee.", 1.0),
    ("ada", "Tea or coffee?", "Coffee.", "Neither, thank you!", 0.5),
    ("bob", "Tea or coffee?", "Tea, and plenty of it.", "Coffee.", 0.0),
    ("bob", "Sea?", "Blue.", "It is wide, and I like it.", 0.0),
    ("cyd", "Sea?", "Blue.", "It is wide, and I like it.", 1.0),
    ("cyd", "Tea or coffee?", "Neither, thank you!", "Tea, and plenty of it.", 0.75),
]
numbers = Numbers(7)
HEAD = numbers.draw(J, WIDTH)
LAMBDA = numbers.draw(3, J) * 2
MEAN = numbers.draw(J)
PRECISION = torch.tensor([[1.5, 0.25], [0.25, 0.75]])


class Adapted(torch.nn.Module):
    def __init__(self, linear, a, b):
        super().__init__()
        self.linear, self.a, self.b = linear, torch.nn.Parameter(a), torch.nn.Parameter(b)

    def forward(self, x):
        return self.linear(x) + ALPHA / RANK * (x @ self.a.T) @ self.b.T


def model(kind):
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=WIDE, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV, max_position_embeddings=512, rms_norm_eps=1e-6,
        rope_theta=10000.0, use_sliding_window=False, attn_implementation="eager")
    network = Qwen2Model(config).double()
    missing, unexpected = network.load_state_dict(weights(), strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    if kind == "full":
        return network, {f"model.{n}": p for n, p in network.named_parameters()}
    for p in network.parameters():
        p.requires_grad_(False)
    modules = sorted(n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear))
    numbers, named = Numbers(11), {}
    for name in modules:  # A and then B of each, in the order of names
        parent, leaf = network.get_submodule(name.rsplit(".", 1)[0]), name.rsplit(".", 1)[1]
        linear = getattr(parent, leaf)
        a, b = numbers.draw(RANK, linear.in_features), numbers.draw(linear.out_features, RANK)
        adapted = Adapted(linear, a, b)
        setattr(parent, leaf, adapted)
        named[f"model.{name}.lora_A.weight"], named[f"model.{name}.lora_B.weight"] = adapted.a, adapted.b
    return network, named


def embed(network, prompt, response):
    ids = torch.tensor([list(f"{prompt}\n\n{response}".encode())])
    return network(input_ids=ids).last_hidden_state[0, -1]


def loss_of(network, head, coefficients):
    users, total, loss = ["ada", "bob", "cyd"], 0.0, 0.0
    for user, prompt, a, b, preference in JUDGMENTS:
        weight = TIE_WEIGHT if preference == 0.5 else 1.0
        delta = head @ (embed(network, prompt, a) - embed(network, prompt, b))
        z = coefficients[users.index(user)] @ delta
        loss = loss + weight * torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(preference))
        total += weight
    off = coefficients - MEAN
    return (loss + 0.5 * (off @ PRECISION * off).sum()) / total


def ends(tensor):
    flat = tensor.detach().flatten()
    return flat[:2].tolist() + flat[-2:].tolist() + [flat.pow(2).sum().sqrt().item()]


result = {"judgments": JUDGMENTS, "tie_weight": TIE_WEIGHT, "decay": DECAY, "clip": CLIP, "rates": RATES,
          "rank": RANK, "alpha": ALPHA, "head": HEAD.tolist(), "coefficients": LAMBDA.tolist(),
          "mean": MEAN.tolist(), "precision": PRECISION.tolist()}
for kind in ["lora", "full"]:
    network, named = model(kind)
    head, coefficients = torch.nn.Parameter(HEAD.clone()), torch.nn.Parameter(LAMBDA.clone())
    size = lambda p: p.detach().pow(2).mean().sqrt().item()
    sizes = [1.0, 1.0, size(head), size(coefficients)]
    named = dict(sorted(named.items()))
    groups = [
        {"params": [p for p in named.values() if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in named.values() if p.dim() == 1], "weight_decay": 0.0},
        {"params": [head], "weight_decay": 0.0}, {"params": [coefficients], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    everything = named | {"head": head, "coefficients": coefficients}
    steps = []
    for rate in RATES:
        for group, factor in zip(optimizer.param_groups, sizes):
            group["lr"] = rate * factor
        optimizer.zero_grad()
        loss = loss_of(network, head, coefficients)
        loss.backward()
        gradients = {n: ends(p.grad) for n, p in everything.items()}
        norm = torch.nn.utils.clip_grad_norm_(list(everything.values()), CLIP).item()
        optimizer.step()
        steps.append({"loss": loss.item(), "norm": norm, "gradients": gradients,
                      "values": {n: ends(p) for n, p in everything.items()}})
    result[kind] = steps
rounded = json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.9g}"))
json.dump(rounded, open("tune_step.json", "w"), indent=None, separators=(",", ":"))
