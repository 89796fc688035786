"""Saving and loading crosses: JSON for the specification, safetensors for the arrays, never pickle.

A directory of two files. ``crosses.json`` names the format, its version, the schema and each cross, and carries the
SHA-256 of ``arrays.safetensors``, which holds the keys (int64) and the bin edges (float32). Either both files are the
ones that were saved together, or loading fails. Learned embeddings are a third file, bound in the same way; see
:mod:`nid_plugins.crosses.embeddings`.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from nid_plugins import __version__
from nid_plugins.crosses.embeddings import EMBEDDINGS_FILE, packed
from nid_plugins.crosses.features import CrossFeatures
from nid_plugins.crosses.vocabulary import Cross
from nid_plugins.errors import ArtefactError, SchemaError, SettingError
from nid_plugins.paths import as_path
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "nid-plugins crosses"
SCHEMA_VERSION = 1
SPEC_FILE = "crosses.json"
ARRAYS_FILE = "arrays.safetensors"

_AGAIN = "Save the crosses again, or copy all files of the directory anew"


def save(crosses: CrossFeatures, directory: str | Path, embeddings: Mapping[str, Any] | None = None) -> Path:
    """Write crosses to a directory, made if need be; what was saved there before is replaced, embeddings included.

    Each file is written beside its place and moved there in one step, the specification last. A process killed between
    two moves leaves arrays that the old specification does not match, which loading reports.

    Args:
        crosses: The crosses.
        directory: Where to.
        embeddings: Cross name to array (V + 1, dim), for some or all crosses: what ``nid.cross_embeddings`` returns.

    Returns:
        The directory.

    Raises:
        ArtefactError: The directory cannot be written.
        SettingError: The embeddings do not fit the crosses, or ``directory`` is not a path.
    """
    directory = as_path(directory, "a directory")
    arrays: dict[str, npt.NDArray[Any]] = {f"keys.{k}": cross.keys for k, cross in enumerate(crosses.crosses)}
    arrays |= {f"edges.{crosses.schema.index_of(name)}": edges for name, edges in crosses.edges.items()}
    data = save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    spec: dict[str, Any] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "package_version": __version__,
        "schema": crosses.schema.to_dict(),
        "crosses": [
            {
                "name": cross.name,
                "fields": list(cross.fields),
                "sizes": list(cross.sizes),
                "exact": cross.exact,
                "vocabulary": cross.vocabulary,
                "keys": f"keys.{k}",
            }
            for k, cross in enumerate(crosses.crosses)
        ],
        "edges": {name: f"edges.{crosses.schema.index_of(name)}" for name in crosses.edges},
        "arrays": {"file": ARRAYS_FILE, "sha256": hashlib.sha256(data).hexdigest()},
    }
    learned = None
    if embeddings is not None:
        learned, spec["embeddings"] = packed(crosses, embeddings)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / ARRAYS_FILE, data)
        if learned is not None:
            _replace(directory / EMBEDDINGS_FILE, learned)
        _replace(directory / SPEC_FILE, (json.dumps(spec, indent=1, ensure_ascii=False) + "\n").encode())
        if learned is None:
            (directory / EMBEDDINGS_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise ArtefactError(
            "cannot write the crosses", received=str(error), expected="a directory that can be written"
        ) from error
    return directory


def load(directory: str | Path) -> CrossFeatures:
    """Read crosses back.

    Raises:
        ArtefactError: A file is missing or damaged, the two do not belong together, or a newer version wrote them.
        SettingError: ``directory`` is not a path.
    """
    directory = as_path(directory, "a directory")
    spec = read_spec(directory)
    data = read_file(directory, ARRAYS_FILE)
    try:
        expected = spec["arrays"]["sha256"]
    except (KeyError, TypeError) as error:
        raise _malformed(directory, error) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ArtefactError(
            f"{directory / ARRAYS_FILE} is damaged, truncated or of another save",
            received=f"SHA-256 {digest}",
            expected=expected,
            hint=_AGAIN,
        )
    try:
        arrays = load_arrays(data)
        return _build(spec, arrays)
    except (SchemaError, SettingError) as error:  # hash intact, so the specification was edited
        raise ArtefactError(
            f"{directory / SPEC_FILE} and its arrays do not fit together", received=str(error), hint=_AGAIN
        ) from error
    except Exception as error:  # safetensors raises its own, undocumented, kinds on a bad header
        raise _malformed(directory, error) from error


def _build(spec: dict[str, Any], arrays: dict[str, Any]) -> CrossFeatures:
    schema = FeatureSchema.from_dict(spec["schema"])
    crosses = []
    for entry in spec["crosses"]:
        keys = arrays[entry["keys"]]
        if len(keys) != entry["vocabulary"]:
            raise SettingError(
                f"the vocabulary of cross {entry['name']!r} has another size",
                received=len(keys),
                expected=entry["vocabulary"],
            )
        sizes = tuple(int(size) for size in entry["sizes"])
        crosses.append(Cross(entry["name"], tuple(entry["fields"]), sizes, entry["exact"], keys))
    return CrossFeatures(schema, crosses, {name: arrays[key] for name, key in spec["edges"].items()})


def read_spec(directory: Path) -> dict[str, Any]:
    """Return the specification in a directory, its kind and version checked.

    Raises:
        ArtefactError: It is missing, damaged, of another kind, or of a newer version.
    """
    raw = read_file(directory, SPEC_FILE)
    try:
        spec = json.loads(raw)
    except ValueError as error:  # also a UnicodeDecodeError
        raise ArtefactError(
            f"{directory / SPEC_FILE} is not JSON",
            received=str(error),
            expected="what save wrote",
            hint=_AGAIN,
        ) from error
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise ArtefactError(
            f"{directory / SPEC_FILE} is not a specification of crosses",
            received=f"format {spec.get('format')!r}" if isinstance(spec, dict) else type(spec).__name__,
            expected=f"format {FORMAT!r}",
            hint="Pass the directory that CrossFeatures.save was given",
        )
    version = spec.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ArtefactError(
            f"{directory / SPEC_FILE} has no schema version",
            received=repr(version),
            expected="an integer",
            hint=_AGAIN,
        )
    if version > SCHEMA_VERSION:
        raise ArtefactError(
            "the crosses were saved by a newer version",
            received=f"schema version {version}, saved by nid-plugins {spec.get('package_version')}",
            expected=f"schema version {SCHEMA_VERSION} or older",
            hint="Upgrade nid-plugins, or save the crosses again with this version",
        )
    return spec


def read_file(
    directory: Path, name: str, hint: str = "Pass the directory that CrossFeatures.save was given"
) -> bytes:
    """Return the content of a file of a saved directory.

    Raises:
        ArtefactError: It cannot be read; ``hint`` says what to do.
    """
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"cannot read {directory / name}",
            received=f"{type(error).__name__}: {error.strerror}",
            expected=f"a directory with {SPEC_FILE} and {ARRAYS_FILE if name == SPEC_FILE else name}",
            hint=hint,
        ) from error


def _malformed(directory: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"{directory / SPEC_FILE} is incomplete or malformed",
        received=f"{type(error).__name__}: {error}",
        expected="what save wrote",
        hint=_AGAIN,
    )


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
