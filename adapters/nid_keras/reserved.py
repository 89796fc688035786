"""A tower with room for crosses that are chosen while the model trains.

Keras compiles a step of training once, with the variables there are. So the variables of crosses are made at the start,
all of them: tables of zeros with which every id is 0. Filling them in changes values, not shapes: nothing is traced
again, and the optimiser, which has had its own variables for them all along, keeps its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nid_keras.ids import tensor_of, value_of
from nid_keras.layers import CrossTowerMixin
from nid_keras.model import flat_layers
from nid_plugins.crosses.places import Places
from nid_plugins.crosses.room import Room
from nid_plugins.errors import ModelError, SettingError, UnsupportedError

if TYPE_CHECKING:
    from nid_plugins.crosses import CrossFeatures
    from nid_plugins.crosses.lookup import LookupGroup
    from nid_plugins.schema import FeatureSchema

_ARRAYS = {
    "members": "members",
    "multiplier": "wide_multiplier",
    "displacement": "wide_displacement",
    "slot_code": "wide_slot_code",
    "slot_row": "wide_slot_row",
    "edge_counts": "edge_counts",
}
"""Weight of the layer by array of :class:`~nid_plugins.crosses.places.Places`; bin edges are kept as bits."""


class ReservedTowerMixin(CrossTowerMixin):
    """A :class:`~nid_keras.keras3.CrossTower` of crosses that are not known yet, filled in by ``fill``.

    A place without a cross adds exactly 0 to the logit and learns nothing. Which crosses there are is a matter of the
    weights alone, so that a checkpoint of the weights, of whatever kind, holds them; the config holds only the room.

    Args:
        room: How many crosses of what size, of which fields; or the ``room`` of the layer's config.
        columns: Position of each field in a matrix input; by default that of the room's schema.
        **kwargs: ``dim``, ``hidden``, ``dropout``, ``l2``, ``train_embeddings``, ``train_projection``, ``seed`` as of the
            tower; and those of a Keras layer.

    Raises:
        SettingError: Not a room, or an option is out of its domain.

    Shapes:
        Input: a mapping of field name to (n,) or (n, 1), or a matrix (n, p); all fields of the room. Output: (n, 1).
    """

    def __init__(
        self, room: Room | Mapping[str, Any], columns: Mapping[str, int] | None = None, **kwargs: Any
    ) -> None:
        room = Room.from_dict(room) if isinstance(room, Mapping) else room
        if not isinstance(room, Room):
            raise SettingError("not room for crosses", received=type(room).__name__, expected="Room")
        plan: Any = room.plan()
        super().__init__(plan, columns, **kwargs)
        self.room = room

    def build(self, input_shape: Any = None) -> None:
        """Make the weights, all places empty."""
        shape = (self.room.order, self.room.crosses)
        nobody = np.full(shape, len(self.room.fields), np.int32)
        self.members = self._constant("members", shape, "int32", nobody)
        if self.room.dense:
            self.edge_counts = self._constant("edge_counts", (len(self.room.dense), 1), "int32", None)
        super().build(input_shape)

    def _code(self, group: LookupGroup, ids: tf.Tensor, multiplier: tf.Tensor) -> tf.Tensor:
        members = tensor_of(self.members)
        parts = [
            tf.cast(tf.gather(ids, members[r]), tf.int64) * multiplier[r] for r in range(self.room.order)
        ]
        return tf.add_n(parts)

    def _edge_counts(self, dtype: tf.DType) -> Any:
        return tf.cast(tensor_of(self.edge_counts), dtype)

    def fill(self, crosses: CrossFeatures) -> None:
        """Put crosses into the first free places; their embeddings start at zero, so that no output changes.

        Args:
            crosses: Fitted on the room's fields; see :meth:`nid_plugins.crosses.room.Room.fitting`.

        Raises:
            SettingError: There is no room for one of them, or not for its bin edges beside those that are used.
            SchemaError: They are of other fields.
            UnsupportedError: The layer has one of them already.
            ModelError: The layer has no weights yet.
        """
        places = self._places()
        filled = places.fill(self.room, crosses)
        for array, weight in _ARRAYS.items():
            if hasattr(self, weight):
                getattr(self, weight).assign(getattr(places, array))
        if self.room.dense:
            self.edge_bits.assign(places.edges.view(np.int32))
        # A free place does not learn, but an optimiser may let its weights decay, or as FTRL set them to zero.
        table, projection = value_of(self.table), value_of(self.projection)
        first = self._first_projection(np.random.default_rng(abs(self._options.seed)))
        for k in filled:
            own = slice(k * self.dim, (k + 1) * self.dim)
            table[1 + k * self.room.size : 1 + (k + 1) * self.room.size] = 0
            projection[own] = first[own]
        self.table.assign(table)
        self.projection.assign(projection)

    def fitting(self, crosses: CrossFeatures, train: Any) -> CrossFeatures | None:
        """Return those of some crosses that the layer does not have yet and has room for, however many.

        Of the largest ones the most frequent combinations are kept; what is left out is said in a warning. See
        :meth:`nid_plugins.crosses.room.Room.fitting`.
        """
        own = self.crosses()
        present = set() if own is None else {cross.fields for cross in own.crosses}
        new = [k for k, cross in enumerate(crosses.crosses) if cross.fields not in present]
        return self.room.fitting(crosses.select(new), train, len(new)) if new else None

    def _places(self) -> Places:
        if not self.built:
            raise ModelError(
                "the layer has not been built", received=self.name, hint="Call its model on a batch first"
            )
        dense = bool(self.room.dense)
        edges = value_of(self.edge_bits).view(np.float32) if dense else np.zeros((0, 1), np.float32)
        arrays = {
            array: value_of(getattr(self, weight)) if hasattr(self, weight) else np.zeros((0, 1), np.int32)
            for array, weight in _ARRAYS.items()
        }
        return Places(**arrays, edges=edges)

    def crosses(self) -> CrossFeatures | None:
        """Return the crosses that were filled in, named after their members; None where there are none."""
        return self._places().crosses(self.room)

    @property
    def free(self) -> int:
        """Number of places without a cross."""
        return self.room.crosses - len(self._places().taken(self.room))

    def cross_embeddings(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return a copy of the embeddings of each cross that was filled in, (V + 1, dim), float32; row 0 is zero."""
        places, crosses = self._places(), self.crosses()
        table = value_of(self.table).astype(np.float32)
        out: dict[str, npt.NDArray[np.float32]] = {}
        taken = [] if crosses is None else zip(places.taken(self.room), crosses.crosses, strict=True)
        for k, cross in taken:
            start = 1 + k * self.room.size
            out[cross.name] = np.concatenate([table[:1], table[start : start + cross.vocabulary]])
        return out

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again; which crosses it has is in its weights."""
        config = super().get_config()
        del config["crosses"]
        return {**config, "room": self.room.to_dict()}


def reserve(
    model: Any,
    schema: FeatureSchema,
    *,
    crosses: int = 10,
    size: int = 2000,
    order: int = 3,
    bins: int = 100,
    **options: Any,
) -> Any:
    """Return a model that has room for crosses and returns exactly what the model does.

    It is compiled like the model; fit it with a ``CrossInjector`` among its callbacks, or fill crosses in with
    ``tower_of(target).fill(crosses)``.

    Args:
        model: A built Keras model that returns one score a row; it is copied, not changed.
        schema: Its fields.
        crosses: Most crosses.
        size: Most combinations of a cross; of a larger one the most frequent are kept.
        order: Most members of a cross.
        bins: Most bins of a dense field.
        **options: ``inputs``, ``output``, ``extract``, ``frozen``, ``fresh``, and of the tower ``dim``, ``hidden``,
            ``dropout``, ``l2``, ``train_embeddings``, ``train_projection``, ``seed``; see
            :func:`nid_keras.inject.residual`.

    Raises:
        SettingError: An option is out of its domain.
        SchemaError: The schema does not fit the model's inputs.
        ModelError: The model fails on rows of the schema, or does not return one score a row.
        UnsupportedError: The model cannot be copied, or has room for crosses already.
    """
    if any(isinstance(layer, ReservedTowerMixin) for layer in flat_layers(model)):
        raise UnsupportedError("the model has room for crosses already", received=model.name)
    from nid_keras.inject import residual
    from nid_plugins.adapting.options import TowerOptions, check_names

    known = {"inputs", "output", "extract", "frozen", "fresh", *TowerOptions.names()} - {"embeddings"}
    check_names(options, sorted(known), "unknown option of reserve")
    room: Any = Room(schema, crosses, size, order, bins)
    return residual(model, room, **options)


def tower_of(model: Any) -> Any:
    """Return the layer of a model that has room for crosses.

    Raises:
        ModelError: The model has none.
    """
    for layer in flat_layers(model):
        if isinstance(layer, ReservedTowerMixin):
            return layer
    raise ModelError(
        "the model has no room for crosses",
        received=getattr(model, "name", type(model).__qualname__),
        expected="a model made by nid_keras.reserved.reserve",
        hint="Keras compiles a model's training once: make room first, then compile and fit what reserve() returns",
    )
