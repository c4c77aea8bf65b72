#!/usr/bin/env python3
"""Intervals, tests, corrections and estimators beside scipy, statsmodels and plain counting.

    python3 -m venv VENV && VENV/bin/pip install scipy statsmodels
    cargo build --release -p gazal-tasks --example statistics
    VENV/bin/python tests/bench/stats/compare.py

Prints for each function how many random cases were compared and the largest difference. STATISTICS names the example's
binary (else target/release/examples/statistics).
"""
import itertools
import json
import math
import os
import pathlib
import random
import subprocess

import numpy
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("STATISTICS", ROOT / "target/release/examples/statistics")
DRAW = random.Random(3407)


def coins(n, share):
    return [float(DRAW.random() < share) for _ in range(n)]


def signs(differences):
    """The p-value by all signs (scipy)."""
    found = stats.permutation_test((numpy.array(differences),), numpy.sum, permutation_type="samples", n_resamples=numpy.inf)
    return found.pvalue


def clustered(values, clusters):
    """Korn and Graubard's effective number of questions, and the exact interval at it."""
    n, names = len(values), sorted(set(clusters))
    mean, count = sum(values) / n, len(names)
    effective = n if count == n else count
    if count < n and 0 < mean < 1:
        sums = [sum(v - mean for v, c in zip(values, clusters) if c == name) for name in names]
        variance = count / (count - 1) * sum(s * s for s in sums) / n**2
        ratio = stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, count - 1)
        effective = max(min(mean * (1 - mean) / variance * ratio**2, n) if variance else n, 1)
    x = mean * effective
    return [stats.beta.ppf(0.025, x, effective - x + 1) if x else 0.0,
            stats.beta.ppf(0.975, x + 1, effective - x) if x < effective else 1.0]


def comparison(left, right, clusters):
    names = sorted(set(clusters))
    d = [sum(r - l for l, r, c in zip(left, right, clusters) if c == name) / len(left) for name in names]
    question = len(names) / len(left)
    values = numpy.array([len(names) * part for part in d] + [question, -question])
    error, freedom = stats.sem(values), len(values) - 1
    low, high = stats.t.interval(0.95, freedom, values.mean(), error)
    resolution = (stats.t.ppf(0.975, freedom) + stats.norm.ppf(0.8)) * error
    return [sum(d), max(low, -1), min(high, 1), signs(d), resolution]


def majority(answers, right, k):
    won = []
    for subset in itertools.combinations(answers, k):
        votes = [answer for answer in subset if answer is not None]
        most = max((votes.count(answer) for answer in votes), default=0)
        winners = {answer for answer in votes if votes.count(answer) == most}
        won.append(1 / len(winners) if right in winners else 0)
    return sum(won) / len(won)


def paired_power(n, discordance, difference, mid):
    """The power of McNemar's exact test, with or without mid-p, over the number of pairs that differ."""
    share = (discordance + difference) / 2 / discordance
    power = 0
    for m in range(1, n + 1):
        weight = stats.binom.pmf(m, n, discordance)
        if weight > 1e-12:
            k = numpy.arange(m + 1)
            top = numpy.maximum(k, m - k)
            p = 2 * (stats.binom.sf(top - 1, m, 0.5) - 0.5 * mid * stats.binom.pmf(top, m, 0.5))
            power += weight * stats.binom.pmf(k, m, share)[p <= 0.05].sum()
    return power


def cases():
    for _ in range(200):
        trials = DRAW.randint(1, 5000)
        successes = DRAW.randint(0, trials)
        yield {"function": "wilson", "successes": successes, "trials": trials}, list(proportion_confint(successes, trials, method="wilson"))
        yield {"function": "clopper_pearson", "successes": successes, "trials": trials}, list(proportion_confint(successes, trials, method="beta"))
        p = [DRAW.random() ** 3 for _ in range(DRAW.randint(1, 15))]
        yield {"function": "bonferroni", "p": p}, list(multipletests(p, method="bonferroni")[1])
        yield {"function": "holm", "p": p}, list(multipletests(p, method="holm")[1])
        yield {"function": "benjamini_hochberg", "p": p}, list(multipletests(p, method="fdr_bh")[1])
        n = DRAW.randint(1, 300)
        right, k = DRAW.randint(0, n), DRAW.randint(1, n)
        yield {"function": "pass_at_k", "n": n, "right": right, "k": k}, 1 - math.comb(n - right, k) / math.comb(n, k)
        answers = [DRAW.choice([0, 0, 1, 2, 3, None]) for _ in range(DRAW.randint(1, 11))]
        k = DRAW.randint(1, len(answers))
        yield {"function": "maj_at_k", "answers": answers, "right": 0, "k": k}, majority(answers, 0, k)
    for _ in range(60):
        up, down = DRAW.randint(0, 400), DRAW.randint(0, 400)
        differences = [1.0] * up + [-1.0] * down
        yield {"function": "sign_flip", "differences": differences}, mcnemar([[0, up], [down, 0]], exact=True).pvalue
        differences = [float(DRAW.randint(-4, 6)) for _ in range(DRAW.randint(2, 14))]
        yield {"function": "sign_flip", "differences": differences}, signs(differences)
        n = DRAW.randint(8, 60)
        clusters = [DRAW.randint(0, 9) for _ in range(n)]
        left, right = coins(n, 0.5), coins(n, 0.7)
        yield {"function": "comparison", "left": left, "right": right, "clusters": clusters}, comparison(left, right, clusters)
        yield {"function": "accuracy", "values": left, "clusters": clusters}, clustered(left, clusters)
    for _ in range(5):
        values = [DRAW.gauss(0, 1) for _ in range(40)]
        found = stats.bootstrap((values,), numpy.mean, n_resamples=100_000, method="percentile", rng=1)
        yield {"function": "percentiles", "values": values}, list(found.confidence_interval)


def largest(found, expected):
    pairs = zip(numpy.ravel(found).tolist(), numpy.ravel(expected).tolist(), strict=True)
    return max(abs(a - b) for a, b in pairs)


def ours(asked):
    return json.loads(subprocess.run([PROGRAM], input=json.dumps(asked), capture_output=True, check=True, text=True).stdout)


def main():
    asked, expected = zip(*cases())
    differences = {}
    for case, found, value in zip(asked, ours(asked), expected, strict=True):
        differences.setdefault(case["function"], []).append(largest(found, value))
    print(f"scipy {scipy.__version__}, statsmodels {statsmodels.__version__}")
    for function, values in differences.items():
        print(f"{function:20} {len(values):4} cases, largest difference {max(values):.1e}")
    sets = [(200, 0.2), (500, 0.1), (1273, 0.1), (4183, 0.05)]
    for (n, d), found in zip(sets, ours([{"function": "paired_resolution", "n": n, "discordance": d} for n, d in sets])):
        power = [f"{100 * paired_power(n, d, found, mid):.1f}%" for mid in (True, False)]
        print(f"{n} pairs of which {100 * d:.0f}% differ resolve {100 * found:.2f} points: power {power[0]} with mid-p, {power[1]} without")


main()
