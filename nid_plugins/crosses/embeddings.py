"""Learned embeddings of crosses: checked against the crosses, saved beside them, read back for any framework.

They go into ``embeddings.safetensors`` in the directory of the crosses, float32, one array a cross. The specification
carries the file's SHA-256, so that embeddings of other crosses, whose rows mean other combinations, are never taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import ArtefactError, SettingError
from nid_plugins.paths import as_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nid_plugins.crosses.features import CrossFeatures

EMBEDDINGS_FILE = "embeddings.safetensors"

_HINT = "Save them again: crosses.save(directory, embeddings=nid.cross_embeddings(model))"


def load_embeddings(directory: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read the embeddings saved with crosses, to give them to a model of any framework.

    Args:
        directory: What ``crosses.save(directory, embeddings=...)`` was given.

    Returns:
        Cross name to array of shape (vocabulary + 1, dim), as ``nid.cross_embeddings`` returns them and the option
        ``embeddings`` of ``nid.inject`` takes them.

    Raises:
        ArtefactError: The directory has no embeddings, or a file is missing, damaged or of another save.
        SettingError: ``directory`` is not a path.
    """
    from nid_plugins.crosses.store import read_file, read_spec

    directory = as_path(directory, "a directory")
    spec = read_spec(directory)
    if "embeddings" not in spec:
        raise ArtefactError(
            "the crosses were saved without embeddings",
            received=str(directory),
            expected=f"a directory with {EMBEDDINGS_FILE}",
            hint=_HINT,
        )
    try:
        expected = spec["embeddings"]["sha256"]
        sizes = {entry["name"]: entry["vocabulary"] for entry in spec["crosses"]}
        listed = dict(spec["embeddings"]["arrays"])
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(directory, error) from error
    data = read_file(directory, EMBEDDINGS_FILE, hint=_HINT)
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ArtefactError(
            f"{directory / EMBEDDINGS_FILE} is damaged, truncated or of another save",
            received=f"SHA-256 {digest}",
            expected=expected,
            hint=_HINT,
        )
    try:
        return _read_arrays(data, listed, sizes)
    except Exception as error:  # safetensors raises its own, undocumented, kinds on a bad header
        raise _malformed(directory, error) from error


def _read_arrays(
    data: bytes, listed: Mapping[str, str], sizes: Mapping[str, int]
) -> dict[str, npt.NDArray[np.float32]]:
    from safetensors.numpy import load

    arrays = load(data)
    found = {name: arrays[key] for name, key in listed.items()}
    check_embeddings(found, list(sizes), list(sizes.values()), None)
    return {name: np.asarray(array, dtype=np.float32) for name, array in found.items()}


def packed(crosses: CrossFeatures, embeddings: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return the content of ``embeddings.safetensors`` and what the specification says of it.

    Raises:
        SettingError: The embeddings do not fit the crosses, or there are none.
    """
    from safetensors.numpy import save

    given = check_embeddings(embeddings, crosses.names, crosses.vocabulary_sizes, None)
    if not given:
        raise SettingError(
            "no embeddings to save",
            received=repr(embeddings),
            expected="a dict of cross name to array",
            hint="Leave embeddings= out to save the crosses alone",
        )
    keys = {name: f"embedding.{k}" for k, name in enumerate(crosses.names) if name in given}
    arrays = {keys[name]: _float32(name, values) for name, values in given.items()}
    data = save(arrays)
    return data, {"file": EMBEDDINGS_FILE, "sha256": hashlib.sha256(data).hexdigest(), "arrays": keys}


def _float32(name: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    largest = float(np.finfo(np.float32).max)
    if np.abs(values).max() > largest:
        raise SettingError(
            f"embeddings of cross {name!r} are too large for float32",
            received=float(np.abs(values).max()),
            expected=f"at most {largest:g}",
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def _malformed(directory: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"the embeddings in {directory} do not fit the crosses there",
        received=f"{type(error).__name__}: {error}",
        expected="what save wrote",
        hint=_HINT,
    )


def check_embeddings(
    embeddings: Mapping[str, Any] | None, names: Sequence[str], sizes: Sequence[int], dim: int | None
) -> dict[str, npt.NDArray[np.float64]]:
    """Return given embeddings as float64 arrays, having checked them.

    Args:
        embeddings: Cross name to array, tensor or nested list of shape (V + 1, dim); or None, for none.
        names: Names of the crosses.
        sizes: Vocabulary size V of each.
        dim: Length of an embedding; None: each cross may have its own.

    Raises:
        SettingError: Not a mapping, an unknown cross, a wrong shape, or values that are not finite.
    """
    if embeddings is not None and not isinstance(embeddings, Mapping):
        raise SettingError(
            "embeddings are not given by name",
            received=type(embeddings).__name__,
            expected="a dict of cross name to array",
            hint="Pass what nid.cross_embeddings returns",
        )
    size_of = dict(zip(names, sizes, strict=True))
    out: dict[str, npt.NDArray[np.float64]] = {}
    for name, values in (embeddings or {}).items():
        if name not in size_of:
            raise SettingError(
                "embeddings of an unknown cross", received=repr(name), expected=f"one of {list(names)}"
            )
        array = _array(name, values)
        wanted = (size_of[name] + 1, dim)
        fits = array.ndim == 2 and array.shape[0] == wanted[0] and array.shape[1] == (dim or array.shape[1])
        if not fits or array.shape[1] == 0 or array.dtype.kind not in "fiu":
            raise SettingError(
                f"embeddings of cross {name!r} do not fit",
                received=f"{array.dtype} of shape {array.shape}",
                expected=f"numbers of shape {wanted if dim else f'({wanted[0]}, dim)'}: vocabulary + 1, dim",
                hint="Set dim= (or embedding_dim=) to theirs, and use the crosses they were learned with",
            )
        if not np.isfinite(array).all():
            raise SettingError(f"embeddings of cross {name!r} are not finite", expected="finite numbers")
        out[name] = array.astype(np.float64)
    return out


def _array(name: object, values: Any) -> npt.NDArray[Any]:
    if hasattr(values, "detach"):  # NumPy does not read a PyTorch tensor with a gradient, or on a GPU
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except Exception as error:  # lists of unequal lengths, symbolic tensors, numbers NumPy has not
        raise SettingError(
            f"embeddings of cross {name!r} cannot be read: {error}",
            received=type(values).__name__,
            expected="an array of shape (vocabulary + 1, dim)",
        ) from error
