"""Importing the package, or asking the command line for help, loads nothing heavy."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "onnxruntime", "tokenizers", "scipy", "matplotlib", "huggingface_hub")


def loaded_after(script):
    code = f"import sys\n{script}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split()), done.stdout


def test_importing_the_package_loads_nothing_heavy():
    loaded, _ = loaded_after("import clip_italian; assert clip_italian.load")
    assert {"clip_italian", "numpy"} <= loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["tokens", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    loaded, out = loaded_after(
        f"sys.argv = ['clip-italian', *{arguments}]\n"
        "from clip_italian.cli import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code"
    )
    assert "Usage: clip-italian" in out
    assert not loaded & {"torch", "transformers", "onnxruntime"}
