"""What a model returns, told from its output on rows drawn from the crosses' schema."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from nid_plugins.errors import ModelError, NidError, NidWarning, SettingError
from nid_plugins.schema import SparseField

if TYPE_CHECKING:
    import numpy.typing as npt

    from nid_plugins.adapter import Output, Predictor
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.frames import FloatMatrix
    from nid_plugins.schema import FeatureSchema

PROBE_ROWS = 256


def probed_output(
    predictor: Predictor,
    crosses: CrossFeatures,
    output: Output = "auto",
    declared: Output = "auto",
    *,
    schema: FeatureSchema | None = None,
) -> Literal["probability", "logit"]:
    """Return what a model returns, having checked that it returns one finite score a row.

    Args:
        predictor: The model as a function of rows of ``schema``.
        crosses: The crosses about to be injected.
        output: What the user says. ``"auto"``: what the values look like.
        declared: What the framework says. ``"auto"``: nothing; values within [0, 1] are then read as probabilities,
            with a warning.
        schema: The model's fields. None: those of the crosses' schema.

    Raises:
        SettingError: ``output`` is unknown.
        ModelError: The model fails on the rows, or returns something else than one score a row.
    """
    if output not in ("auto", "probability", "logit"):
        raise SettingError(
            "unknown output", received=repr(output), expected='"auto", "probability" or "logit"'
        )
    rows = synthetic_rows(crosses, schema=schema)
    out = _scores(predictor, rows)
    if output != "auto":
        return output
    if np.isnan(out).all():
        raise ModelError(
            "the model returned NaN",
            received=f"{len(rows)} of {len(rows)} rows drawn from the crosses' schema",
            expected="finite scores",
            hint="Check the model's weights and the scale of dense fields",
        )
    if np.nanmin(out, initial=np.inf) < 0 or np.nanmax(out, initial=-np.inf) > 1:
        return "logit"
    if declared == "auto":
        warnings.warn(
            f"the model's outputs on {len(rows)} rows drawn from the schema all lie in [0, 1]: read as probabilities; "
            'pass output="probability" or output="logit" to nid.inject to be sure',
            NidWarning,
            stacklevel=2,
        )
    return "probability"


def _scores(predictor: Predictor, rows: FloatMatrix) -> npt.NDArray[np.floating]:
    try:
        out = predictor(rows)
    except NidError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model raised {type(error).__name__} on rows drawn from the crosses' schema: {error}",
            hint="Check inputs= and the schema's order and cardinalities",
        ) from error
    if out.shape not in {(len(rows),), (len(rows), 1)}:
        raise ModelError(
            "the model does not return one score a row",
            received=f"{out.shape} for {len(rows)} rows",
            expected="(n,) or (n, 1)",
            hint="Wrap it in a module that picks one output",
        )
    if out.dtype.kind != "f":
        raise ModelError(
            "the model's output cannot be corrected",
            received=f"dtype {out.dtype}",
            expected="real floating-point scores",
            hint="Return the score itself, not the class it stands for",
        )
    return out


def synthetic_rows(
    crosses: CrossFeatures, n: int = PROBE_ROWS, *, schema: FeatureSchema | None = None
) -> FloatMatrix:
    """Return rows that fit a schema, shape (n, p): ids uniform, dense values among their bin edges, or else normal.

    Args:
        crosses: Their bin edges are used.
        n: Number of rows.
        schema: The fields wanted. None: those of the crosses' schema.
    """
    schema = crosses.schema if schema is None else schema
    rng = np.random.default_rng(0)
    rows: npt.NDArray[np.float64] = np.empty((n, len(schema)), dtype=np.float64)
    for j, field in enumerate(schema):
        edges = crosses.edges.get(field.name)
        if isinstance(field, SparseField):
            rows[:, j] = rng.integers(0, field.cardinality, size=n)
        elif edges is not None and np.isfinite(edges).all() and len(edges):
            rows[:, j] = rng.choice(edges, size=n)
        else:
            rows[:, j] = rng.normal(size=n)
    return rows
