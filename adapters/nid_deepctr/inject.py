"""Giving crosses to a DeepCTR model that exists, on its logit; and reading what was learned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import nid_keras.inject
import numpy as np
from nid_keras.ids import value_of

from nid_deepctr.copying import twin
from nid_deepctr.feed import Feeder, member_values
from nid_deepctr.graph import check_single_output, main_table, models_in, read_inputs
from nid_deepctr.layers import CrossColumns
from nid_deepctr.task import task_output
from nid_plugins.adapting.columns import check_members, check_schema
from nid_plugins.errors import NidError, SchemaError
from nid_plugins.schema import FeatureSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from nid_plugins.adapter import Output
    from nid_plugins.adapting.inputs import Inputs
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.schema import Field


def residual(
    model: Any,
    crosses: CrossFeatures,
    *,
    inputs: Inputs = "auto",
    output: Output = "auto",
    extract: Callable[..., Mapping[str, Any]] | None = None,
    fresh: Callable[[], Any] | None = None,
    **options: Any,
) -> Any:
    """Return a model that has the crosses and, until it is trained, returns exactly what the model does.

    It takes the same inputs, and holds a copy of the model as a layer. If the model was compiled, so is the target.

    Args:
        model: A functional tf_keras model of DeepCTR; it is copied, not changed.
        crosses: The crosses; their members are columns of the model. Of a multi-valued one the first id counts.
        inputs: How the model takes a batch, as in ``nid.wrap``. ``"auto"``: by the names of its columns.
        output: What it returns. ``"auto"``: what its task says.
        extract: See :func:`nid_keras.inject.residual`.
        fresh: See there. By default the model is copied by ``nid_deepctr.copying.twin``.
        **options: ``frozen``, ``dim``, ``hidden``, ``dropout``, ``l2``, ``embeddings``, ``train_embeddings``,
            ``train_projection``, ``seed``; see there.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: A member of a cross is not a column of the model, or of another kind.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: A member's column has no counterpart here, the model has several outputs, or these crosses.
    """
    check_single_output(model)
    if inputs == "auto" and extract is None and by_name(model, crosses.schema):
        fields, multi = read_inputs(model)
        check_fields(crosses, fields)
        members = {name for cross in crosses.crosses for name in cross.fields}
        inputs = Feeder(model)
        extract = lambda tensors: member_values(named(model, tensors), members, multi)  # noqa: E731
    return nid_keras.inject.residual(
        model,
        crosses,
        inputs=inputs,
        output=task_output(model) if output == "auto" else output,
        extract=extract,
        fresh=partial(twin, model) if fresh is None else fresh,
        **options,
    )


def by_name(model: Any, schema: FeatureSchema) -> bool:
    """Return whether a model takes fields of a schema by name, as DeepCTR's own models do."""
    return bool(set(model.input_names) & set(schema.names))


def named(model: Any, tensors: Any) -> dict[str, Any]:
    """Return what a model is called with by the names of its columns."""
    if isinstance(tensors, dict):
        return tensors
    flat = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
    return dict(zip(model.input_names, flat, strict=True))


def check_fields(crosses: CrossFeatures, fields: Mapping[str, Field | NidError]) -> None:
    """Check crosses against what a model's inputs are; inputs that are no members need not be fields.

    Raises:
        SchemaError: A member is not a column of the model, of another kind, or has more ids than its table.
        UnsupportedError: A member's column has no counterpart here.
    """
    members = {name for cross in crosses.crosses for name in cross.fields}
    for name in members & fields.keys():
        problem = fields[name]
        if isinstance(problem, NidError):
            raise problem
    declared = [field for field in fields.values() if not isinstance(field, NidError)]
    if not declared:
        raise SchemaError(
            "the model has no columns crosses can be made of", received=list(fields), expected=sorted(members)
        )
    check_members(crosses, FeatureSchema(declared))
    both = [field.name for field in declared if field.name in crosses.schema.names]
    check_schema(
        FeatureSchema(crosses.schema[name] for name in both),
        FeatureSchema(field for field in declared if field.name in both),
    )


def embeddings_of(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Return the embeddings of a model's injected crosses; empty when there are none.

    Of a residual model row 0 is zero; of a rebuilt one it was learned like any other. A rebuilt ONN or FGCNN has several
    tables a cross: this is that of the first pair, or of the part without convolutions. A rebuilt MLR has one of
    length 1 for each of its regions and learners: this is the first.
    """
    found = nid_keras.inject.embeddings_of(model)
    for outer in models_in(model):
        for layer in outer.layers:
            if not isinstance(layer, CrossColumns):
                continue
            inner = next(one for one in models_in(outer) if set(layer.columns) <= set(one.input_names))
            for cross, column in zip(layer.crosses, layer.columns, strict=True):
                table = main_table(inner, column)
                found[cross] = value_of(table.embeddings).astype(np.float32)
    return found
