"""Cross ids in a TensorFlow graph, from a model's ordinary inputs: the same ids as ``CrossFeatures.transform``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nid_plugins.crosses import CrossFeatures
from nid_plugins.crosses.keys import GOLDEN
from nid_plugins.crosses.perfect_hash import (
    BUCKET_SHIFT,
    ROUND_1,
    ROUND_2,
    SHIFT_1,
    SHIFT_2,
    hash_tables,
    layout,
    table_sizes,
)
from nid_plugins.crosses.plan import CrossPlan
from nid_plugins.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

_GOLDEN = GOLDEN - 2**64
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
_MULTIPLIER_2 = 0x94D049BB133111EB - 2**64
_TABLES = ("salt", "displacement", "slot_key", "slot_id")

# The layers' classes are only known once a Keras is chosen; to the type checker the mixins below are plain classes.
_Layer: Any = object


class CrossIdsMixin(_Layer):  # type: ignore[misc]
    """Computes cross ids from tensors of the members' values; the format is that of ``docs/keys.md``.

    A sparse value that is missing, fractional or out of range, and a missing dense value, make the cross id 0.
    Bins and vocabularies are non-trainable weights, so they are saved, moved and exported with the model.

    Args:
        crosses: The crosses, fitted; or the ``spec`` in the layer's config, whose weights are then to be loaded.
        columns: Position of each field in a matrix input; by default that of the crosses' schema.
        **kwargs: Of a Keras layer: ``name``, ``dtype``, ``trainable``.

    Raises:
        SettingError: Not crosses.

    Attributes:
        names: Names of the crosses.
        sizes: Vocabulary size V of each cross; ids are 0 .. V.
        fields: Names of the fields that are members of some cross: sparse ones first.

    Shapes:
        Input: a mapping of field name to (n,) or (n, 1), or a matrix (n, p). Output: (n, K), int32.
    """

    def __init__(
        self,
        crosses: CrossFeatures | Mapping[str, Any],
        columns: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        # Never cast by a policy of mixed precision: float16 would round ids and move values over bin edges.
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        self._fitted = crosses if isinstance(crosses, CrossFeatures) else None
        self._plan = (
            CrossPlan.of(crosses) if isinstance(crosses, CrossFeatures) else CrossPlan.from_spec(crosses)
        )
        at = dict(columns or {name: i for i, name in enumerate(self._plan.schema_names)})
        # Not a dict: tf_keras would wrap it in one of its own, which JSON does not take.
        self._at = MappingProxyType({name: int(at[name]) for name in self._plan.fields})
        self.names = self._plan.names
        self.sizes = self._plan.sizes
        self.fields = self._plan.fields

    def build(self, input_shape: Any = None) -> None:
        """Make the weights: the perfect hash of the vocabularies, and the bin edges."""
        plan = self._plan
        buckets, slots = np.array([table_sizes(size) for size in plan.sizes], np.int64).sum(axis=0)
        shapes = {
            "salt": (len(plan.names), 1),
            "displacement": (buckets,),
            "slot_key": (slots,),
            "slot_id": (slots,),
        }
        values: dict[str, Any] = {}
        if self._fitted is not None:
            tables = hash_tables([cross.keys for cross in self._fitted.crosses])
            values = {field.name: getattr(tables, field.name) for field in fields(tables)}
            values["edge_bits"] = plan.edge_table(self._fitted.edges).view(np.int32)
            self._fitted = None
        for name in _TABLES:
            dtype = "int64" if name in {"salt", "slot_key"} else "int32"
            setattr(self, name, self._constant(name, shapes[name], dtype, values.get(name)))
        if plan.dense:
            # As bits: what is not a float is not cast by mixed precision either.
            shape = (len(plan.dense), plan.longest_edges)
            self.edge_bits = self._constant("edge_bits", shape, "int32", values.get("edge_bits"))
        self._layout = SimpleNamespace(**layout(plan.sizes))
        self.built = True

    def _constant(self, name: str, shape: Any, dtype: str, value: Any) -> Any:
        def initial(shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
            return tf.zeros(shape, dtype) if value is None else tf.constant(value, dtype)

        shape = tuple(int(size) for size in shape)
        return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=initial, trainable=False)

    def call(self, inputs: Any) -> tf.Tensor:
        """Return cross ids, shape (n, K).

        Raises:
            FrameError: A member's column is missing or not one value a row.
        """
        return self.cross_ids(inputs)

    def cross_ids(self, inputs: tf.Tensor | Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return cross ids, shape (n, K), int32."""
        plan = self._plan
        ids, known = [], []
        if plan.sparse:
            values = self._values(inputs, plan.sparse)
            whole = tf.cast(values, tf.int64)
            inside = (whole >= 0) & (whole < plan.cardinalities)
            if values.dtype.is_floating:
                # NaN and what is beyond int64 become arbitrary integers, which are not equal to the value.
                inside &= tf.cast(whole, values.dtype) == values
                inside &= tf.abs(values) < 2.0**62
            ids.append(whole)
            known.append(inside)
        if plan.dense:
            values = tf.cast(self._values(inputs, plan.dense), tf.float32)
            bins = tf.searchsorted(
                tf.bitcast(tensor_of(self.edge_bits), tf.float32), values, side="right", out_type=tf.int64
            )
            ids.append(tf.minimum(bins, plan.edge_counts) if plan.ragged else bins)
            known.append(tf.logical_not(tf.math.is_nan(values)))
        # Ids of unknown values are arbitrary: their keys are looked up in vain and masked at the end.
        return tf.transpose(self._crossed(_joined(ids), _joined(known)))

    def _crossed(self, ids: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        plan = self._plan
        if plan.padded:  # crosses of fewer members than the longest: a last member that is always id 0
            ids = tf.pad(ids, [[0, 1], [0, 0]])
            known = tf.pad(known, [[0, 1], [0, 0]], constant_values=True)
        keys, valid = None, None
        for member, stride in zip(plan.members, plan.strides, strict=True):
            own, there = tf.gather(ids, member), tf.gather(known, member)
            part = own if (stride == 1).all() else own * stride
            keys = part if keys is None else keys + part
            valid = there if valid is None else valid & there
        if plan.mixed:
            mixed = tf.stack([_mixed_key(ids, members) for members in plan.mixed])
            keys = tf.gather(tf.concat([keys, mixed], axis=0), plan.order)
        return tf.where(valid, self._looked_up(keys), 0)

    def _looked_up(self, keys: tf.Tensor) -> tf.Tensor:
        """Return the ids of keys, (K, n) int64, as int32; 0 where a cross does not have the key."""
        at = self._layout
        mixed = _mix(keys + tensor_of(self.salt))
        bucket = (_shift(mixed, BUCKET_SHIFT) & at.bucket_mask) + at.bucket_start
        moved = tf.cast(tf.gather(tensor_of(self.displacement), bucket), tf.int64)
        slot = tf.bitwise.bitwise_xor(mixed & at.slot_mask, moved) + at.slot_start
        found = tf.equal(tf.gather(tensor_of(self.slot_key), slot), keys)
        return tf.where(found, tf.gather(tensor_of(self.slot_id), slot), 0)

    def _values(self, inputs: tf.Tensor | Mapping[str, tf.Tensor], names: Sequence[str]) -> tf.Tensor:
        """Return the fields' values, shape (fields, n)."""
        if not isinstance(inputs, Mapping):
            inputs = tf.convert_to_tensor(inputs)
            width = 1 + max(self._at.values())
            if inputs.shape.rank != 2 or (inputs.shape[1] is not None and inputs.shape[1] < width):
                raise FrameError(
                    "the input lacks a member of a cross",
                    received=f"shape {tuple(inputs.shape)}",
                    expected=f"shape (n, p), p at least {width}",
                    hint="Pass every field the crosses were fitted on, in the schema's order",
                )
            return tf.gather(tf.transpose(inputs), [self._at[name] for name in names])
        columns = [column_of(inputs, name) for name in names]
        kinds = {column.dtype for column in columns}
        if len(kinds) > 1:
            # Stacking wants one dtype, and that of one might round the ids of another.
            integers = all(kind.is_integer for kind in kinds)
            columns = [tf.cast(column, tf.int64 if integers else tf.float64) for column in columns]
        return tf.stack(columns)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the ids, (n, K)."""
        return (rows_of(input_shape), len(self.names))

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again, vocabulary and bin edges excepted: these are weights."""
        config: dict[str, Any] = super().get_config()
        return {**config, "crosses": self._plan.spec, "columns": dict(self._at)}


def tensor_of(variable: Any) -> Any:
    """Return a weight as TensorFlow takes it; of Keras 3 the variable inside, so that gradients stay sparse."""
    value = getattr(variable, "value", variable)
    return variable if callable(value) else value


def value_of(variable: Any) -> npt.NDArray[Any]:
    """Return a copy of a weight's value."""
    return np.array(tensor_of(variable).numpy())


def rows_of(input_shape: Any) -> int | None:
    """Return the number of rows in a shape or a mapping of shapes."""
    if isinstance(input_shape, Mapping):
        input_shape = next(iter(input_shape.values()), (None,))
    shape = tuple(input_shape)
    return shape[0] if shape and (shape[0] is None or isinstance(shape[0], int)) else None


def column_of(columns: Mapping[str, Any], name: str) -> tf.Tensor:
    """Return a field's values, shape (n,).

    Raises:
        FrameError: The column is missing or not one number a row.
    """
    if name not in columns:
        raise FrameError(
            "the input lacks a member of a cross",
            field=name,
            received=sorted(columns),
            hint="Pass every field the crosses were fitted on",
        )
    column = tf.convert_to_tensor(columns[name])
    if not (column.dtype.is_integer or column.dtype.is_floating):
        raise FrameError(
            "a member of a cross must be a number", field=name, received=f"dtype {column.dtype.name}"
        )
    if column.shape.rank == 2 and column.shape[1] == 1:
        return tf.squeeze(column, axis=1)
    if column.shape.rank != 1:
        raise FrameError(
            "a member of a cross must be one value a row",
            field=name,
            received=f"shape {tuple(column.shape)}",
            expected="shape (n,) or (n, 1)",
        )
    return column


def _joined(parts: list[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


def _mix(x: tf.Tensor) -> tf.Tensor:
    x *= ROUND_1
    x = tf.bitwise.bitwise_xor(x, _shift(x, SHIFT_1)) * ROUND_2
    return tf.bitwise.bitwise_xor(x, _shift(x, SHIFT_2))


def _mixed_key(ids: tf.Tensor, members: tuple[int, ...]) -> tf.Tensor:
    key = tf.zeros_like(ids[0])
    for member in members:
        key = _mix64(key + ids[member] + _GOLDEN)
    return key


def _mix64(x: tf.Tensor) -> tf.Tensor:
    # Signed shifts, with the sign masked away. Products wrap round modulo 2**64.
    x = tf.bitwise.bitwise_xor(x, _logical_shift(x, 30)) * _MULTIPLIER_1
    x = tf.bitwise.bitwise_xor(x, _logical_shift(x, 27)) * _MULTIPLIER_2
    return tf.bitwise.bitwise_xor(x, _logical_shift(x, 31))


def _shift(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.int64))


def _logical_shift(x: tf.Tensor, bits: int) -> tf.Tensor:
    return _shift(x, bits) & ((1 << (64 - bits)) - 1)
