"""Fits the weights in core/src/volume/evidence.rs: whether a mask still shows the object that is followed.

fit.py EVIDENCE.csv ...        (needs numpy; the files are what `follow --evidence` prints)

A logistic regression over the slices within the true ends and up to five beyond. Every source (the third part of a case's
name) weighs the same. The threshold is added to the constant, so that 0 decides. What is printed of a source was fitted
on the other sources: slices added and missed beyond the true ends of an object, and the DSC of what was followed beside
that of the same masks cut to the true slices, without the slice that the object is followed from.
"""
import csv
import sys
from collections import defaultdict

import numpy as np

NAMES = ["confidence", "drop", "overlap", "growth", "tone", "contrast"]
THRESHOLDS = np.arange(-1, 2.01, 0.25)


def load(paths):
    walks = defaultdict(list)
    for path in paths:
        with open(path) as file:
            for row in csv.DictReader(file):
                key = tuple(row[k] for k in ("case", "label", "from", "loose", "up"))
                number = {k: float(row[k]) for k in NAMES + ["step", "area", "truth", "common"]}
                walks[key].append(number)
    for rows in walks.values():
        rows.sort(key=lambda row: row["step"])
    return walks


def fit(x, y, weight, ridge=1.0):
    """Weights and constant by Newton's method, on standardised columns."""
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    z = np.c_[(x - mean) / deviation, np.ones(len(x))]
    penalty = np.r_[np.full(x.shape[1], ridge), 1e-6]
    b = np.zeros(z.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ b))
        b -= np.linalg.solve((z * (weight * p * (1 - p))[:, None]).T @ z + np.diag(penalty), z.T @ (weight * (p - y)) + penalty * b)
    return b[:-1] / deviation, b[-1] - (b[:-1] / deviation * mean).sum()


def judge(walks, score, threshold):
    """Added, missed, DSC and DSC of the true slices of each object, in percent."""
    found = defaultdict(lambda: np.zeros(7))
    for key, rows in walks.items():
        stop = next((i for i, row in enumerate(rows) if score(row) < threshold), len(rows))
        inside = sum(row["truth"] > 0 for row in rows)
        total = found[key[:4]]
        total[0] += max(0, stop - inside)
        total[1] += max(0, inside - stop)
        total[2] += 1
        for i, row in enumerate(rows):
            total[3] += row["common"] * (i < stop)
            total[4] += row["area"] * (i < stop) + row["truth"]
            total[5] += row["common"] * (i < inside)
            total[6] += row["area"] * (i < inside) + row["truth"]
    return {key: (t[0], t[1], 200 * t[3] / max(t[4], 1), 200 * t[5] / max(t[6], 1)) for key, t in found.items()}


def source(key):
    return "_".join(key[0].split("_")[1:3])


walks = load(sys.argv[1:])
sources = sorted({source(key) for key in walks})
rows = [(source(key), row) for key, rows in walks.items() for row in rows]
labels = np.array([s for s, _ in rows])
x = np.array([[row[n] for n in NAMES] for _, row in rows])
y = np.array([row["truth"] > 0 for _, row in rows], float)
weight = np.array([1 / (labels == s).sum() for s in labels])
weight *= len(y) / weight.sum()
print(f"{len(walks)} ways, {len(y)} slices, {int(y.sum())} of them within the objects, {len(sources)} sources")

models = {}
for held in sources:
    others = labels != held
    models[held] = fit(x[others], y[others], weight[others])


def held_out(threshold):
    """Means over the objects of each source, by the weights of the others."""
    table = {}
    for held, (b, constant) in models.items():
        own = {key: rows for key, rows in walks.items() if source(key) == held}
        score = lambda row: np.dot(b, [row[n] for n in NAMES]) + constant
        table[held] = judge(own, score, threshold)
    return table


def mean(table, chosen=lambda key: True):
    by_source = [np.mean([v for k, v in t.items() if chosen(k)] or [[np.nan] * 4], axis=0) for t in table.values()]
    return np.nanmean(by_source, axis=0)


for threshold in THRESHOLDS:
    print("threshold %5.2f: added %.1f, missed %.1f, DSC %.1f of %.1f" % (threshold, *mean(held_out(threshold))))
best = max(THRESHOLDS, key=lambda t: mean(held_out(t))[2])
table = held_out(best)
print(f"by source at {best}:")
for held, objects in table.items():
    print("  %-18s added %.1f, missed %.1f, DSC %.1f of %.1f" % (held, *np.mean(list(objects.values()), axis=0)))
for start in sorted({key[2] for key in walks}):
    for loose in sorted({key[3] for key in walks}):
        values = mean(table, lambda key: key[2:4] == (start, loose))
        print("  from the %s section, box loose by %s: added %.1f, missed %.1f, DSC %.1f of %.1f" % (start, loose, *values))
b, constant = fit(x, y, weight)
print("const WEIGHTS: ([f64; 6], f64) = ([%s], %.3f);" % (", ".join("%.3f" % v for v in b), constant - best))
