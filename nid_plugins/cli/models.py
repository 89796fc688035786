"""Models named on the command line: ``package.module:factory``, or a pickle where that is allowed."""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

from nid_plugins.blackbox import BlackBox, wrap
from nid_plugins.errors import MissingExtraError, ModelError, NidError, SettingError
from nid_plugins.schema import FeatureSchema

PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib"})


def load_box(
    name: str,
    schema: FeatureSchema | None,
    *,
    inputs: str = "auto",
    output: str = "auto",
    allow_pickle: bool = False,
) -> BlackBox:
    """Return the model of a name, wrapped.

    Args:
        name: ``package.module:factory``, where the factory takes no arguments and returns a model, a pair of model and
            schema, or a wrapped model; the current directory is searched first. Or the path of a pickle, or of the
            folder of a SavedModel.
        schema: The fields; overrules what the factory returns.
        inputs: How the model takes a batch; see :func:`nid_plugins.wrap`.
        output: What it returns; see :func:`nid_plugins.wrap`.
        allow_pickle: Whether a pickle may be read, which runs code of whoever wrote it.

    Raises:
        SettingError: Not a name of this form, nothing of this name, or a pickle that was not allowed.
        ModelError: The module or the factory raised, or the pickle cannot be read.
        SchemaError: No schema given and none declared.
    """
    made: Any
    if Path(name).is_dir():
        made = Path(name)  # what a plug-in may know how to read, e.g. a SavedModel
    else:
        made = _unpickled(Path(name), allow_pickle=allow_pickle) if _is_file(name) else _made(name)
    if isinstance(made, tuple):
        if len(made) != 2 or not isinstance(made[1], FeatureSchema):
            raise ModelError(
                f"{name} returned a tuple that is not (model, schema)",
                received=[type(part).__name__ for part in made],
                expected="a model, (model, FeatureSchema), or a wrapped model",
            )
        made, own = made
        schema = schema or own
    if isinstance(made, BlackBox) and (
        schema not in {None, made.schema} or (inputs, output) != ("auto", "auto")
    ):
        raise SettingError(
            f"{name} returns a wrapped model, which has its schema, inputs and output already",
            hint="Leave --schema, --inputs and --output out, or return the bare model",
        )
    return wrap(made, schema, inputs=inputs, output=output)  # type: ignore[arg-type]


def _is_file(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in PICKLES or path.is_file()


def _made(name: str) -> Any:
    module_name, separator, attribute = name.partition(":")
    if not separator or not all(
        part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))
    ):
        raise SettingError(
            "not the name of a model",
            received=name,
            expected="package.module:factory",
            hint="Write a function without arguments that returns the model, e.g. my_models.py with load(), and pass "
            "my_models:load",
        )
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise _failed(f"importing {module_name}", error) from error
        raise SettingError(
            f"there is no module {error.name!r}",
            received=name,
            hint="Run nid in the folder that holds it, or set PYTHONPATH",
        ) from None
    except NidError:
        raise
    except Exception as error:
        raise _failed(f"importing {module_name}", error) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SettingError(
                f"{module_name} has no {attribute!r}",
                received=name,
                expected=f"one of {sorted(n for n in vars(found) if not n.startswith('_'))}",
            )
        found = getattr(found, part)
    if not (inspect.isroutine(found) or inspect.isclass(found)):
        return found
    try:
        return found()
    except NidError:
        raise
    except Exception as error:
        raise _failed(f"{name}()", error) from error


def _failed(what: str, error: Exception) -> ModelError:
    return ModelError(
        f"{what} raised {type(error).__name__}: {error}", hint="Run it by hand; nid --debug shows where"
    )


def _unpickled(path: Path, *, allow_pickle: bool) -> Any:
    if not path.is_file():
        raise SettingError("no such file", received=str(path), hint="Check the path")
    if not allow_pickle:
        raise SettingError(
            "reading a pickle runs code of whoever wrote it, so it is not done unasked",
            received=str(path),
            expected="package.module:factory",
            hint="Name a function that builds the model and loads its weights, or add --allow-pickle if you trust the file",
        )
    try:
        if zipfile.is_zipfile(path):  # what torch.save writes
            made = _torch_load(path)
        else:
            with path.open("rb") as file:
                made = pickle.load(file)  # noqa: S301 - asked for
    except NidError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path} cannot be unpickled: {type(error).__name__}: {error}",
            hint="The classes in it must be importable; run nid in the folder that holds them",
        ) from error
    if isinstance(made, dict):
        raise ModelError(
            f"{path} holds a dict, as a state_dict is, and no model",
            hint="Name a function that builds the model and loads these weights: package.module:factory",
        )
    return made


def _torch_load(path: Path) -> Any:
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(f"{path} was written by PyTorch", hint="pip install 'nid-plugins[torch]'")
    import torch

    if "" not in sys.path:
        sys.path.insert(0, "")
    return torch.load(path, map_location="cpu", weights_only=False)
