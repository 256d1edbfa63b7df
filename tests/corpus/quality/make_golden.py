"""Make golden.json: figures of two independent implementations, to compare ours with.

Gwet's coefficients by irrCAC 0.4.4 (the Python port of Gwet's own R package), chrF by sacrebleu; neither can be
installed beside this package (irrCAC needs numpy < 2), so run it in an environment of its own:

    python -m venv /tmp/golden && /tmp/golden/bin/pip install irrCAC==0.4.4 sacrebleu
    /tmp/golden/bin/python tests/corpus/quality/make_golden.py > tests/corpus/quality/golden.json
"""

import json
import math
from importlib.metadata import version

import numpy as np
import pandas as pd
from irrCAC.raw import CAC
from sacrebleu.metrics import CHRF

CUSTOM = [[1.0, 0.9, 0.3, 0.0], [0.9, 1.0, 0.5, 0.1], [0.3, 0.5, 1.0, 0.8], [0.0, 0.1, 0.8, 1.0]]
SENTENCES = [
    ("a black dog runs in the snow", "a black dog is running through the snow"),
    ("two children", "two children"),
    ("a man", "three women on a beach at sunset"),
    ("no", "a cat"),
    ("the boy's red T-shirt, 1990", "the boy has a red t-shirt of 1990"),
    ("perché no? città", "perche no citta"),
]


def ratings(seed: int, items: int, raters: int, missing: float, values: tuple[int, ...]) -> np.ndarray:
    """Draw (items, raters) ratings around a common truth; some missing, no item without any."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(len(values), size=(items, 1))
    apart = generator.choice([-1, 0, 0, 0, 1], size=(items, raters))
    drawn = np.take(values, np.clip(truth + apart, 0, len(values) - 1)).astype(float)
    absent = generator.random((items, raters)) < missing
    absent[np.arange(items), generator.integers(raters, size=items)] = False
    drawn[absent] = np.nan
    return drawn


def case(name: str, table: np.ndarray, weights: str | list[list[float]], categories: list[float]) -> dict:
    """Compute one coefficient; every figure to 12 places."""
    given = weights if isinstance(weights, str) else np.array(weights)
    estimate = CAC(pd.DataFrame(table), weights=given, categories=categories, digits=12).gwet()["est"]
    return {
        "name": name,
        "ratings": [[None if math.isnan(rating) else rating for rating in row] for row in table.tolist()],
        "weights": weights,
        "categories": categories,
        "value": float(estimate["coefficient_value"]),
        "standard_error": float(estimate["se"]),
        "low": float(estimate["confidence_interval"][0]),
        "high": float(estimate["confidence_interval"][1]),
        "observed": float(estimate["pa"]),
        "chance": float(estimate["pe"]),
    }


def main() -> None:
    """Print the JSON."""
    tables = {
        "three raters of 100 translations, none missing": (ratings(1, 100, 3, 0.0, (1, 2, 3, 4)), [1, 2, 3, 4]),
        "two raters": (ratings(2, 40, 2, 0.0, (1, 2, 3, 4)), [1, 2, 3, 4]),
        "five raters, a third missing": (ratings(3, 60, 5, 0.33, (1, 2, 3, 4)), [1, 2, 3, 4]),
        "nobody chose 1 or 2": (ratings(4, 30, 3, 0.1, (3, 4)), [1, 2, 3, 4]),
        "values unevenly spaced": (ratings(5, 50, 4, 0.2, (0, 1, 5, 6)), [0, 1, 5, 6]),
        "two categories": (ratings(6, 25, 3, 0.15, (0, 1)), [0, 1]),
    }
    agreement = []
    for name, (table, categories) in tables.items():
        kinds: list[str | list[list[float]]] = ["identity", "ordinal", "linear", "quadratic"]
        if len(categories) == 4:
            kinds.append(CUSTOM)
        agreement += [case(name, table, weights, categories) for weights in kinds]
    chrf = [{"hypothesis": a, "reference": b, "score": CHRF().sentence_score(a, [b]).score / 100} for a, b in SENTENCES]
    made_by = {name: version(name) for name in ("irrCAC", "sacrebleu", "numpy")}
    lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in agreement)
    print(f'{{"made_by": {json.dumps(made_by)},\n "agreement": [\n  {lines}\n ],')
    lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in chrf)
    print(f' "chrf": [\n  {lines}\n ]}}')


if __name__ == "__main__":
    main()
