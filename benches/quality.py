#!/usr/bin/env python3
"""How well people who were not in training are predicted: split, train and evaluate over several seeds or folds.

    benches/quality.py attributes --seeds 10              # synthetic people, one population a seed
    benches/quality.py attributes --users 200 --pairs 8000 --overlap .03 --keep one-rater    # and one judgment of each pair
    benches/quality.py FILE [FILE …] --seeds 5            # preference files; the seed draws who is held out
    benches/quality.py FILE [FILE …] --folds 5            # everybody is held out once
    benches/quality.py FILE --folds 5 --methods pref,classic,paper,lore    # other methods, trained on the same judgments

Each seed holds out a fifth of the people and a fifth of the prompts (of the pairs, where there is one prompt), trains on
the rest, and asks the held-out people by `pref evaluate` on unseen prompts; with `--parts calibration,test` on all
prompts, with `--prompts 0 --parts calibration` only people are new. Printed is the mean over seeds; its standard error is
over seeds, each with a model and people of its own.

`--folds K` cuts people into K parts, and prompts too unless `--prompts 0`: fold k holds out the k-th of both; `--fold-seed` draws
other parts. Printed is the mean over people, each of whom is tested once; its standard error is over people, given the K models.

`--keep one-rater` trains on one judgment of each pair; `--keep all-raters` beside it on as many judgments, of a few pairs with all
their raters.
Needs the release build (`cargo build --release`); nothing but Python's standard library.
"""
import argparse
import contextlib
import gzip
import json
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

ANSWERS = (0, 5, 10, 20)
ONE_MODEL = ("pref", "classic", "random", "d-optimal", "uncertainty", "shuffled")  # read off what `pref train` wrote
TABLES = (("AUC-ROC", "curves", "auc", ""), ("gain over classic", "paired", "gain", "+"), ("ahead of pref", "against_pref", "gain", "+"))


def pref(binary, *arguments):
    subprocess.run([binary, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def write_fold(lines, k, folds, seed, prompts_too, folder):
    """The four parts that `pref split` writes, of the k-th part of the people and of the prompts."""
    held_out = {}
    for key in ("user_id", "prompt"):
        names = sorted({line[key] for line in lines})
        random.Random(seed).shuffle(names)
        held_out[key] = set(names[k::folds])
    if not prompts_too:
        held_out["prompt"] = set()
    folder.mkdir()
    parts = {(False, False): "train", (False, True): "validation", (True, False): "calibration", (True, True): "test"}
    with contextlib.ExitStack() as stack:
        files = {quadrant: stack.enter_context((folder / f"{part}.jsonl").open("w")) for quadrant, part in parts.items()}
        for line in lines:
            files[tuple(line[key] in held_out[key] for key in ("user_id", "prompt"))].write(json.dumps(line) + "\n")


def keep(path, which, seed):
    """Leaves as many judgments of a training file as it has pairs: one of each pair, or all of those of a few pairs."""
    raters = {}
    for line in path.open():
        judgment = json.loads(line)
        raters.setdefault((judgment["prompt"], *sorted((judgment["response_a"], judgment["response_b"]))), []).append(line)
    pairs, draw = list(raters.values()), random.Random(seed)
    draw.shuffle(pairs)
    kept = [draw.choice(lines) for lines in pairs] if which == "one-rater" else [line for lines in pairs for line in lines][: len(pairs)]
    path.write_text("".join(kept))


def one_round(args, k, folder):
    """The report of the k-th seed or fold, and the seconds that training took."""
    if args.data == ["attributes"]:
        data = folder / "attributes.jsonl"
        pref(args.pref, "synth", "attributes", "--users", args.users, "--pairs", args.pairs, "--overlap", args.overlap,
             "--seed", k, "--output", data)
    else:
        data = folder / "all.jsonl"
        with data.open("wb") as out:
            for name in args.data:
                with (gzip.open if name.endswith(".gz") else open)(name, "rb") as file:
                    out.write(file.read())
    if args.folds:
        write_fold([json.loads(line) for line in data.open()], k, args.folds, args.fold_seed, float(args.prompts) > 0, folder / "split")
    else:
        pref(args.pref, "split", data, "--prompts", args.prompts, "--seed", k, "--output", folder / "split")
    if args.keep:
        keep(folder / "split" / "train.jsonl", args.keep, k)
    files = lambda parts: [path for part in parts if (path := folder / "split" / f"{part}.jsonl").exists() and path.stat().st_size]
    begun = time.monotonic()
    if set(args.methods) <= set(ONE_MODEL):
        pref(args.pref, "train", "--data", *files(["train"]), "--backbone", args.backbone, "--seed", k, "--output", folder / "model")
        trained = ["--model", folder / "model"]
    else:
        trained = ["--train", *files(["train"]), "--backbone", args.backbone, "--train-seed", k]
    seconds = time.monotonic() - begun
    pref(args.pref, "evaluate", *trained, "--data", *files(args.parts.split(",")), "--seeds", args.cuts,
         "--methods", ",".join(args.methods), "--answers", ",".join(map(str, ANSWERS)), "--json", folder / "report.json")
    return json.loads((folder / "report.json").read_text()), seconds


def over_seeds(points):
    """Mean and its standard error over `(mean, standard error, people)` of each seed."""
    means = [mean for mean, _, _ in points]
    return statistics.mean(means), statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None


def over_people(points):
    """Mean and its standard error over the people of all folds; a fold of one person has the spread of the others."""
    people = sum(n for _, _, n in points)
    variances = [se**2 * n for _, se, n in points if se is not None]
    pooled = statistics.mean(variances) if variances else None
    spread = [n * (se**2 * n if se is not None else pooled or 0) for _, se, n in points]
    return sum(mean * n for mean, _, n in points) / people, sum(spread) ** 0.5 / people if variances else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+")
    rounds = parser.add_mutually_exclusive_group()
    rounds.add_argument("--seeds", type=int, default=10)
    rounds.add_argument("--folds", type=int, help="cut the people of preference files into so many parts")
    parser.add_argument("--fold-seed", type=int, default=0, help="draws the parts of --folds")
    parser.add_argument("--users", type=int, default=84, help="of attributes: `pref synth attributes --users`")
    parser.add_argument("--pairs", type=int, default=1020, help="of attributes: `pref synth attributes --pairs`")
    parser.add_argument("--overlap", type=float, default=0.8, help="of attributes: `pref synth attributes --overlap`")
    parser.add_argument("--keep", choices=("one-rater", "all-raters"), help="train on as many judgments as there are pairs")
    parser.add_argument("--cuts", type=int, default=5, help="`pref evaluate --seeds`")
    parser.add_argument("--prompts", default=0.2, help="share of the prompts held out: `pref split --prompts`")
    parser.add_argument("--parts", default="test", help="parts of the split that are tested: calibration, test")
    parser.add_argument("--methods", default="pref,classic,random,shuffled", type=lambda names: names.split(","))
    parser.add_argument("--backbone", default="lexical")
    parser.add_argument("--pref", default="target/release/pref", help="the binary")
    parser.add_argument("--json", help="also write every round's report to this file")
    args = parser.parse_args()
    if args.folds and args.data == ["attributes"]:
        parser.error("--folds is for preference files: of attributes each seed makes people of its own")
    figures, users, seconds, reports = {}, {}, [], []
    for k in range(args.folds or args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            report, trained = one_round(args, k, pathlib.Path(folder))
        seconds.append(trained)
        reports.append(report)
        for _, curves, what, _ in TABLES:
            for point in report[curves]:
                key = (curves, point["method"], point["answers"])
                figures.setdefault(key, []).append((point[f"{what}_mean"], point[f"{what}_se"], point["users"]))
        for n in ANSWERS:
            users.setdefault(n, []).append(max((point["users"] for point in report["curves"] if point["answers"] == n), default=0))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(reports, indent=1))
    pooled = over_people if args.folds else over_seeds
    print(f"{len(reports)} {'folds' if args.folds else 'seeds'}" + (f", training {statistics.mean(seconds):.1f} s each" if max(seconds) > 0.1 else ""))
    for title, curves, _, sign in TABLES:
        print(f"\n| {title} | " + " | ".join(f"{n} answers" for n in ANSWERS) + " |")
        print("|---" * (len(ANSWERS) + 1) + "|")
        for method in args.methods:
            cells = [pooled(figures[curves, method, n]) if (curves, method, n) in figures else None for n in ANSWERS]
            if any(cells):
                shown = (f"{c[0]:{sign}.3f}" + (f" ± {c[1]:.3f}" if c[1] is not None else "") if c else "–" for c in cells)
                print(f"| {method} | " + " | ".join(shown) + " |")
    count = sum if args.folds else statistics.mean
    print(f"\npeople{'' if args.folds else ' a seed'}: " + ", ".join(f"{count(users[n]):.0f} at {n}" for n in ANSWERS))


if __name__ == "__main__":
    main()
