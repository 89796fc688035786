"""A model as a black box: rows in, finite logits out."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nid_plugins.adapter import Adapter, Output, Predictor
from nid_plugins.errors import ModelError, NidError, NidWarning, SettingError, UnsupportedError
from nid_plugins.frames import FloatMatrix, read_matrix
from nid_plugins.metrics import sigmoid
from nid_plugins.schema import FeatureSchema
from nid_plugins.turns import Turn, turn_of

if TYPE_CHECKING:
    from collections.abc import Callable


class BlackBox:
    """A model wrapped as a function from a frame to logits. Made by :func:`wrap`.

    Several threads may call it. Calls of one model take turns, whichever of its black boxes they go through; a plain
    callable is called by as many threads as ask.

    Attributes:
        schema: The model's fields.
        adapter: Name of the adapter that claimed the model (``"callable"`` for a plain function).
        output: What the model returns, ``"probability"`` or ``"logit"`` (``"auto"`` until the first prediction).
        epsilon: Probabilities are clipped to ``[epsilon, 1 - epsilon]`` before the logit is taken.
        batch_size: Rows per call of the model.
        saturated: Number of predictions so far that the clip changed.
        turn: Held while the model is called.
    """

    def __init__(
        self,
        predictor: Predictor,
        schema: FeatureSchema,
        *,
        adapter: str,
        batch_size: int,
        epsilon: float,
        turn: Turn | None = None,
    ) -> None:
        self.schema = schema
        self.adapter = adapter
        self.output: Output = predictor.output
        self.epsilon = epsilon
        self.batch_size = batch_size
        self.saturated = 0
        self.turn: contextlib.AbstractContextManager[None] = turn or contextlib.nullcontext()
        self._predictor = predictor
        self._counting = Turn()

    def __repr__(self) -> str:
        return f"BlackBox({self.adapter}, {len(self.schema)} fields, output={self.output!r})"

    def logits(self, frame: Any) -> npt.NDArray[np.float64]:
        """Return the model's logits for a frame, shape (n,), float64.

        Raises:
            FrameError: The frame does not fit the schema.
            ModelError: The model raised, or its output has a wrong shape or is not finite.
        """
        return self.logits_of(read_matrix(frame, self.schema))

    def logits_of(self, rows: FloatMatrix) -> npt.NDArray[np.float64]:
        """Return logits for rows of shape (n, p) in schema order, unchecked; see :meth:`logits`."""
        return self._to_logit(self._run(len(rows), lambda part: self._predictor(rows[part])))

    def logits_from(
        self, n: int, make: Callable[[slice, npt.DTypeLike], npt.NDArray[Any]]
    ) -> npt.NDArray[np.float64]:
        """Return logits of n rows that are made as they are needed, one batch at a time; see :meth:`logits`.

        Args:
            n: How many rows there are.
            make: Given which rows are wanted and their dtype, float64 or (where the model would convert to it anyway)
                float32, returns them as a new array in schema order. They are not checked.
        """
        predictor = self._predictor
        return self._to_logit(self._run(n, lambda part: predictor(make(part, predictor.row_dtype))))

    def probabilities(self, frame: Any) -> npt.NDArray[np.float64]:
        """Return the model's probabilities for a frame, shape (n,), float64: what it is served with.

        Nothing is clipped: a model that returns probabilities is taken at its word.

        Raises:
            FrameError: The frame does not fit the schema.
            ModelError: As for :meth:`logits`, or an infinite output.
        """
        return self.probabilities_of(read_matrix(frame, self.schema))

    def probabilities_of(self, rows: FloatMatrix) -> npt.NDArray[np.float64]:
        """Return probabilities for rows of shape (n, p) in schema order, unchecked; see :meth:`probabilities`."""
        values = self._run(len(rows), lambda part: self._predictor(rows[part]))
        if not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values))
            raise ModelError(
                "the model returned infinity",
                received=f"{len(bad)} of {len(values)} rows, first at row {bad[0]}",
                expected="finite scores",
                hint="Check the model's weights and the scale of dense fields",
            )
        if self._judged(values) == "logit":
            return sigmoid(values)
        _check_probabilities(values)
        return values

    def logits_zeroed(self, row: FloatMatrix, on: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return logits of one row (p,) with the embeddings of the off fields of ``on`` (n, p) zeroed.

        Raises:
            UnsupportedError: The adapter cannot zero embeddings field by field.
            ModelError: As for :meth:`logits`.
        """
        return self._to_logit(self._run(len(on), lambda part: self._predictor.zeroed(row, on[part])))

    def _run(self, n: int, call: Callable[[slice], npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        out = np.empty(n, dtype=np.float64)
        with self.turn, self._predictor.session():
            for start in range(0, n, self.batch_size):
                part = slice(start, min(start + self.batch_size, n))
                try:
                    raw = call(part)
                except NidError:
                    raise
                except Exception as error:
                    raise ModelError(
                        f"the model raised {type(error).__name__} on rows {part.start}..{part.stop - 1}: {error}",
                        hint="Call the model on such a batch by hand; check inputs= and the schema's order and cardinalities",
                    ) from error
                self._check(raw, part, out[part])
        return out

    def _check(self, raw: Any, part: slice, out: npt.NDArray[np.float64]) -> None:
        """Write what the model answered for some rows into ``out``, in passes as few as can be: it is asked often."""
        n = len(out)
        array = np.asarray(raw)
        if array.shape == () and n == 1 and array.dtype.kind != "O":  # a model that ends in squeeze()
            array = array.reshape(1)
        if array.shape not in ((n,), (n, 1)):
            raise ModelError(
                "the model's output has the wrong shape",
                received=f"{array.shape} for {n} rows",
                expected=f"({n},) or ({n}, 1): one score a row",
                hint="Wrap a function that picks one output, e.g. nid.wrap(lambda f: model(f)[:, 1], ...)",
            )
        if array.dtype.kind not in "biuf":
            raise ModelError(
                "the model's output is not numeric", received=f"dtype {array.dtype}", expected="floats"
            )
        out[:] = array.reshape(n)
        if np.isnan(out.min()):
            bad = np.isnan(out)
            raise ModelError(
                "the model returned NaN",
                received=f"{int(bad.sum())} of rows {part.start}..{part.stop - 1}, first at row "
                f"{part.start + int(np.flatnonzero(bad)[0])}",
                expected="finite scores",
                hint="Check the model's weights and the scale of dense fields",
            )

    def _to_logit(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self._judged(values) == "probability":
            low, high = _check_probabilities(values)
            clipped = self._clipped(values, low, high, self.epsilon, 1.0 - self.epsilon)
            logits = np.log(clipped)
            logits -= np.log1p(-clipped)
            return logits
        limit = float(np.log1p(-self.epsilon) - np.log(self.epsilon))
        return self._clipped(values, *_range(values), -limit, limit)

    def _clipped(
        self, values: npt.NDArray[np.float64], low: float, high: float, least: float, most: float
    ) -> npt.NDArray[np.float64]:
        if least <= low and high <= most:
            return values
        clipped = np.clip(values, least, most)
        with self._counting:
            self.saturated += int((clipped != values).sum())
        return clipped

    def _judged(self, values: npt.NDArray[np.float64]) -> Output:
        if self.output == "auto" and len(values):
            self.output = self._judge(values)
        return self.output

    @staticmethod
    def _judge(values: npt.NDArray[np.float64]) -> Output:
        if values.min() < 0 or values.max() > 1:
            return "logit"
        warnings.warn(
            f"the model's {len(values)} first outputs all lie in [0, 1]: read as probabilities; "
            'pass output="probability" or output="logit" to nid.wrap to be sure',
            NidWarning,
            stacklevel=6,
        )
        return "probability"


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.5, 0.5)


def _check_probabilities(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = _range(values)
    if low < 0 or high > 1:
        raise ModelError(
            "not probabilities",
            received=f"values from {low:.6g} to {high:.6g}",
            expected="values in [0, 1]",
            hint='Pass output="logit" if the model returns logits',
        )
    return low, high


class _CallablePredictor(Predictor):
    def __init__(
        self, function: Callable[..., Any], schema: FeatureSchema, inputs: Any, output: Output
    ) -> None:
        self.output = output
        self._function = function
        self._schema = schema
        self._inputs = inputs

    def __call__(self, rows: FloatMatrix) -> npt.NDArray[Any]:
        args, kwargs = arguments(rows, self._schema, self._inputs)
        out = self._function(*args, **kwargs)
        if hasattr(out, "detach"):
            out = out.detach().cpu()
            if str(out.dtype) == "torch.bfloat16":  # which NumPy has not
                out = out.float()
        return np.asarray(out)


def arguments(
    rows: FloatMatrix, schema: FeatureSchema, inputs: str | Callable[..., Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return ``(args, kwargs)`` for a model, as NumPy arrays: ids int64, dense values float32, a matrix float64.

    Raises:
        SettingError: ``inputs`` is none of the known ways.
    """
    if inputs == "matrix":
        return (rows,), {}
    columns = as_columns(rows, schema)
    if inputs == "mapping":
        return (columns,), {}
    if inputs == "positional":
        return tuple(columns.values()), {}
    if callable(inputs):
        args, kwargs = inputs(columns)
        return tuple(args), dict(kwargs)
    raise SettingError(
        "unknown way of passing inputs",
        received=repr(inputs),
        expected='"positional", "matrix", "mapping" or a callable from a dict of columns to (args, kwargs)',
    )


def as_columns(rows: FloatMatrix, schema: FeatureSchema) -> dict[str, npt.NDArray[Any]]:
    """Return rows as a dict of columns: ids int64, dense values float32, shape (n,) each."""
    sparse = {field.name for field in schema.sparse}
    return {
        name: rows[:, j].astype(np.int64 if name in sparse else np.float32)
        for j, name in enumerate(schema.names)
    }


def wrap(
    model: Any,
    schema: FeatureSchema | None = None,
    *,
    output: Output = "auto",
    inputs: str | Callable[..., Any] = "auto",
    batch_size: int = 2048,
    epsilon: float = 1e-7,
    adapter: str | None = None,
) -> BlackBox:
    """Wrap a model, or a plain function from a dict of columns to scores, as a black box.

    Args:
        model: A model some adapter claims, or a callable. A callable gets a dict of columns unless ``inputs`` says
            otherwise.
        schema: Its fields; may be left out where the framework declares them.
        output: ``"probability"``, ``"logit"`` or ``"auto"``. A plain callable needs one of the first two.
        inputs: How the model takes a batch: ``"positional"`` (one array a field, schema order), ``"matrix"`` (one 2-D
            array), ``"mapping"`` (dict by name), or a callable from a dict of columns to ``(args, kwargs)``.
        batch_size: Rows per call of the model. Small chunks are faster on CPU than one large batch.
        epsilon: Clip of probabilities before the logit; logits are clipped to the same range.
        adapter: Name of an adapter, to overrule recognition by class path.

    Raises:
        UnsupportedError: No adapter claims the model and it is not callable.
        SettingError: An option is out of its domain.
        SchemaError: No schema given and none declared.
    """
    if isinstance(model, BlackBox):
        given = (inputs, batch_size, epsilon, adapter) != ("auto", 2048, 1e-7, None)
        if given or schema not in (None, model.schema) or output not in ("auto", model.output):
            raise SettingError(
                "the model is wrapped already, with a schema and options of its own",
                received=repr(model),
                hint="Wrap the bare model, or leave the options out",
            )
        return model
    if output not in ("auto", "probability", "logit"):
        raise SettingError(
            "unknown output", received=repr(output), expected='"auto", "probability" or "logit"'
        )
    if not isinstance(epsilon, float) or not 0 < epsilon < 0.5:
        raise SettingError("epsilon out of range", received=repr(epsilon), expected="0 < epsilon < 0.5")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise SettingError(
            "batch_size out of range", received=repr(batch_size), expected="a positive integer"
        )
    from nid_plugins.plugins import get_manager

    found = get_manager().find_adapter(model, name=adapter)
    if found is None and not callable(model):
        get_manager().adapter_for(model)  # raises, saying what is known
    if schema is None:
        schema = _declared(found, model)
    if not isinstance(schema, FeatureSchema):
        raise SettingError(
            "not a schema",
            received=type(schema).__name__,
            expected="FeatureSchema",
            hint="See nid.FeatureSchema.infer",
        )
    if found is None:
        if output == "auto":
            raise SettingError(
                "a plain callable must say what it returns",
                received='output="auto"',
                expected='output="probability" or output="logit"',
            )
        predictor: Predictor = _CallablePredictor(
            model, schema, "mapping" if inputs == "auto" else inputs, output
        )
        name = "callable"
    else:
        predictor = found.predictor(model, schema, inputs=inputs, output=output)
        name = found.name
    # Nothing of a plain callable's is saved and restored, and one that asks a server elsewhere should not queue.
    turn = None if found is None else turn_of(model)
    return BlackBox(predictor, schema, adapter=name, batch_size=batch_size, epsilon=epsilon, turn=turn)


def _declared(found: Adapter | None, model: object) -> FeatureSchema:
    if found is None:
        raise UnsupportedError(
            "a plain callable has no schema of its own", received=type(model).__name__, hint="Pass schema="
        )
    return found.schema(model)
