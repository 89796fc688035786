"""DeepCTR models with room for crosses that are chosen while they train."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import nid_keras.reserved
from nid_keras.reserved import tower_of

from nid_deepctr.copying import twin
from nid_deepctr.feed import Feeder, member_values
from nid_deepctr.graph import check_single_output, read_inputs, schema_of
from nid_deepctr.inject import by_name, named
from nid_deepctr.task import task_output
from nid_plugins.adapting.columns import check_schema

if TYPE_CHECKING:
    from nid_plugins.schema import FeatureSchema

__all__ = ["reserve", "tower_of"]


def reserve(model: Any, schema: FeatureSchema | None = None, **options: Any) -> Any:
    """Return a model that has room for crosses and returns exactly what the model does.

    Args:
        model: A functional tf_keras model of DeepCTR; it is copied, not changed.
        schema: Its fields; by default what its columns declare.
        **options: ``crosses``, ``size``, ``order``, ``bins`` and more; see :func:`nid_keras.reserved.reserve`.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: The schema does not fit the model's columns.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: A column has no counterpart here, the model has several outputs, or room already.
    """
    check_single_output(model)
    schema = schema_of(model) if schema is None else schema
    if options.get("inputs", "auto") == "auto" and "extract" not in options and by_name(model, schema):
        check_schema(schema, schema_of(model))
        multi, members = read_inputs(model)[1], set(schema.names)
        options["inputs"] = Feeder(model)
        options["extract"] = lambda tensors: member_values(named(model, tensors), members, multi)
    if options.get("output", "auto") == "auto":
        options["output"] = task_output(model)
    options.setdefault("fresh", partial(twin, model))
    return nid_keras.reserved.reserve(model, schema, **options)
