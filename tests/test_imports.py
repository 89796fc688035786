"""Importing the package, its plug-ins or its command line loads no framework; every public name is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nid_plugins

FRAMEWORKS = (
    "torch",
    "tensorflow",
    "keras",
    "tf_keras",
    "deepctr",
    "deepctr_torch",
    "lightning",
    "ray",
    "sklearn",
)

LOADING = {
    "package": "import nid_plugins",
    "every public name": "import nid_plugins; [getattr(nid_plugins, name) for name in nid_plugins.__all__]",
    "nid_torch.plugin": "import nid_torch.plugin",
    "nid_deepctr_torch.plugin": "import nid_deepctr_torch.plugin",
    "all plug-ins registered": "from nid_plugins import get_manager as g; assert g().problems == []; g().adapters()",
    "callbacks": "import nid_plugins.callbacks",
    "command line": "from nid_plugins.cli import nid; nid.main(['--help'], standalone_mode=False)",
    "a model of no framework": (
        "import nid_plugins as n; n.wrap(lambda c: c['a'], n.FeatureSchema([n.DenseField('a')]), output='logit')"
    ),
}


@pytest.mark.parametrize("what", LOADING)
def test_no_framework_is_imported(what):
    code = f"import sys\n{LOADING[what]}\nprint('loaded:', sorted(set({FRAMEWORKS!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded: []\n")


def test_the_bare_package_is_light():
    code = "import sys, nid_plugins; print({'numpy', 'pandas', 'click', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", nid_plugins.__all__)
def test_public_name(name):
    assert getattr(nid_plugins, name) is not None
    assert name in dir(nid_plugins)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        _ = nid_plugins.detekt


def test_public_names_are_told_to_type_checkers_too():
    tree = ast.parse(Path(nid_plugins.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    rooms = {"experiment": "nid_plugins"}
    assert typed == nid_plugins._HOME_OF | rooms
    assert set(typed) | {"__version__"} == set(nid_plugins.__all__)


def test_names_of_the_experiment_room_are_told_to_type_checkers_too():
    room = nid_plugins.experiment
    tree = ast.parse(Path(room.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    assert typed == {name: f"{room.__name__}.{home}" for name, home in room._HOME_OF.items()}
    assert set(typed) == set(room.__all__)
    assert set(room.__all__) <= set(dir(room))
