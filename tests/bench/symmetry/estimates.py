#!/usr/bin/env python3
"""Targets, slopes, both bootstraps, dimensions and orbit consistency beside numpy, scipy and scikit-dimension.

    estimates.py PROGRAM      PROGRAM is the example `symmetry` of gazal-tasks
    estimates.py PROGRAM RESAMPLES

Prints the largest difference of each number over random studies.
"""
import json
import subprocess
import sys
import warnings

import numpy as np
import skdim
from scipy import stats

SIZES = [1, 2, 3, 4, 6, 8, 12]
SAMPLES = [50, 100, 200, 400, 800, 1600, 3200, 6400]
SEEDS = range(5)
FAMILIES = ["equivariant", "wrong_group", "augmented", "vanilla", "regularized"]
RESAMPLES = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
DRAW = np.random.default_rng(3407)


def study(gain, spread):
    """Accuracies that rise with log2(samples): families need other numbers, some of which no sample reaches."""
    runs = []
    for family in FAMILIES:
        for noise in (0.0, 0.2):
            for n in SIZES:
                slope = gain.get(family, 0.0) * (1 - noise)
                need = 6.5 + (1.3 - slope) * np.log2(n) + DRAW.normal(0, spread)
                for samples in SAMPLES:
                    for seed in SEEDS:
                        margin = np.log2(samples) - need + DRAW.normal(0, spread)
                        accuracy = 0.5 + 0.45 / (1 + np.exp(-margin - 0.7))
                        runs.append({"family": family, "n": n, "samples": samples, "noise": noise, "seed": seed,
                                     "best_val_accuracy": round(float(accuracy), 4)})
    return runs


class Reference:
    def __init__(self, runs):
        self.table = {(r["family"], r["noise"], r["n"], r["samples"], r["seed"]): r["best_val_accuracy"] for r in runs}

    def target(self, family, noise, n, seeds=SEEDS):
        for samples in SAMPLES:
            if sum(self.table[family, noise, n, samples, seed] >= 0.8 for seed in seeds) >= 3:
                return samples
        return None

    def point(self, treatment, baseline, noise, n, seeds=SEEDS):
        needed = self.target(treatment, noise, n, seeds)
        beside = self.target(baseline, noise, n, seeds) if baseline else 1
        if needed is None or beside is None:
            return None
        return (np.log2(n), np.log2(beside) - np.log2(needed) if baseline else np.log2(needed))

    def points(self, treatment, baseline, noise):
        found = [self.point(treatment, baseline, noise, n) for n in SIZES]
        return np.array([point for point in found if point])

    def single(self, points):
        rng = np.random.default_rng(999)
        slopes = [ols(points[rng.integers(0, len(points), size=len(points))]) for _ in range(RESAMPLES)]
        return interval(slopes)

    def two_level(self, treatment, baseline, noise):
        rng = np.random.default_rng(999)
        slopes = []
        for _ in range(RESAMPLES):
            sizes = [SIZES[i] for i in rng.integers(0, len(SIZES), size=len(SIZES))]
            points = [(n, self.point(treatment, baseline, noise, n, rng.integers(0, 5, size=5))) for n in sizes]
            points = [(n, point) for n, point in points if point]
            enough = len({n for n, _ in points}) >= 3
            slopes.append(ols(np.array([point for _, point in points])) if enough else None)
        return interval(slopes)


def ols(points):
    x, y = points.T
    return stats.linregress(x, y).slope if np.ptp(x) > 0 else None


def interval(slopes):
    kept = np.array([slope for slope in slopes if slope is not None])
    kept[np.abs(kept) < 1e-12] = 0
    low, high = np.percentile(kept, [2.5, 97.5])
    return low, high, min(1, 2 * min((kept >= 0).mean(), (kept <= 0).mean())), len(kept)


def compare(name, found, expected, largest):
    difference = np.max(np.abs(np.asarray(found, float) - np.asarray(expected, float)), initial=0)
    count, before = largest.get(name, (0, 0.0))
    largest[name] = (count + 1, max(before, difference))


def spread(rate):
    return [rate["spread"][key] for key in ("low", "high", "p", "kept")]


def compare_study(runs, found, largest):
    reference = Reference(runs)
    for target in found["targets"]:
        expected = reference.target(target["family"], 0.0, target["n"])
        compare("targets", target["samples"] or 0, expected or 0, largest)
    for rate in found["rates"]:
        pair = rate["contrast"]["treatment"], rate["contrast"].get("baseline")
        points = reference.points(*pair, 0.0)
        compare("slopes", rate["slope"], ols(points), largest)
        compare("single-level intervals, p and kept", spread(rate), reference.single(points), largest)
    for rate in found["two_level"]:
        pair = rate["contrast"]["treatment"], rate["contrast"]["baseline"]
        compare("two-level intervals, p and kept", spread(rate), reference.two_level(*pair, 0.0), largest)
    for robustness in found["robustness"]:
        points, clean = (reference.points("equivariant", "vanilla", noise) for noise in (robustness["noise"], 0.0))
        if robustness["share"] is not None:
            compare("shares left with noise", robustness["share"], ols(points) / ols(clean), largest)


def hidden(dimension, width, count):
    points = np.maximum(DRAW.standard_normal((count, dimension)) @ DRAW.standard_normal((dimension, width)), 0)
    return (points + DRAW.normal(0, 0.01, points.shape)).astype(np.float32)


def dimensions(points):
    points = points.astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(np.cov(points.T, bias=True))
    distances = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1:11]
    logs = np.log(distances)
    likelihood = np.median(9 / (logs[:, -1:] - logs[:, :-1]).sum(axis=1))
    return skdim.id.TwoNN().fit(points).dimension_, eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), likelihood


def main():
    warnings.simplefilter("ignore")
    studies = [study({"equivariant": 1.0, "wrong_group": -0.7, "augmented": -9.0}, 0.3),
               study({"equivariant": 0.2, "wrong_group": 0.1, "augmented": 0.2}, 0.6),
               study({"equivariant": 1.3, "wrong_group": 0.0, "augmented": 1.2, "vanilla": -0.4}, 0.9)]
    clouds = [hidden(dimension, 32, 500) for dimension in (1, 2, 3, 5, 8)]
    orbits = [(DRAW.standard_normal((200, n)) * spread + DRAW.standard_normal((200, 1))).astype(np.float32)
              for n, spread in ((2, 1.0), (6, 0.1), (12, 0.0))]
    asked = [{"function": "study", "runs": runs, "resamples": RESAMPLES} for runs in studies]
    asked += [{"function": "dimensions", "values": cloud.ravel().tolist(), "width": 32} for cloud in clouds]
    asked += [{"function": "orbit_consistency", "logits": orbit.ravel().tolist(), "n": orbit.shape[1]} for orbit in orbits]
    output = subprocess.run([sys.argv[1]], input=json.dumps(asked), capture_output=True, check=True, text=True).stdout
    answers = iter(json.loads(output))
    largest = {}
    print(f"numpy {np.__version__}, scikit-dimension {skdim.__version__}, {RESAMPLES} resamples")
    for runs in studies:
        found = next(answers)
        compare_study(runs, found, largest)
        print("study:", {key: found[key] for key in ("outcome", "preregistered")}, found["confirmatory"]["outcome"])
    for cloud in clouds:
        found = next(answers)
        compare("dimensions (relative)", [found[key] / value for key, value in
                zip(("two_nn", "participation_ratio", "levina_bickel"), dimensions(cloud))], [1, 1, 1], largest)
    for orbit in orbits:
        wide = orbit.astype(np.float64)
        expected = (wide.std(axis=1, ddof=1) / (wide.std(ddof=1) + 1e-8)).mean()
        compare("orbit consistency", next(answers), expected, largest)
    for name, (count, difference) in largest.items():
        print(f"{name:36} {count:4} compared, largest difference {difference:.1e}")


main()
