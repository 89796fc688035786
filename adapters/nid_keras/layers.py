"""Layers for models with crosses: embeddings, the tower that turns them into a correction of the logit, the correction."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from nid_keras.ids import CrossIdsMixin, rows_of, tensor_of, value_of
from nid_plugins.adapting.options import TowerOptions
from nid_plugins.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nid_plugins.crosses import CrossFeatures


class CrossEmbeddingMixin(CrossIdsMixin):
    """Embeddings of crosses, from a model's ordinary inputs.

    One table for all crosses, of which row 0, shared by every id 0, is always zero: a combination outside a cross's
    vocabulary adds nothing and learns nothing.

    Args:
        crosses: The crosses, fitted; or the ``crosses`` of the layer's config, whose weights are then to be loaded.
        columns: Position of each field in a matrix input; by default that of the crosses' schema.
        dim: Length of an embedding.
        l2: Weight of the squared norm of the table, a regularisation loss.
        embeddings: Cross name to array (V + 1, dim) to start from, e.g. of ``nid.cross_embeddings``; row 0 is ignored.
        train_embeddings: Whether the table is trained.
        **kwargs: Of a Keras layer: ``name``, ``dtype``, ``trainable``.

    Raises:
        SettingError: An option is out of its domain, or embeddings do not fit the crosses.

    Shapes:
        Input: a mapping of field name to (n,) or (n, 1), or a matrix (n, p). Output: (n, K, dim).

    Example:
        >>> layer = nid_keras.keras3.CrossEmbedding(crosses, dim=8)      # doctest: +SKIP
        >>> keras.layers.Flatten()(layer(inputs))  # inputs: dict of keras.Input by field  # doctest: +SKIP
    """

    def __init__(
        self,
        crosses: CrossFeatures | Mapping[str, Any],
        columns: Mapping[str, int] | None = None,
        *,
        dim: int = 8,
        l2: float = 0.0,
        embeddings: Mapping[str, npt.NDArray[Any]] | None = None,
        train_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(crosses, columns, **kwargs)
        self._set_options(dim=dim, l2=l2, embeddings=embeddings, train_embeddings=train_embeddings)

    def _set_options(self, **options: Any) -> None:
        self._options = TowerOptions.of(self._plan, **options)
        self._configured = tuple(name for name in options if name != "embeddings")
        self.dim = self._options.dim

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        super().build(input_shape)
        self._offsets = np.cumsum([0, *self.sizes[:-1]], dtype=np.int64)
        l2 = self._options.l2
        self.table = self.add_weight(
            name="table",
            shape=(1 + sum(self.sizes), self.dim),
            initializer=self._initial_table,
            regularizer=(lambda table: l2 * tf.reduce_sum(tf.square(tensor_of(table)))) if l2 else None,
            trainable=self._options.train_embeddings,
        )
        self._options = replace(self._options, embeddings={})

    def _initial_table(self, shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
        table = np.zeros(tuple(shape), dtype=np.float64)
        for k, name in enumerate(self.names):
            if name in self._options.embeddings:
                start = int(self._offsets[k]) + 1
                table[start : start + self.sizes[k]] = self._options.embeddings[name][1:]
        return tf.constant(table, dtype)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Return embeddings, shape (n, K, dim)."""
        return self.embedded(inputs, training)

    def embedded(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Return embeddings, shape (n, K, dim)."""
        rows = tf.transpose(self.table_rows(inputs))
        found = tf.gather(tensor_of(self.table), rows)
        if training is False:
            return found
        # Of zeros, but not without a gradient: row 0 must not learn.
        return found * tf.cast(rows > 0, found.dtype)[:, :, None]

    def cross_embeddings(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return a copy of the embeddings of each cross, shape (V + 1, dim), float32; row 0 is zero."""
        table = value_of(self.table).astype(np.float32)
        out: dict[str, npt.NDArray[np.float32]] = {}
        for k, name in enumerate(self.names):
            start = int(self._offsets[k]) + 1
            out[name] = np.concatenate([table[:1], table[start : start + self.sizes[k]]])
        return out

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (rows_of(input_shape), len(self.names), self.dim)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again; embeddings given to start from are weights."""
        options = {name: getattr(self._options, name) for name in self._configured}
        return {
            **super().get_config(),
            **{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()},
        }


class CrossTowerMixin(CrossEmbeddingMixin):
    """What crosses add to a logit: ``delta = w @ e``, with ``e`` the K embeddings of a row side by side.

    The embeddings start at zero and ``w`` does not, so that delta is exactly 0 at first and one step of training moves
    it. There is no bias anywhere: a row none of whose crosses is known keeps delta 0 for good.

    Embeddings given to start from keep their values. There it is ``w`` that starts at zero, for the same reason.

    Args:
        crosses: As of :class:`~nid_keras.keras3.CrossEmbedding`, and so are ``columns``, ``dim``, ``l2``,
            ``embeddings``, ``train_embeddings``.
        columns: See above.
        dim: See above.
        hidden: Widths of the layers of an MLP without biases on ``e``, beside ``w @ e``; none by default. The linear
            path stays: the gradient of a ReLU network is zero at ``e = 0``.
        dropout: Rate of dropout on ``e``.
        l2: See above.
        embeddings: See above.
        train_embeddings: See above.
        train_projection: Whether ``w`` and the MLP are trained.
        seed: Of the initial ``w`` and MLP, and of dropout. The global random state is neither used nor changed.
        **kwargs: Of a Keras layer.

    Raises:
        SettingError: An option is out of its domain, or embeddings do not fit the crosses.

    Shapes:
        Input: a mapping of field name to (n,) or (n, 1), or a matrix (n, p). Output: (n, 1).
    """

    keras: ClassVar[Any]

    def __init__(
        self,
        crosses: CrossFeatures | Mapping[str, Any],
        columns: Mapping[str, int] | None = None,
        *,
        dim: int = 8,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        l2: float = 0.0,
        embeddings: Mapping[str, npt.NDArray[Any]] | None = None,
        train_embeddings: bool = True,
        train_projection: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super(CrossEmbeddingMixin, self).__init__(crosses, columns, **kwargs)
        self._set_options(
            dim=dim,
            hidden=hidden,
            dropout=dropout,
            l2=l2,
            embeddings=embeddings,
            train_embeddings=train_embeddings,
            train_projection=train_projection,
            seed=seed,
        )
        rate, seed = self._options.dropout, self._options.seed
        self.dropout = self.keras.layers.Dropout(rate, seed=abs(seed) % 2**31) if rate else None

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        given = self._options.embeddings
        super().build(input_shape)
        rng = np.random.default_rng(abs(self._options.seed))
        wide = len(self.names) * self.dim
        first = self._first_projection(rng)
        for k, name in enumerate(self.names):
            if name in given:
                first[k * self.dim : (k + 1) * self.dim] = 0
        self.projection = self._matrix("projection", first)
        widths = [wide, *self._options.hidden]
        layers = [
            rng.normal(scale=math.sqrt(2 / into), size=(into, out))
            for into, out in itertools.pairwise(widths)
        ]
        if layers:
            scale = 0.0 if given else math.sqrt(2 / widths[-1])
            layers.append(rng.normal(scale=scale, size=(widths[-1], 1)))
        self.mlp = [self._matrix(f"mlp_{i}", own) for i, own in enumerate(layers)]
        if self.dropout is not None and not self.dropout.built:
            self.dropout.build((None, wide))

    def _first_projection(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        # Unit norm a cross, on average: under SGD an embedding then learns as fast as a weight of a linear model.
        return rng.normal(scale=self.dim**-0.5, size=(len(self.names) * self.dim, 1))

    def _matrix(self, name: str, values: npt.NDArray[np.float64]) -> Any:
        return self.add_weight(
            name=name,
            shape=values.shape,
            initializer=lambda shape, dtype=None, **_: tf.constant(values, dtype),  # noqa: ARG005 - Keras passes it
            trainable=self._options.train_projection,
        )

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Return delta, shape (n, 1)."""
        found = self.embedded(inputs, training)
        wide = tf.reshape(found, [-1, len(self.names) * self.dim])
        if self.dropout is not None:
            wide = self.dropout(wide, training=training)
        delta = tf.matmul(wide, tensor_of(self.projection))
        if not self.mlp:
            return delta
        for matrix in self.mlp[:-1]:
            wide = tf.nn.relu(tf.matmul(wide, tensor_of(matrix)))
        return delta + tf.matmul(wide, tensor_of(self.mlp[-1]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return (rows_of(input_shape), 1)


class CorrectedMixin:
    """A model's output with ``delta`` added to its logit: exactly the output where delta is 0.

    A probability p becomes ``p + (sigmoid(l + delta) - sigmoid(l))`` with ``l = logit(p)``; taking the logit and coming
    back would lose the last bits. The logit is taken of p clipped to ``[eps, 1 - eps]``, so that a saturated p is
    finite, and can still be moved; the sum is clipped to [0, 1], but what is beyond is not brought in by a delta of 0.

    Args:
        output: What the model returns, ``"probability"`` or ``"logit"``.
        **kwargs: Of a Keras layer.

    Raises:
        SettingError: ``output`` is something else.

    Shapes:
        Input: the output, (n,) or (n, 1), and delta, (n, 1). Output: as the first.
    """

    def __init__(self, output: str, **kwargs: Any) -> None:
        if output not in {"probability", "logit"}:
            raise SettingError("unknown output", received=repr(output), expected='"probability" or "logit"')
        kwargs["autocast"] = False  # a policy of mixed precision would round the model's output
        super().__init__(**kwargs)
        self.nid_output = output

    def call(self, inputs: Any) -> tf.Tensor:
        """Return the corrected output."""
        out, delta = tf.convert_to_tensor(inputs[0]), inputs[1]
        delta = tf.cast(tf.reshape(delta, tf.shape(out)), out.dtype)
        if self.nid_output == "logit":
            return out + delta
        epsilon = float(np.finfo(out.dtype.as_numpy_dtype).eps) if out.dtype != tf.bfloat16 else 2.0**-7
        clipped = tf.clip_by_value(out, epsilon, 1.0 - epsilon)
        logit = tf.math.log(clipped) - tf.math.log1p(-clipped)
        moved = out + (tf.sigmoid(logit + delta) - tf.sigmoid(logit))
        return tf.clip_by_value(moved, tf.minimum(out, 0.0), tf.maximum(out, 1.0))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "output": self.nid_output}
