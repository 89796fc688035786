"""CrossFeatures: the crosses of a schema, fitted on a training frame, from any frame to cross ids."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from nid_plugins.crosses.bins import check_bins
from nid_plugins.crosses.compiled import CompiledCrosses, ids_of_frame
from nid_plugins.crosses.frame_source import FrameSource
from nid_plugins.crosses.members import bisected
from nid_plugins.crosses.ranking import check_max_crosses, field_sets, report_shortfall
from nid_plugins.crosses.sources import is_paths
from nid_plugins.crosses.threads import thread_count
from nid_plugins.errors import SettingError
from nid_plugins.frames import FloatMatrix, matrix_of, schema_columns
from nid_plugins.schema import DenseField, FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nid_plugins.crosses.row import RowLookup
    from nid_plugins.crosses.vocabulary import Cross
    from nid_plugins.detection.executors import Executor
    from nid_plugins.report import InteractionReport

DEFAULT_CROSSES = 40
"""Crosses taken from a report unless the caller says otherwise; the paper's K for Criteo."""

_FEW_ROWS = 2**13
"""So few rows, of all calls together, are looked up by bisection: tables would take longer to make."""


class CrossFeatures:
    """The crosses of a schema. Made by :func:`fit_crosses`, read back by :meth:`load`.

    Args:
        schema: The fields of the frames, all of them.
        crosses: At least one cross, each with a name of its own.
        edges: Bin edges of every dense field that is a member of a cross, float32, ascending, shape (E,).

    Attributes:
        schema: As given.
        crosses: As given, as a tuple.
        edges: As given, restricted to dense fields that are members.

    Raises:
        SettingError: The parts do not fit together.
        SchemaError: A cross of a field that is not in the schema.
    """

    _looked_up = 0  # rows

    def __init__(
        self, schema: FeatureSchema, crosses: Iterable[Cross], edges: Mapping[str, npt.NDArray[np.float32]]
    ) -> None:
        self.schema = schema
        self.crosses = tuple(crosses)
        if not self.crosses:
            raise SettingError("no crosses", received="none", expected="at least one cross")
        used = {name for cross in self.crosses for name in cross.fields}
        for cross in self.crosses:
            for name in cross.fields:
                schema.index_of(name)  # raises, naming an unknown field
        self.edges: dict[str, npt.NDArray[np.float32]] = {
            field.name: _checked_edges(field.name, edges) for field in schema.dense if field.name in used
        }
        for cross in self.crosses:
            expected = tuple(size_of(schema, name, self.edges) for name in cross.fields)
            if cross.sizes != expected:
                raise SettingError(
                    f"cross {cross.name!r} was made for other fields",
                    received=f"sizes {cross.sizes}",
                    expected=f"{expected}, by the schema and the bins of {cross.fields}",
                )
        twice = {name for name in self.names if self.names.count(name) > 1 or name in schema.names}
        if twice:
            raise SettingError(
                "a cross needs a name of its own",
                received=sorted(twice),
                expected="no field's or other cross's name",
            )

    def __len__(self) -> int:
        return len(self.crosses)

    def __getstate__(self) -> dict[str, Any]:
        # What was prepared for use is prepared again where it is wanted: it is large, and holds functions.
        return {name: value for name, value in self.__dict__.items() if name not in ("row", "_compiled")}

    def __repr__(self) -> str:
        return f"CrossFeatures({len(self)} crosses, {sum(self.vocabulary_sizes)} combinations: {list(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the crosses, in order."""
        return tuple(cross.name for cross in self.crosses)

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of kept combinations V of each cross; its ids are 0 .. V."""
        return tuple(cross.vocabulary for cross in self.crosses)

    @overload
    def transform(
        self, frame: Any, *, memory: int | str = ..., threads: int | None = ...
    ) -> npt.NDArray[np.int32]: ...

    @overload
    def transform(
        self,
        frame: Any,
        *,
        out: str | Path,
        keep: str | Iterable[str] = ...,
        memory: int | str = ...,
        executor: str | Executor | None = ...,
        threads: int | None = ...,
    ) -> Path: ...

    def transform(
        self,
        frame: Any,
        *,
        out: str | Path | None = None,
        keep: str | Iterable[str] = (),
        memory: int | str = "2GB",
        executor: str | Executor | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.int32] | Path:
        """Return the cross ids of a frame, or write those of files.

        Args:
            frame: Any frame with the schema's columns; it may have no rows. Unlike a model's input it may hold NaN and
                ids outside a field's cardinality: those rows have cross id 0. Or Parquet: a file, a folder, a pattern, or
                a list of these, of which the members of crosses are read and nothing else.
            out: Folder to write the ids of files to, for rows that do not fit into memory: a Parquet file for each of
                these or, of large ones, for about 4 million rows each, in their order. It is there when all of it is
                written; a call that was cut off is taken up by the same call.
            keep: With ``out``, columns to write too, before the ids, or ``"all"``.
            memory: Bytes for rows of files on their way, or text such as ``"2GB"``; in each process.
            executor: With ``out``, who writes the parts: ``"processes"`` or ``"ray"``, whose workers must see the files and
                the folder at the same paths. None: this process.
            threads: Threads of this process, at most. None: one for each core it may use. The ids are the same.

        Returns:
            Shape (n, K), int32: 0 for a combination that is rare, unseen or missing a member, else 1 .. V. With
            ``out``, that folder, with a column of int32 a cross, named like it.

        Raises:
            ArtefactError: ``out`` is there already, or cannot be written.
            FrameError: A column is missing, not numeric, infinite, or a sparse id is fractional; a damaged file.
            MissingExtraError: Files are given and pyarrow is not installed.
            SettingError: ``out`` for a frame, or an option that is not usable.
        """
        if is_paths(frame):
            from nid_plugins.crosses.files_out import ids_of_files, transform_files

            if out is None:
                return ids_of_files(self, frame, memory, threads)
            return transform_files(
                self, frame, out, keep=keep, memory=memory, executor=executor, threads=threads
            )
        if out is not None:
            raise SettingError(
                "only ids of files are written to files",
                received=type(frame).__name__,
                expected="a path, or a list of them",
                hint="Leave out= away, and write what is returned",
            )
        columns = schema_columns(frame, self.schema, allow_empty=True)
        most = thread_count(threads)
        if not self._tables_pay(len(columns[self.schema.names[0]])):
            return bisected(matrix_of(columns, self.schema, missing=True, known_only=False), self)
        source = FrameSource.of_columns(columns, self.schema, what="frame", known_only=False)
        return ids_of_frame(self._compiled, source, self.schema, most)

    def transform_matrix(self, rows: FloatMatrix) -> npt.NDArray[np.int32]:
        """Return the cross ids of rows of shape (n, p) in schema order, unchecked; see :meth:`transform`."""
        if not self._tables_pay(len(rows)):
            return bisected(rows, self)
        source = FrameSource.of_matrix(rows, self.schema)
        return ids_of_frame(self._compiled, source, self.schema, thread_count())

    @functools.cached_property
    def _compiled(self) -> CompiledCrosses:
        """Look-up tables, made once they pay and kept."""
        return CompiledCrosses(self)

    def _tables_pay(self, rows: int) -> bool:
        self._looked_up += rows
        return "_compiled" in self.__dict__ or self._looked_up > max(_FEW_ROWS, sum(self.vocabulary_sizes))

    @functools.cached_property
    def row(self) -> RowLookup:
        """Cross ids of one row in microseconds, in plain Python, as in ``crosses.row({"user": 3, "item": 7, ...})``.

        For services that compute features before the model. The row is a mapping of field to value (a pandas Series
        too), or a list, tuple or array of all values in schema order; a missing value is None or NaN. The answer is a
        list of K ids, those of :meth:`transform`. Only members of crosses are looked at. What it takes is prepared on
        first use and is not changed by use, so that threads may share it; see :class:`~nid_plugins.crosses.row.RowLookup`.

        Calling it raises ``FrameError`` where a field is absent, not a number, infinite, or an id is fractional.
        """
        from nid_plugins.crosses.row import RowLookup

        return RowLookup(self)

    def select(self, which: Iterable[str | int]) -> CrossFeatures:
        """Return some of the crosses, in the order asked for.

        Args:
            which: Names or positions, each at most once.

        Raises:
            SettingError: An unknown name or position, one used twice, or none at all.
        """
        if isinstance(which, str):
            which = [which]
        if not hasattr(which, "__iter__"):
            raise SettingError(
                "not a choice of crosses",
                received=repr(which),
                expected=f"names of {list(self.names)}, or positions",
            )
        picked: list[int] = []
        for item in which:
            position = self.names.index(item) if isinstance(item, str) and item in self.names else item
            if isinstance(position, str | bool) or not isinstance(position, int | np.integer):
                raise SettingError(
                    "no such cross", received=repr(item), expected=f"one of {list(self.names)}"
                )
            if not -len(self) <= position < len(self):
                raise SettingError("no such cross", received=position, expected=f"0 .. {len(self) - 1}")
            picked.append(int(position) % len(self))
        if len(set(picked)) != len(picked):
            twice = sorted({self.names[i] for i in picked if picked.count(i) > 1})
            raise SettingError("crosses asked for twice", received=twice, expected="each cross at most once")
        return CrossFeatures(self.schema, [self.crosses[i] for i in picked], self.edges)

    def save(self, directory: str | Path, embeddings: Mapping[str, Any] | None = None) -> Path:
        """Write to a directory, to be read by :meth:`load`: JSON and safetensors, never pickle.

        Args:
            directory: Where to; what was saved there before is replaced.
            embeddings: What ``nid.cross_embeddings`` returns for a model that has these crosses, to be read by
                ``nid.load_embeddings``; without it, embeddings saved there before are removed.

        Returns:
            The directory.

        Raises:
            ArtefactError: The directory cannot be written.
            SettingError: The embeddings do not fit the crosses, or ``directory`` is not a path.
        """
        from nid_plugins.crosses.store import save

        return save(self, directory, embeddings)

    @classmethod
    def load(cls, directory: str | Path) -> CrossFeatures:
        """Read what :meth:`save` wrote.

        Raises:
            ArtefactError: A file is missing, damaged, or of a newer version.
            SettingError: ``directory`` is not a path.
        """
        from nid_plugins.crosses.store import load

        return load(directory)


def fit_crosses(
    interactions: InteractionReport | Iterable[Iterable[str]],
    train: Any,
    schema: FeatureSchema,
    *,
    max_crosses: int | None = None,
    bins: int = 100,
    min_count: float | None = None,
    memory: int | str = "2GB",
    executor: str | Executor | None = None,
    threads: int | None = None,
) -> CrossFeatures:
    """Fit cross features on training rows: bins of dense fields and the vocabulary of each cross.

    Rows in Parquet files are never held in memory as a whole; the result is that of a frame of these rows. Only the
    members of crosses are read, and checked, there. See ``docs/scale.md``.

    Args:
        interactions: A report of :func:`nid_plugins.detect`, taken in its rank order, or sets of field names,
            e.g. ``[("user", "item"), ("user", "hour", "price")]``. The order of names in a set does not matter.
        train: Training frame, or Parquet: a file, a folder, a pattern, or a list of these. NaN (null) is allowed: such
            rows count for no combination of that field.
        schema: The fields.
        max_crosses: Most crosses to make. None: 40 from a report, all of the sets that are listed.
        bins: Most bins of a dense field.
        min_count: A combination is kept when it occurs more than this many times. None: 1e-4 of the rows, at least 2.
        memory: Bytes for counting, or text such as ``"2GB"``: with less it takes more passes.
        executor: Who counts rows in files: ``"processes"`` or ``"ray"``, whose workers must see the files at the same
            paths and take that memory each. None: this process. The crosses are the same.
        threads: Threads of this process, at most; with little ``memory`` fewer. None: one for each core it may use. The
            crosses are the same.

    Returns:
        The crosses, best ranked first. One whose combinations are all too rare is passed over for the next in rank.

    Raises:
        SettingError: A set of fewer than two fields, no sets, an option out of range, or every combination too rare.
        SchemaError: A set names a field the schema lacks.
        FrameError: The rows do not fit the schema, or a file cannot be read.
        MissingExtraError: Files are given and pyarrow is not installed.

    Warns:
        NidWarning: Fewer crosses than asked for, and why; a constant dense field.
    """
    if not isinstance(schema, FeatureSchema):
        raise SettingError("not a schema", received=type(schema).__name__, expected="FeatureSchema")
    ranked = field_sets(interactions, schema)
    from_report = hasattr(interactions, "interactions")
    wanted = check_max_crosses(max_crosses, DEFAULT_CROSSES if from_report else len(ranked))
    bins = check_bins(bins)
    from nid_plugins.crosses.out_of_core import FileFit, Fit, FrameFit

    options: dict[str, Any] = {"bins": bins, "min_count": min_count, "memory": memory, "threads": threads}
    if is_paths(train):
        fit: Fit = FileFit(train, schema, executor=executor, **options)
    else:
        columns = schema_columns(train, schema, what="training frame")
        source = FrameSource.of_columns(columns, schema, what="training frame", known_only=True)
        fit = FrameFit(source, schema, **options)
    made, rare = fit.crosses(ranked, wanted)
    report_shortfall(len(made), wanted, len(ranked), rare, fit.threshold)
    return CrossFeatures(schema, made, fit.edges)


def size_of(schema: FeatureSchema, name: str, edges: Mapping[str, npt.NDArray[np.float32]]) -> int:
    """Return the number of ids of a member: a sparse field's cardinality, a dense field's number of bins."""
    field = schema[name]
    return len(edges[name]) + 1 if isinstance(field, DenseField) else int(field.cardinality)


def _checked_edges(name: str, edges: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    if name not in edges:
        raise SettingError(
            "a dense member of a cross needs bin edges", field=name, expected="float32 of shape (E,)"
        )
    own = edges[name]
    ascending = own.dtype == np.float32 and own.ndim == 1 and bool((own[1:] > own[:-1]).all())
    if not ascending or np.isnan(own).any():
        raise SettingError(
            "bad bin edges",
            field=name,
            received=f"{own.dtype} of shape {own.shape}",
            expected="float32 of shape (E,), strictly ascending, no NaN",
        )
    return own
