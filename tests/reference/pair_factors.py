"""Factors of users and pairs by L-BFGS on the objective as it is written, from twenty random starts.

The ridges leave fewer than J directions, so that the minimum is that of the convex problem with the nuclear norm: all starts
must agree, and the gradient of the loss by the logits has no singular value above sqrt(alpha beta)."""
import json

import numpy as np
from scipy.optimize import minimize

USERS, PAIRS, FACTORS, ALPHA, BETA = 30, 20, 4, 6.0, 3.0
rng = np.random.default_rng(5)
truth = 1.5 * rng.standard_normal((USERS, 2)) @ rng.standard_normal((2, PAIRS))
i, p = np.nonzero(rng.random((USERS, PAIRS)) < 0.7)
# In the single precision that judgments come in.
a = np.where(rng.random(i.size) < 0.2, rng.random(i.size), rng.random(i.size) < 1 / (1 + np.exp(-truth[i, p])))
a = a.astype(np.float32).astype(float)
w = rng.choice([0.5, 1.0, 2.0], i.size)


def objective(x):
    u, v = x[:USERS * FACTORS].reshape(USERS, FACTORS), x[USERS * FACTORS:].reshape(PAIRS, FACTORS)
    z = np.sum(u[i] * v[p], axis=1)
    loss = np.sum(w * (np.logaddexp(0, z) - a * z))
    r = w * (1 / (1 + np.exp(-z)) - a)
    gu, gv = ALPHA * u, BETA * v
    np.add.at(gu, i, r[:, None] * v[p])
    np.add.at(gv, p, r[:, None] * u[i])
    return loss + 0.5 * ALPHA * np.sum(u**2) + 0.5 * BETA * np.sum(v**2), np.concatenate([gu.ravel(), gv.ravel()])


found = [minimize(objective, rng.standard_normal((USERS + PAIRS) * FACTORS), jac=True, method="L-BFGS-B",
                  options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-9}) for _ in range(20)]
best = min(found, key=lambda f: f.fun)
assert max(f.fun for f in found) - best.fun < 1e-8, [f.fun for f in found]
u, v = best.x[:USERS * FACTORS].reshape(USERS, FACTORS), best.x[USERS * FACTORS:].reshape(PAIRS, FACTORS)
z = u @ v.T
values = np.linalg.svd(z)[1][:FACTORS]
by_logits = np.zeros((USERS, PAIRS))
np.add.at(by_logits, (i, p), w * (1 / (1 + np.exp(-z[i, p])) - a))
assert values[1] > 1 and values[-1] < 1e-5, values
assert np.linalg.svd(by_logits)[1][0] < np.sqrt(ALPHA * BETA) * (1 + 1e-5)
json.dump({"users": USERS, "pairs": PAIRS, "factors": FACTORS, "alpha": ALPHA, "beta": BETA,
           "judgments": [[int(i), int(p), float(a), float(w)] for i, p, a, w in zip(i, p, a, w)],
           "objective": best.fun, "singular_values": values.tolist(), "logits": z.tolist()},
          open("pair_factors.json", "w"))
