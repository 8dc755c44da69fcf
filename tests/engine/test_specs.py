"""What can be trained is told without PyTorch."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch.nn import functional

from napari_semiseg.engine import lazy_torch
from napari_semiseg.engine.methods.registry import METHODS, method_specs

READ = """
from napari_semiseg.engine.methods.registry import method_specs
specs = method_specs()
assert len(specs) > 10
for spec in specs:
    assert spec.title and spec.cite and spec.params["properties"]
from napari_semiseg.engine.networks.registry import architecture_names
assert {"vnet", "resenc_unet"} <= {*architecture_names()}
"""


def said_by(code: str) -> str:
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert not found.stderr
    return found.stdout.strip()


def test_reading_specs_loads_no_torch() -> None:
    heavy = "('torch', 'napari', 'qtpy', 'nibabel', 'SimpleITK', 'skimage')"
    code = f"print([one for one in {heavy} if one in sys.modules])"
    assert said_by(f"import sys{READ}{code}") == "[]"


def test_specs_are_those_of_the_classes() -> None:
    for spec in method_specs():
        kind = METHODS.find(spec.name)
        assert (spec.title, spec.cite) == (kind.title, kind.cite)
        assert spec.params == kind.Params.model_json_schema()


def test_without_torch_methods_are_listed_and_say_what_to_install() -> None:
    absent = "import sys; sys.modules['torch'] = None"
    use = """
from napari_semiseg.engine.methods.perturbations import beta
from napari_semiseg.errors import EngineMissing
try:
    beta(0.5)
except EngineMissing as error:
    print(error)
"""
    assert "pip install 'napari-semiseg[engine]'" in said_by(absent + READ + use)
    cli = "sys.argv = ['semiseg', 'methods']; from napari_semiseg.cli import main; "
    said = said_by(f"{absent}; {cli}\ntry:\n    main()\nexcept SystemExit:\n    pass")
    assert "mean_teacher" in said


def test_threads_sleep_while_they_wait_unless_the_user_says_how_long() -> None:
    told = "import os; from napari_semiseg.engine.lazy_torch import require_torch; "
    told += "require_torch(); print(os.environ['GOMP_SPINCOUNT'])"
    assert said_by(told) == "1000"
    assert said_by(f"import os; os.environ['GOMP_SPINCOUNT'] = '7'; {told}") == "7"


def test_a_name_of_the_stand_in_is_that_of_torch_and_looked_up_once() -> None:
    assert lazy_torch.torch.lerp is torch.lerp
    assert lazy_torch.functional.one_hot is functional.one_hot
    assert "lerp" in vars(lazy_torch.torch)
