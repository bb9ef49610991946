"""Soft-impute by its definition on a dense 14 × 11 matrix: a full SVD of the filled-in matrix every round."""
import json

import numpy as np

ROWS, COLUMNS, RANK, SHARE = 14, 11, 6, 0.4
rng = np.random.default_rng(3)
truth = rng.standard_normal((ROWS, 3)) @ rng.standard_normal((3, COLUMNS))
observed = rng.random((ROWS, COLUMNS)) < 0.6
x = np.where(observed, np.sign(truth), 0.0)
x[0, 0], observed[0, 0] = 0.0, True  # a tie
tau = SHARE * np.linalg.svd(x)[1][0]
z = np.zeros_like(x)
for _ in range(20000):
    u, s, v = np.linalg.svd(np.where(observed, x, z), full_matrices=False)
    s = np.maximum(s - tau, 0)
    new = (u * s) @ v
    if np.abs(new - z).max() < 1e-13:
        break
    z = new
cells = [[int(i), int(j), float(x[i, j])] for i, j in zip(*np.nonzero(observed))]
json.dump({"rows": ROWS, "columns": COLUMNS, "rank": RANK, "threshold": SHARE, "cells": cells,
           "values": s[:RANK].tolist(), "completed": z.tolist()}, open("soft_impute.json", "w"))
assert (s > 0).sum() < RANK  # else J binds, the problem is not convex, and the way there matters
