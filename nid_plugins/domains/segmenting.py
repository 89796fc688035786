"""How an image is cut into segments: by scikit-image's superpixels, by squares, or by the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nid_plugins.errors import FrameError, MissingExtraError, SettingError

Pixels = npt.NDArray[Any]
Segments = npt.NDArray[np.intp]

METHODS = ("slic", "quickshift", "grid")


def segment(image: Pixels, how: Any, count: int) -> Segments:
    """Return the segment of each pixel, shape (H, W), numbered from 0 in the order of their first pixels.

    Args:
        image: Shape (H, W, C), any number type.
        how: A method's name, an array (H, W) of integers, or a callable from the image to one.
        count: Number of segments wanted, roughly; ``"quickshift"`` makes as many as it finds.

    Raises:
        FrameError: The segments do not fit the image.
        MissingExtraError: A method of scikit-image's, which is not installed.
    """
    if isinstance(how, str):
        found = _grid(image.shape[:2], count) if how == "grid" else _superpixels(image, how, count)
    elif callable(how):
        try:
            found = how(image)
        except Exception as error:
            raise SettingError(f"the segmentation raised {type(error).__name__}: {error}") from error
    else:
        found = how
    array = np.asarray(found)
    if array.shape != image.shape[:2]:
        raise FrameError(
            "the segments do not fit the image",
            received=f"shape {array.shape} for an image of {image.shape[:2]}",
            expected="one integer a pixel",
        )
    if array.dtype.kind not in "biu":
        raise FrameError(
            "segments are not integers",
            received=f"dtype {array.dtype}",
            expected="the number of each pixel's segment",
        )
    _, first, inverse = np.unique(array, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbered: Segments = rank[inverse.reshape(array.shape)]
    return numbered


def _grid(shape: tuple[int, ...], count: int) -> Segments:
    """Return nearly square tiles, about as many as wanted."""
    height, width = shape
    rows = max(1, min(height, round((count * height / width) ** 0.5)))
    columns = max(1, min(width, round(count / rows)))
    tile_row = np.arange(height) * rows // height
    tile_column = np.arange(width) * columns // width
    tiles: Segments = tile_row[:, None] * columns + tile_column[None, :]
    return tiles


def _superpixels(image: Pixels, how: str, count: int) -> Any:
    try:
        from skimage import segmentation
    except ImportError as error:
        raise MissingExtraError(
            f"segments={how!r} needs scikit-image",
            hint="pip install 'nid-plugins[vision]', or pass segments=\"grid\" or an array of your own",
        ) from error
    scaled = _scaled(image)
    if how == "slic":
        # The colour distance is that of the pixels' own scale: with three channels the Lab space.
        return segmentation.slic(
            scaled,
            n_segments=count,
            compactness=10.0 if scaled.shape[2] == 3 else 0.1,
            channel_axis=-1,
            start_label=0,
        )
    three = scaled if scaled.shape[2] == 3 else np.repeat(scaled.mean(axis=2, keepdims=True), 3, axis=2)
    quickshift: Any = segmentation.quickshift
    return quickshift(three, kernel_size=3, max_dist=300, ratio=0.2, rng=0)


def _scaled(image: Pixels) -> npt.NDArray[np.float64]:
    """Return the image in [0, 1]: superpixels must not depend on the unit of its pixels."""
    floats = image.astype(np.float64)
    low, high = float(floats.min()), float(floats.max())
    scaled: npt.NDArray[np.float64] = (floats - low) / (high - low) if high > low else floats * 0.0
    return scaled
