"""Mutual information between the answer and λ in bits, and E p, by adaptive quadrature."""
import json

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

sigmoid = lambda z: 1 / (1 + np.exp(-z))


def h(p):
    return -sum(q * np.log2(q) if q > 0 else 0.0 for q in (p, 1 - p))


def gain(z, v):
    s = np.sqrt(v)
    # The logistic function changes within a few logits of 0, wherever that is in the bell.
    bends = [b for b in ((x - z) / s for x in (-40, -8, -2, 0, 2, 8, 40)) if -12 < b < 12]
    expect = lambda f: quad(lambda t: f(z + s * t) * norm.pdf(t), -12, 12, points=bends, epsabs=1e-13, epsrel=1e-13, limit=2000)[0]
    mean = expect(sigmoid)
    return h(mean) - expect(lambda x: h(sigmoid(x))), mean


rows = []
for z in (0.0, 0.3, -0.3, 1.0, 2.5, -4.0, 12.0):
    for v in (1e-4, 0.1, 1.0, 3.0, 8.0, 25.0, 64.0, 144.0, 1000.0, 2e4):
        bits, mean = gain(z, v)
        rows.append({"z": z, "v": v, "bits": bits, "mean": mean})
json.dump(rows, open("information_gain.json", "w"))
