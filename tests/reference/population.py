"""Twelve people with twenty answers each, and N(μ, Σ) by thirty rounds of EM with the Laplace approximation."""
import json

import numpy as np
from scipy.optimize import minimize

J, PEOPLE, ANSWERS, ROUNDS = 3, 12, 20, 30
rng = np.random.default_rng(7)
sigmoid = lambda z: 1 / (1 + np.exp(-z))
true = rng.standard_normal((PEOPLE, J)) * [1.5, 1.0, 0.5] + [1.0, 0.0, -0.5]
deltas = rng.standard_normal((PEOPLE, ANSWERS, J)).round(3)
outcomes = (rng.random((PEOPLE, ANSWERS)) < sigmoid(np.einsum("paj,pj->pa", deltas, true))).astype(float)
outcomes[:, -1] = 0.5


def posterior(delta, a, mu, precision):
    """By a general-purpose trust-region minimiser, polished to its last digits by plain Newton steps."""
    value = lambda l: (np.logaddexp(0, delta @ l) - a * (delta @ l)).sum() + 0.5 * (l - mu) @ precision @ (l - mu)
    gradient = lambda l: delta.T @ (sigmoid(delta @ l) - a) + precision @ (l - mu)
    hessian = lambda l: (delta * (sigmoid(delta @ l) * sigmoid(-delta @ l))[:, None]).T @ delta + precision
    l = minimize(value, mu, jac=gradient, hess=hessian, method="trust-exact").x
    for _ in range(3):
        l = l - np.linalg.solve(hessian(l), gradient(l))
    return l, hessian(l)


mu, sigma = np.zeros(J), np.eye(J)
for _ in range(ROUNDS):
    fits = [posterior(d, a, mu, np.linalg.inv(sigma)) for d, a in zip(deltas, outcomes)]
    lam = np.array([f[0] for f in fits])
    mu = lam.mean(0)
    sigma = np.mean([np.linalg.inv(f[1]) for f in fits], axis=0) + (lam - mu).T @ (lam - mu) / PEOPLE
json.dump({"deltas": deltas.tolist(), "outcomes": outcomes.tolist(), "rounds": ROUNDS, "mean": mu.tolist(),
           "covariance": sigma.tolist()}, open("population.json", "w"))
