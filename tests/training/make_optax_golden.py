"""Write golden/optax_chain.json with optax itself: the chain that the paper ran, over 20 steps in float64.

optax 0.0.9 (2 July 2021) is the release of the paper's days. In an environment of its own:

    pip install jax==0.10.2 chex && pip install --no-deps optax==0.0.9
    JAX_PLATFORMS=cpu JAX_ENABLE_X64=1 python tests/training/make_optax_golden.py

The three names that jax has dropped since are put back first; nothing else of optax is touched.
"""

import json
from pathlib import Path

import numpy as np

# Flax layouts: (in, out), (h, w, in, out), (vocabulary, dim), vectors, a scalar, and the two shapes of bare parameters.
SHAPES = {
    "linear": (3, 4),
    "convolution": (2, 2, 3, 4),
    "depthwise": (3, 3, 1, 4),
    "embedding": (6, 3),
    "bias": (4,),
    "norm": (3,),
    "scalar": (),
    "class_token": (1, 1, 4),
    "places": (1, 5, 3),
}
STEPS, WARMUP, RATE, KEPT = 20, 5, 0.05, (1, 2, 5, 20)


def start(name):
    """Return the first weights of a parameter, flax layout."""
    count = int(np.prod(SHAPES[name]))
    values = (np.sin(1.0 + 0.7 * np.arange(count) + len(name)) * 0.5).reshape(SHAPES[name])
    if name in ("linear", "embedding"):
        values[:, 0] = 0.0  # a unit of zeros, where eps of the clipping decides
    return values


def pull(name, weights, step):
    """Return the gradient at `step` (from 0): some units far over the clipping's bound, some under it."""
    index = np.arange(weights.size).reshape(weights.shape)
    wave = np.cos(0.9 * index + 1.3 * step + len(name))
    return wave * 10.0 ** (index % 4 - 3.0) * (1 if step % 3 else 0.02) + 0.01 * weights


def main():
    """Run the chain and write the weights after the kept steps, raveled."""
    import jax
    import jax.numpy as jnp

    jax.tree_map = jax.tree_multimap = jax.tree_util.tree_map
    jnp.DeviceArray = jax.Array
    import optax

    schedule = optax.join_schedules(
        [optax.linear_schedule(0.0, RATE, WARMUP), optax.cosine_decay_schedule(RATE, STEPS - WARMUP)], [WARMUP]
    )
    chain = optax.chain(
        optax.adaptive_grad_clip(0.01, eps=0.001),
        optax.scale_by_belief(),
        optax.scale_by_schedule(schedule),
        optax.scale(-1.0),
    )
    weights = {name: jnp.asarray(start(name)) for name in SHAPES}
    state = chain.init(weights)
    kept = {}
    for step in range(STEPS):
        gradients = {name: jnp.asarray(pull(name, np.asarray(w), step)) for name, w in weights.items()}
        updates, state = chain.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
        assert all(w.dtype == jnp.float64 for w in weights.values())
        if step + 1 in KEPT:
            kept[str(step + 1)] = {name: np.asarray(w).ravel().tolist() for name, w in weights.items()}
    value = {"optax": optax.__version__, "jax": jax.__version__, "weights": kept}
    out = Path(__file__).parent / "golden" / "optax_chain.json"
    out.write_text(json.dumps(value) + "\n")


if __name__ == "__main__":
    main()
