"""Factors of users and pairs without text, ours beside LIBMF: time to the same held-out logistic loss.

Both read the same train.txt and held_out.txt ("user pair ±1"), run on the same cores one after the other, and are timed from
judgments in memory to factors, held-out losses aside. Each has its own ridge and LIBMF its learning rate, by held-out loss
over the grid below; then the winning settings run in turn, `--repeats` times.

    cargo bench --bench factorization -- generate --out DIR
    benches/peers/factorization.py --data DIR

LIBMF has the binary logarithmic loss (fun=5), and its library is called without the Python wrapper, which would copy ten
million judgments through single-precision indices on its clock.
"""
import argparse
import ctypes
import glob
import json
import os
import resource
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np

FACTORS, LOGISTIC = 8, 5
NODE = np.dtype([("user", "i4"), ("pair", "i4"), ("sign", "f4")])
RATES, LIBMF_RIDGES, MOST_PASSES = (0.1, 0.2, 0.4, 0.8), (0.005, 0.01, 0.02), 40
OUR_RIDGES, SWEEPS = ((1, 2.5), (2, 5), (3, 7.5)), 4


class Problem(ctypes.Structure):
    _fields_ = [("m", ctypes.c_int), ("n", ctypes.c_int), ("nnz", ctypes.c_longlong), ("nodes", ctypes.c_void_p)]


class Parameter(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("fun", "k", "nr_threads", "nr_bins", "nr_iters")] + [
        (name, ctypes.c_float) for name in ("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2", "eta")] + [
        (name, ctypes.c_bool) for name in ("do_nmf", "quiet", "copy_data")]


class Model(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("fun", "m", "n", "k")] + [("b", ctypes.c_float)] + [
        (name, ctypes.POINTER(ctypes.c_float)) for name in ("P", "Q")]


def read(path):
    """Lines "user pair sign" as LIBMF's nodes; kept as .npy beside the text, which takes long to parse."""
    packed = path.with_suffix(".npy")
    if not packed.exists() or packed.stat().st_mtime < path.stat().st_mtime:
        columns = np.loadtxt(path, dtype=np.int32)
        nodes = np.empty(len(columns), NODE)
        for k, name in enumerate(NODE.names):
            nodes[name] = columns[:, k]
        np.save(packed, nodes)
    return np.load(packed)


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def held_out_loss(users, pairs, held_out):
    total = 0.0
    for part in np.array_split(held_out, 1 + len(held_out) // 100_000):
        z = np.einsum("ij,ij->i", users[part["user"]].astype(float), pairs[part["pair"]].astype(float))
        total += np.logaddexp(0, -part["sign"] * z).sum()
    return total / len(held_out)


def libmf(train, held_out, rate, ridge, passes, curve):
    """One run: seconds, processor seconds and held-out loss. With `curve` it prints the loss after each pass."""
    library = ctypes.CDLL(glob.glob(os.path.join(sysconfig.get_paths()["platlib"], "libmf*.so"))[0])
    library.mf_train_with_validation.restype = ctypes.POINTER(Model)
    library.mf_train_with_validation.argtypes = [ctypes.POINTER(Problem), ctypes.POINTER(Problem), Parameter]
    threads = len(os.sched_getaffinity(0))
    problem, validation = (Problem(int(part["user"].max()) + 1, int(part["pair"].max()) + 1, len(part), part.ctypes.data)
                           for part in (train, held_out))
    if not curve:
        validation.nnz = 0
    # 26 bins and copied data are LIBMF's own choice.
    parameter = Parameter(LOGISTIC, FACTORS, threads, 26, passes, 0, ridge, 0, ridge, rate, False, not curve, True)
    clock, cpu = time.perf_counter(), cpu_seconds()
    model = library.mf_train_with_validation(ctypes.byref(problem), ctypes.byref(validation), parameter).contents
    seconds, cpu = time.perf_counter() - clock, cpu_seconds() - cpu
    users = np.ctypeslib.as_array(model.P, (model.m, FACTORS))
    pairs = np.ctypeslib.as_array(model.Q, (model.n, FACTORS))
    return {"seconds": seconds, "cpu_seconds": cpu, "held_out_loss": float(held_out_loss(users, pairs, held_out)),
            "rate": rate, "ridge": ridge, "passes": passes,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def libmf_apart(data, rate, ridge, passes, curve=False):
    """The same in a process of its own, since LIBMF draws from one global random state and memory must count once."""
    command = [sys.executable, __file__, "--data", data, "--libmf", str(rate), str(ridge), str(passes)] + ["--curve"] * curve
    *printed, line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [words for words in map(str.split, printed) if words[0].isdigit()]
    return json.loads(line) | {"curve": [float(words[2]) for words in rows]}


def build():
    """Our compiled bench."""
    command = ["cargo", "bench", "--locked", "--no-run", "--bench", "factorization", "--message-format", "json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = map(json.loads, filter(None, lines))
    return next(m["executable"] for m in messages
                if m.get("executable") and m["target"]["name"] == "factorization")


def ours(binary, data, ridges, sweeps, last=True):
    command = [binary, "fit", "--data", data, "--sweeps", str(sweeps)] + ["--last"] * last
    command += ["--user-ridge", str(ridges[0]), "--pair-ridge", str(ridges[1])]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def libmf_to(grid, loss):
    """LIBMF's (passes, rate, ridge) that reaches the loss soonest, by its own printed curves, whatever setting it takes."""
    reached = [(next(k for k, value in enumerate(line["curve"], 1) if value <= loss), line["rate"], line["ridge"])
               for line in grid if min(line["curve"]) <= loss]
    return min(reached, default=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--ours", help="the compiled bench; built if not given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--libmf", nargs=3, type=float, metavar=("RATE", "RIDGE", "PASSES"), help="one run, nothing else")
    parser.add_argument("--curve", action="store_true", help="with --libmf: LIBMF's own held-out loss after every pass")
    args = parser.parse_args()
    if args.libmf:
        rate, ridge, passes = args.libmf
        train, held_out = (read(Path(args.data) / name) for name in ("train.txt", "held_out.txt"))
        print(json.dumps(libmf(train, held_out, rate, ridge, int(passes), args.curve)))
        return
    args.ours = args.ours or build()

    grid = [libmf_apart(args.data, rate, ridge, MOST_PASSES, curve=True) for ridge in LIBMF_RIDGES for rate in RATES]
    for line in grid:
        print(json.dumps({"libmf": line}), flush=True)
    our_grid = [ours(args.ours, args.data, ridges, SWEEPS)[0] | {"ridges": ridges} for ridges in OUR_RIDGES]
    for line in our_grid:
        print(json.dumps({"ours": line}), flush=True)
    mine = min(our_grid, key=lambda line: line["held_out_loss"])

    # LIBMF prints four digits: what it prints as x is at most x + .00005. Ours to a digit more, which LIBMF may not reach.
    best = min(min(line["curve"]) for line in grid)
    levels = {"a thousandth above LIBMF's best": best + 1.05e-3, "LIBMF's best": best + 5e-5,
              "our best": mine["held_out_loss"] + 1e-5}
    for name, loss in levels.items():
        theirs_to = libmf_to(grid, loss)
        our_line = next((l for l in ours(args.ours, args.data, mine["ridges"], SWEEPS, last=False)
                         if l["held_out_loss"] <= loss), None)
        race = {"level": name, "held_out_loss": loss}
        if our_line:
            race["our_sweeps"] = our_line["sweeps"]
        if theirs_to:
            race["libmf_passes"], race["libmf_rate"], race["libmf_ridge"] = theirs_to
        rounds = []
        for _ in range(args.repeats):
            pair = {}
            if our_line:
                pair["ours"] = ours(args.ours, args.data, mine["ridges"], our_line["sweeps"])[0]
            if theirs_to:
                passes, rate, ridge = theirs_to
                pair["libmf"] = libmf_apart(args.data, rate, ridge, passes)
            pair["load"] = os.getloadavg()[0]
            rounds.append(pair)
        race["rounds"] = [{who: {k: line[k] for k in ("seconds", "cpu_seconds", "held_out_loss", "peak_mib")}
                           if isinstance(line, dict) else line for who, line in pair.items()} for pair in rounds]
        if our_line and theirs_to:
            for unit in ("seconds", "cpu_seconds"):
                race[f"libmf_over_ours_{unit}"] = float(np.median(
                    [pair["libmf"][unit] / pair["ours"][unit] for pair in rounds]))
        print(json.dumps(race), flush=True)


if __name__ == "__main__":
    main()
