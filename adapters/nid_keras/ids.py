"""Cross ids in a TensorFlow graph, from a model's ordinary inputs: the same ids as ``CrossFeatures.transform``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nid_plugins.crosses import CrossFeatures
from nid_plugins.crosses.keys import GOLDEN
from nid_plugins.crosses.lookup import PLACE_SHIFT, LookupGroup, tables_of
from nid_plugins.crosses.plan import CrossPlan
from nid_plugins.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

_GOLDEN = GOLDEN - 2**64
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
_MULTIPLIER_2 = 0x94D049BB133111EB - 2**64

# The layers' classes are only known once a Keras is chosen; to the type checker the mixins below are plain classes.
_Layer: Any = object


class CrossIdsMixin(_Layer):  # type: ignore[misc]
    """Computes cross ids from tensors of the members' values; the format is that of ``docs/keys.md``.

    A sparse value that is missing, fractional or out of range, and a missing dense value, make the cross id 0.
    Bins and vocabularies are non-trainable weights, so they are saved, moved and exported with the model.

    Args:
        crosses: The crosses, fitted; or their plan, or the ``spec`` of it in the layer's config: the weights are then to
            be loaded or filled in.
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
        crosses: CrossFeatures | CrossPlan | Mapping[str, Any],
        columns: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        # Never cast by a policy of mixed precision: float16 would round ids and move values over bin edges.
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        self._fitted = crosses if isinstance(crosses, CrossFeatures) else None
        self._plan = plan_of(crosses)
        at = dict(columns or {name: i for i, name in enumerate(self._plan.schema_names)})
        # Not a dict: tf_keras would wrap it in one of its own, which JSON does not take.
        self._at = MappingProxyType({name: int(at[name]) for name in self._plan.fields})
        self.names = self._plan.names
        self.sizes = self._plan.sizes
        self.fields = self._plan.fields

    def build(self, input_shape: Any = None) -> None:
        """Make the weights: the lookup tables of the vocabularies, and the bin edges."""
        plan, fitted = self._plan, self._fitted
        for group in plan.groups:
            values = {} if fitted is None else tables_of(group, fitted.crosses)
            for name, (shape, dtype) in group.shapes().items():
                own = f"{group.kind}_{name}"
                setattr(self, own, self._constant(own, shape, dtype, values.get(name)))
        if plan.dense:
            # As bits: what is not a float is not cast by mixed precision either.
            bits = None if fitted is None else plan.edge_table(fitted.edges).view(np.int32)
            self.edge_bits = self._constant("edge_bits", (len(plan.dense), plan.longest_edges), "int32", bits)
        self._fitted = None
        self.built = True

    def _constant(self, name: str, shape: Any, dtype: str, value: Any) -> Any:
        def initial(shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
            return tf.zeros(shape, dtype) if value is None else tf.constant(value, dtype)

        return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=initial, trainable=False)

    def call(self, inputs: Any) -> tf.Tensor:
        """Return cross ids, shape (n, K).

        Raises:
            FrameError: A member's column is missing or not one value a row.
        """
        return self.cross_ids(inputs)

    def cross_ids(self, inputs: tf.Tensor | Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return cross ids, shape (n, K), int32."""
        first = np.cumsum([0, *self.sizes[:-1]]).astype(np.int32)
        # Row 0 of the table stands for all that is unknown.
        return tf.maximum(tf.transpose(self.table_rows(inputs)) - first, 0)

    def table_rows(self, inputs: tf.Tensor | Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return rows of one table of all crosses' embeddings, shape (K, n), int32; 0 is that of the unknown."""
        plan = self._plan
        ids = self._ids(inputs)
        if plan.padded:
            ids = tf.pad(ids, [[0, 1], [0, 0]])
        rows = _joined([self._rows_of(group, ids) for group in plan.groups])
        return rows if plan.order is None else tf.gather(rows, plan.order)

    def _ids(self, inputs: Any) -> tf.Tensor:
        """Return the member ids, shape (fields, n); that of a missing value is the field's size."""
        plan, parts = self._plan, []
        dtype = tf.int32 if plan.narrow_ids else tf.int64
        if plan.sparse:
            values = self._values(inputs, plan.sparse)
            # In 32 bits where these hold every id there is: half the work.
            small = values.dtype == tf.int32 and plan.narrow_ids
            whole = values if small else tf.cast(values, tf.int64)
            inside = (whole >= 0) & (whole < plan.cardinalities.astype(whole.dtype.name))
            if values.dtype.is_floating:
                # NaN and what is beyond int64 become arbitrary integers, which are not equal to the value.
                inside &= (tf.cast(whole, values.dtype) == values) & (tf.abs(values) < 2.0**62)
            parts.append(tf.where(inside, tf.cast(whole, dtype), plan.cardinalities.astype(dtype.name)))
        if plan.dense:
            values = tf.cast(self._values(inputs, plan.dense), tf.float32)
            edges, counts = tf.bitcast(tensor_of(self.edge_bits), tf.float32), self._edge_counts(dtype)
            bins = tf.searchsorted(edges, values, side="right", out_type=dtype)
            bins = tf.minimum(bins, counts) if plan.ragged or tf.is_tensor(counts) else bins
            parts.append(tf.where(tf.math.is_nan(values), counts + 1, bins))
        return _joined(parts)

    def _edge_counts(self, dtype: tf.DType) -> Any:
        """Return the number of bin edges of each dense field, shape (fields, 1)."""
        return self._plan.edge_counts.astype(dtype.name)

    def _rows_of(self, group: LookupGroup, ids: tf.Tensor) -> tf.Tensor:
        """Return the rows of one group, (k, n) int32; see :mod:`nid_plugins.crosses.lookup`."""
        table = {name: tensor_of(getattr(self, f"{group.kind}_{name}")) for name in group.shapes()}
        narrow = group.kind == "narrow"
        code = self._code(group, ids, table["multiplier"])
        word = code if narrow else tf.cast(_shift(code, 32), tf.int32)
        place = tf.bitwise.bitwise_xor(word, _shift(code, PLACE_SHIFT) if narrow else tf.cast(code, tf.int32))
        bucket = tf.bitwise.bitwise_and(tf.bitwise.right_shift(word, group.bucket_shift), group.bucket_mask)
        moved = tf.gather(table["displacement"], bucket + group.bucket_start)
        slot = (
            tf.bitwise.bitwise_xor(tf.bitwise.bitwise_and(place, group.slot_mask), moved) + group.slot_start
        )
        if narrow:
            entry = tf.gather(table["entry"], slot)
            found, rows = tf.cast(_shift(entry, 32), tf.int32), tf.cast(entry, tf.int32)
        else:
            found, rows = tf.gather(table["slot_code"], slot), tf.gather(table["slot_row"], slot)
        rows = tf.where(tf.equal(found, code), rows, 0)
        if group.kind == "masked":
            sizes = (
                np.append(self._plan.field_sizes, [[2]], axis=0)
                if self._plan.padded
                else self._plan.field_sizes
            )
            known = tf.gather(ids < sizes, group.members)
            rows = tf.where(tf.reduce_all(known, axis=0), rows, 0)
        return rows

    def _code(self, group: LookupGroup, ids: tf.Tensor, multiplier: tf.Tensor) -> tf.Tensor:
        if group.kind == "mixed":
            ids = tf.cast(ids, tf.int64)
            return tf.stack([_mixed_key(ids, members) for members in self._plan.mixed]) * multiplier[0]
        code = None
        for r, members in enumerate(group.members):
            part = tf.cast(tf.gather(ids, members), multiplier.dtype) * multiplier[r]
            code = part if code is None else code + part
        return code

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
            # Side by side they have one dtype, and that of one might round the ids of another.
            integers = all(kind.is_integer for kind in kinds)
            columns = [tf.cast(column, tf.int64 if integers else tf.float64) for column in columns]
        if all(column.shape.rank == 2 for column in columns):
            return tf.transpose(tf.concat(columns, axis=1))
        return tf.stack(
            [column if column.shape.rank == 1 else tf.squeeze(column, axis=1) for column in columns]
        )

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the ids, (n, K)."""
        return (rows_of(input_shape), len(self.names))

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again, vocabulary and bin edges excepted: these are weights."""
        config: dict[str, Any] = super().get_config()
        return {**config, "crosses": self._plan.spec, "columns": dict(self._at)}


def plan_of(crosses: CrossFeatures | CrossPlan | Mapping[str, Any]) -> CrossPlan:
    """Return the plan of crosses, fitted or as a config has them.

    Raises:
        SettingError: Not crosses.
    """
    if isinstance(crosses, CrossPlan):
        return crosses
    return CrossPlan.of(crosses) if isinstance(crosses, CrossFeatures) else CrossPlan.from_spec(crosses)


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
    """Return a field's values, shape (n,) or (n, 1).

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
    if column.shape.rank != 1 and (column.shape.rank != 2 or column.shape[1] != 1):
        raise FrameError(
            "a member of a cross must be one value a row",
            field=name,
            received=f"shape {tuple(column.shape)}",
            expected="shape (n,) or (n, 1)",
        )
    return column


def _joined(parts: list[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


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
    return tf.bitwise.right_shift(x, tf.constant(bits, x.dtype))


def _logical_shift(x: tf.Tensor, bits: int) -> tf.Tensor:
    return _shift(x, bits) & ((1 << (64 - bits)) - 1)
