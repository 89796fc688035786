"""Images: superpixels painted over with their mean colour, with a blurred copy, or with a colour of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from nid_plugins.domains.domain import Domain, Features
from nid_plugins.domains.segmenting import METHODS, Pixels, Segments, segment
from nid_plugins.errors import FrameError, SettingError

if TYPE_CHECKING:
    from nid_plugins.detection.masks import Masks


@dataclass(frozen=True, eq=False)
class Image(Domain):
    """Segments of an image. The model gets an array (n, ...) of images in the instance's shape and number type.

    Args:
        segments: How the image is cut: ``"slic"`` or ``"quickshift"`` (superpixels of scikit-image, extra
            ``vision``), ``"grid"`` (nearly square tiles), an array (H, W) with the number of each
            pixel's segment, or a callable from an image (H, W, C) to such an array.
        count: Number of segments wanted, roughly.
        off: What an off segment shows: ``"mean"``, its mean colour; ``"blur"``, the blurred image; or a colour, one
            number or one a channel. A mean colour hides nothing in a segment of one colour.
        blur: Standard deviation of the blur in pixels; a tenth of the shorter side by default.
        channels: Where the channels stand, ``"last"`` or ``"first"``. An image of two axes has none.
    """

    segments: Any = "slic"
    count: int = 40
    off: Any = "mean"
    blur: float | None = None
    channels: Literal["last", "first"] = "last"
    name: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        how = self.segments
        if isinstance(how, str) and how not in METHODS:
            raise SettingError(
                "unknown segments", received=repr(how), expected=f"one of {METHODS}, or an array"
            )
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 2:
            raise SettingError(
                "count out of range", received=repr(self.count), expected="an integer of at least 2"
            )
        if isinstance(self.off, str) and self.off not in {"mean", "blur"}:
            raise SettingError("unknown off", received=repr(self.off), expected='"mean", "blur" or a colour')
        if self.blur is not None and not (isinstance(self.blur, int | float) and 0 < self.blur < np.inf):
            raise SettingError("blur out of range", received=repr(self.blur), expected="> 0")
        if self.channels not in {"last", "first"}:
            raise SettingError("unknown channels", received=repr(self.channels), expected='"last" or "first"')

    def features(self, instance: Any) -> Features:
        """Cut an image.

        Raises:
            FrameError: Not an image, or the segments or the colour do not fit it.
            MissingExtraError: The segments need scikit-image.
        """
        raw = _as_image(instance)
        first = self.channels == "first" and raw.ndim == 3
        image = raw[:, :, None] if raw.ndim == 2 else np.moveaxis(raw, 0, 2) if first else raw
        parts = segment(image, self.segments, self.count)
        back = (
            (lambda x: x[..., 0]) if raw.ndim == 2 else (lambda x: np.moveaxis(x, -1, 1)) if first else None
        )
        return _Segments(image, parts, _rounded(self._off(image, parts), raw.dtype), back)

    def _off(self, image: Pixels, parts: Segments) -> npt.NDArray[np.float64]:
        floats = image.astype(np.float64)
        if isinstance(self.off, str) and self.off == "mean":
            count = np.bincount(parts.ravel())
            flat = floats.reshape(-1, image.shape[2])
            means = np.stack([np.bincount(parts.ravel(), channel) / count for channel in flat.T], axis=1)
            colours: npt.NDArray[np.float64] = means[parts]
            return colours
        if isinstance(self.off, str):
            from scipy.ndimage import gaussian_filter

            sigma = self.blur or max(1.0, min(image.shape[:2]) / 10)
            blurred: npt.NDArray[np.float64] = gaussian_filter(floats, (sigma, sigma, 0))
            return blurred
        try:
            colour = np.broadcast_to(np.asarray(self.off, dtype=np.float64), image.shape[2:])
        except (TypeError, ValueError) as error:
            raise SettingError(
                "off is not a colour of this image",
                received=repr(self.off),
                expected=f'"mean", "blur", one number, or {image.shape[2]}, one a channel',
            ) from error
        return np.broadcast_to(colour, image.shape)


def _as_image(instance: Any) -> Pixels:
    if hasattr(instance, "detach"):
        instance = instance.detach().cpu()
    try:
        raw = np.asarray(instance)
    except (TypeError, ValueError) as error:
        raise FrameError("not an image", received=f"{type(instance).__name__}: {error}") from error
    if raw.ndim not in {2, 3} or 0 in raw.shape:
        raise FrameError(
            "not an image",
            received=f"{type(instance).__name__} of shape {raw.shape}",
            expected="an array (H, W) or (H, W, C)",
            hint="Pass one image, without the axis of a batch",
        )
    if raw.dtype.kind not in "biuf":
        raise FrameError(
            "an image of no numbers", received=f"dtype {raw.dtype}", expected="integers or floats"
        )
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise FrameError("the image has pixels that are not finite", expected="finite numbers")
    return raw


def _rounded(values: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> Pixels:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise SettingError(
                "the off colour is none of this image's number type",
                received=f"{values.min():g} to {values.max():g}",
                expected=f"{limits.min} to {limits.max}, as {dtype} holds",
            )
        return np.rint(values).astype(dtype)
    return values > 0.5 if dtype.kind == "b" else values.astype(dtype)


class _Segments(Features):
    """Segments of an image (H, W, C) with what each shows when off."""

    def __init__(self, image: Pixels, parts: Segments, off: Pixels, back: Any) -> None:
        self.labels = [f"segment {k}" for k in range(int(parts.max()) + 1)]
        self.nbytes = 2 * image.nbytes
        self._image, self._parts, self._off, self._back = image, parts, off, back

    def batch(self, on: Masks, rng: np.random.Generator) -> Pixels:
        """Return the images with their off segments painted over."""
        images: Pixels = np.where(on[:, self._parts][..., None], self._image, self._off)
        return images if self._back is None else np.ascontiguousarray(self._back(images))

    def unswitched(self) -> npt.NDArray[np.bool_]:
        """Return the segments that look the same when off."""
        changed = (self._image != self._off).any(axis=2).ravel()
        counts = np.bincount(self._parts.ravel(), changed, len(self.labels))
        return np.asarray(counts == 0)

    def shown(self) -> dict[str, Any]:
        """Return the picture as a PNG and the segments as runs of equal numbers, row by row."""
        from nid_plugins.domains.drawing import png

        flat = self._parts.ravel()
        starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
        lengths = np.diff(np.r_[starts, len(flat)])
        return {
            "kind": "image",
            "height": self._parts.shape[0],
            "width": self._parts.shape[1],
            "png": png(self._image),
            "runs": [[int(k), int(n)] for k, n in zip(flat[starts], lengths, strict=True)],
        }
