"""A small part of the known-φ study's dump: four people with their first ten answers, MAP estimate, Hessian and AUC;
and all training people."""
import gzip
import json
import sys

import numpy as np

dump = json.load(open(sys.argv[1]))


def auc(scores, outcomes):
    m = np.where(outcomes > 0, scores, -scores)
    total = m[:, None] + m[None, :]
    return float((total > 0).mean() + (total == 0).mean() / 2)


people = []
for person in dump["people"][:4]:
    test, outcomes = np.array(person["test"][:60]), np.array(person["outcomes"][:60])
    people.append({
        "delta": person["pool"][:10],
        "preference": person["answers"][:10],
        "coefficients": person["map_after_first_10"],
        "hessian": person["hessian_after_first_10"],
        "test": test.tolist(),
        "outcomes": outcomes.tolist(),
        "auc": auc(test @ np.array(person["map_after_first_10"]), outcomes),
    })
json.dump({"mean": dump["mu"], "covariance": dump["sigma"], "people": people}, open("known_phi.json", "w"))

# The training people, δ in millionths, from which μ and Σ come.
train = [{"delta": np.rint(np.array(person["delta"]) * 1e6).astype(int).tolist(),
          "answers": [int(answer) for answer in person["answers"]]} for person in dump["train"]]
with gzip.GzipFile("known_phi_train.json.gz", "wb", mtime=0) as packed:
    packed.write(json.dumps(train, separators=(",", ":")).encode())
