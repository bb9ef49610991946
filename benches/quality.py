#!/usr/bin/env python3
"""How well people who were not in training are predicted: split, train and evaluate over several seeds.

    benches/quality.py attributes --seeds 10              # synthetic people, one population a seed
    benches/quality.py FILE [FILE …] --seeds 5            # preference files; the seed draws who is held out

Each seed holds out a fifth of the people and a fifth of the prompts (of the pairs, where there is one prompt), trains on
the rest, and asks the held-out people by `pref evaluate` on unseen prompts; with `--parts calibration,test` on all
prompts, with `--prompts 0 --parts calibration` only people are new. Printed is the mean over seeds; its standard error is over seeds, each with a model and people of its own.
Needs the release build (`cargo build --release`); nothing but Python's standard library.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

ANSWERS = (0, 5, 10, 20)
METHODS = ("pref", "classic", "random", "shuffled")


def pref(binary, *arguments):
    subprocess.run([binary, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def one_seed(args, seed, folder):
    if args.data == ["attributes"]:
        data = folder / "attributes.jsonl"
        pref(args.pref, "synth", "attributes", "--seed", seed, "--output", data)
    else:
        data = folder / "all.jsonl"
        with data.open("wb") as out:
            for name in args.data:
                opened = subprocess.run(["gzip", "-dc", name] if name.endswith(".gz") else ["cat", name], check=True, capture_output=True)
                out.write(opened.stdout)
    pref(args.pref, "split", data, "--prompts", args.prompts, "--seed", seed, "--output", folder / "split")
    files = lambda parts: [path for part in parts if (path := folder / "split" / f"{part}.jsonl").exists() and path.stat().st_size]
    begun = time.monotonic()
    pref(args.pref, "train", "--data", *files(["train"]), "--backbone", args.backbone, "--seed", seed, "--output", folder / "model")
    trained = time.monotonic() - begun
    pref(args.pref, "evaluate", "--model", folder / "model", "--data", *files(args.parts.split(",")), "--seeds", args.cuts,
         "--methods", ",".join(METHODS), "--answers", ",".join(map(str, ANSWERS)), "--json", folder / "report.json")
    return json.loads((folder / "report.json").read_text()), trained


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cuts", type=int, default=5, help="`pref evaluate --seeds`")
    parser.add_argument("--prompts", default=0.2, help="share of the prompts held out: `pref split --prompts`")
    parser.add_argument("--parts", default="test", help="parts of the split that are tested: calibration, test")
    parser.add_argument("--backbone", default="lexical")
    parser.add_argument("--pref", default="target/release/pref", help="the binary")
    args = parser.parse_args()
    aucs, gains, users, seconds = {}, {}, {}, []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            report, trained = one_seed(args, seed, pathlib.Path(folder))
        seconds.append(trained)
        for point in report["curves"]:
            aucs.setdefault((point["method"], point["answers"]), []).append(point["auc_mean"])
            users.setdefault(point["answers"], []).append(point["users"])
        for gain in report["paired"]:
            gains.setdefault((gain["method"], gain["answers"]), []).append(gain["gain_mean"])
    spread = lambda values: f" ± {statistics.stdev(values) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
    print(f"{args.seeds} seeds, training {statistics.mean(seconds):.1f} s each")
    for title, figures, sign in (("AUC-ROC", aucs, ""), ("gain over classic", gains, "+")):
        print(f"\n| {title} | " + " | ".join(f"{n} answers" for n in ANSWERS) + " |")
        print("|---" * (len(ANSWERS) + 1) + "|")
        for method in METHODS:
            cells = [figures.get((method, n)) for n in ANSWERS]
            if any(cells):
                print(f"| {method} | " + " | ".join(f"{statistics.mean(c):{sign}.3f}{spread(c)}" if c else "–" for c in cells) + " |")
    print("\npeople a seed: " + ", ".join(f"{statistics.mean(users[n]):.0f} at {n}" for n in ANSWERS if n in users))


if __name__ == "__main__":
    main()
