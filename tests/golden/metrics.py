"""Golden values of core's metrics, by the package surface-distance-based-measures 0.1 with numpy and scipy.

metrics.py > core/tests/data/metrics.txt

Masks are not stored but made by integer formulas that core/tests/metrics.rs repeats. A line is
  KIND SHAPE SPACING NOISE BLOBS_GT BLOBS_PRED VALUES...
with commas inside a field; a blob is an ellipsoid `centre,radii`, blobs are separated by `;`, `-` is none.
KIND is surface (3D) or contour (2D), whose values are the tolerance and the measure, or case (label maps: the i-th blob of each side paints label i; values are DSC and NSD
of each label, in upstream's convention, then in that of boundaries).
"""
import warnings

import numpy as np

np.Inf, np.NaN = np.inf, np.nan  # the package predates numpy 2
warnings.filterwarnings("ignore")
import surface_distance as sd


def blob(shape, spec):
    n = len(shape)
    c, r = spec[:n], spec[n:]
    grid = np.meshgrid(*[np.arange(s, dtype=np.int64) for s in shape], indexing="ij")
    total = int(np.prod(r))
    return sum(((g - ci) * (total // ri)) ** 2 for g, ci, ri in zip(grid, c, r)) <= total**2


def noise(shape, percent):
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    h = (i * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(7)
    return (h % np.uint64(100) < percent).reshape(shape)


def mask(shape, specs, percent):
    m = np.zeros(shape, bool)
    for s in specs:
        m |= blob(shape, s)
    return m ^ noise(shape, percent) if specs else m


def nsd(a, b, spacing, tolerance=2.0):
    return sd.compute_surface_dice_at_tolerance(sd.compute_surface_distances(a, b, spacing), tolerance)


def field(values):
    return ",".join(str(v) for v in values)


def blobs(specs):
    return ";".join(field(s) for s in specs) or "-"


def show(v):
    return "nan" if np.isnan(v) else repr(float(v))


def line(kind, shape, spacing, percent, gt, pred, values):
    print(kind, field(shape), field(spacing), percent, blobs(gt), blobs(pred), *map(show, values))


def surface(shape, spacing, percent, gt, pred, tolerance=2.0):
    a, b = mask(shape, gt, percent), mask(shape, pred, percent)
    kind = "surface" if len(shape) == 3 else "contour"
    line(kind, shape, spacing, percent, gt, pred, [tolerance, nsd(a, b, spacing, tolerance)])


def labels(shape, specs):
    m = np.zeros(shape, np.uint16)
    for i, s in enumerate(specs, 1):
        m[blob(shape, s)] = i
    return m


def case(shape, spacing, gt, pred):
    g, p = labels(shape, gt), labels(shape, pred)
    values = []
    mean = np.nanmean([sd.compute_dice_coefficient(g == i, p == i) for i in range(1, g.max() + 1)])
    for boundary in (False, True):
        for i in range(1, g.max() + 1):
            a, b = g == i, p == i
            d = sd.compute_dice_coefficient(a, b)
            if not boundary and not mean > 0.2:  # upstream looks at the mean of the case
                n = 0.0 * d
            elif len(shape) == 2:
                n = nsd(a, b, (1, 1)) if boundary else nsd(a[..., None], b[..., None], (1, 1, 1))
            else:
                n = nsd(a, b, spacing[::-1] if boundary else spacing)
            values += [d, n]
    line("case", shape, spacing, 0, gt, pred, values)


iso, thick, odd = (1.0, 1.0, 1.0), (3.0, 0.7, 0.9), (0.4, 2.5, 1.3)
surface((20, 24, 28), iso, 0, [(9, 11, 12, 6, 7, 8)], [(10, 12, 13, 6, 7, 8)], 1.0)
surface((20, 24, 28), thick, 0, [(9, 11, 12, 6, 7, 8)], [(10, 10, 15, 5, 8, 7)])
surface((16, 18, 22), odd, 3, [(7, 8, 9, 5, 6, 7), (12, 12, 16, 2, 3, 4)], [(8, 8, 10, 5, 5, 7)], 0.5)
surface((14, 15, 16), thick, 30, [(7, 7, 7, 5, 6, 7)], [(6, 7, 8, 5, 6, 7)], 0.8)
surface((12, 12, 12), iso, 0, [(0, 0, 0, 5, 6, 4)], [(0, 1, 0, 5, 6, 4)], 0.5)
surface((12, 13, 14), iso, 0, [(11, 12, 13, 5, 6, 4)], [(11, 11, 13, 5, 6, 4)], 0.5)
surface((9, 9, 9), thick, 0, [(4, 4, 4, 1, 1, 1)], [(4, 4, 6, 1, 1, 1)], 1.0)
surface((9, 9, 9), iso, 0, [], [(4, 4, 4, 2, 2, 2)])
surface((9, 9, 9), iso, 0, [(4, 4, 4, 2, 2, 2)], [])
surface((9, 9, 9), iso, 0, [], [])
surface((1, 30, 30), iso, 0, [(0, 14, 14, 1, 9, 7)], [(0, 15, 15, 1, 9, 7)], 0.5)
surface((40, 44), (1.0, 1.0), 0, [(18, 20, 11, 13)], [(20, 22, 11, 13)])
surface((40, 44), (0.6, 1.7), 0, [(18, 20, 11, 13)], [(20, 23, 9, 15)])
surface((30, 34), (1.0, 1.0), 20, [(14, 15, 9, 11)], [(15, 15, 11, 9)], 0.5)
surface((9, 9), (1.0, 1.0), 0, [(4, 4, 1, 1)], [])
surface((9, 9), (1.0, 1.0), 0, [], [])
surface((12, 12), (1.0, 1.0), 0, [(0, 0, 7, 9)], [(11, 11, 9, 7)])
case((60, 70), iso, [(20, 20, 12, 9), (44, 50, 9, 13), (10, 60, 4, 4)], [(22, 21, 12, 9), (40, 50, 9, 13), (30, 5, 4, 4)])
case((60, 70), iso, [(20, 20, 12, 9), (20, 20, 14, 14)], [(22, 21, 12, 9), (20, 20, 14, 14)])
case((18, 30, 34), (0.9, 0.7, 3.0), [(8, 11, 12, 5, 7, 8), (12, 22, 25, 4, 6, 5)], [(8, 12, 13, 5, 7, 7), (11, 21, 25, 5, 6, 5)])
case((18, 30, 34), (0.9, 0.7, 3.0), [(8, 11, 12, 5, 7, 8), (12, 22, 25, 2, 2, 2)], [(8, 12, 13, 5, 7, 7)])
# One label alone below 0.2; all of them; label 2 painted over, in neither map.
case((18, 30, 34), (0.9, 0.7, 3.0), [(8, 11, 12, 5, 7, 8), (12, 22, 25, 4, 6, 5)], [(8, 12, 13, 5, 7, 7), (9, 28, 29, 4, 6, 5)])
case((40, 44), iso, [(18, 20, 7, 8), (30, 8, 5, 5)], [(18, 33, 7, 8), (30, 15, 5, 5)])
case((40, 44), iso, [(18, 20, 7, 8), (30, 8, 5, 5), (30, 8, 6, 6)], [(18, 21, 7, 8), (30, 9, 5, 5), (30, 9, 6, 6)])
