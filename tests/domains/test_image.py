"""Images: what an off segment shows, in every form of image, and the pair of segments a model needs together."""

from __future__ import annotations

import base64
import sys
import zlib

import numpy as np
import pytest

import nid_plugins as nid
from nid_plugins.domains import Image
from nid_plugins.domains.segmenting import segment

RNG = np.random.default_rng(0)
QUARTERS = np.kron(np.arange(4).reshape(2, 2), np.ones((4, 4), int))


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def one(features, *on):
    return features.batch(np.isin(np.arange(len(features.labels)), on)[None], RNG)[0]


@pytest.mark.parametrize("kind", ["bytes", "floats", "grey", "channels first", "truth"])
def test_on_segments_are_the_image_and_off_ones_their_mean(image, kind):
    raw, options = image, {}
    if kind == "floats":
        raw = (image / 255).astype(np.float32)
    if kind == "grey":
        raw = image[:, :, 0]
    if kind == "channels first":
        raw, options = image.transpose(2, 0, 1), {"channels": "first"}
    if kind == "truth":
        raw = image > 100
    features = Image(segments=QUARTERS, **options).features(raw)
    whole, half = one(features, 0, 1, 2, 3), one(features, 1, 2)
    assert whole.dtype == half.dtype == raw.dtype
    np.testing.assert_array_equal(whole, raw)
    half, raw = (x.transpose(1, 2, 0) if kind == "channels first" else x for x in (half, raw))
    np.testing.assert_array_equal(half[:4, 4:], raw[:4, 4:])
    mean = raw[:4, :4].astype(float).mean(axis=(0, 1))
    if kind == "truth":
        mean = mean > 0.5
    np.testing.assert_allclose(
        half[0, 0], np.rint(mean) if kind in {"bytes", "grey", "channels first"} else mean, rtol=1e-5
    )


def test_blur_and_colours(image):
    white = one(Image(segments=QUARTERS, off=(255, 0, 7)).features(image))
    assert white.reshape(-1, 3).tolist() == [[255, 0, 7]] * 64
    blurred = one(Image(segments=QUARTERS, off="blur", blur=2.0).features(image)).astype(float)
    assert blurred.std() < 0.5 * image.std()
    assert abs(blurred.mean() - image.mean()) < 8
    assert one(Image(segments=QUARTERS, off=0.0).features(image[:, :, 1])).tolist() == [[0] * 8] * 8


def test_segments_of_one_colour_cannot_be_switched_off_by_their_mean():
    flat = np.full((8, 8), 7.0)
    flat[:4, :4] = np.arange(16).reshape(4, 4)
    assert Image(segments=QUARTERS).features(flat).unswitched().tolist() == [False, True, True, True]
    assert not Image(segments=QUARTERS, off=0).features(flat).unswitched().any()


def test_a_grid_has_about_as_many_tiles_as_wanted():
    for shape, count in (((8, 8, 1), 16), ((30, 60, 1), 50), ((3, 90, 1), 20), ((2, 2, 1), 100)):
        tiles = segment(np.zeros(shape), "grid", count)
        assert tiles.max() + 1 == len(np.unique(tiles))
        assert 0.5 * min(count, shape[0] * shape[1]) <= tiles.max() + 1 <= 1.3 * count


def test_numbers_of_segments_are_made_contiguous():
    given = np.where(QUARTERS == 0, 90, np.where(QUARTERS == 1, -4, 6))
    assert np.unique(segment(np.zeros((8, 8, 1)), given, 3)).tolist() == [0, 1, 2]
    assert segment(np.zeros((8, 8, 1)), lambda image: given, 3)[0, 0] == 0


@pytest.mark.parametrize("method", ["slic", "quickshift"])
def test_superpixels_follow_the_edges(method):
    pytest.importorskip("skimage", reason="superpixels are scikit-image's")
    image = np.zeros((24, 24, 3), np.uint8)
    image[:, 12:] = (250, 20, 20)
    found = segment(image, method, 4)
    assert not set(np.unique(found[:, :12])) & set(np.unique(found[:, 12:]))


def test_without_scikit_image_the_extra_is_named(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(nid.MissingExtraError, match=r"nid-plugins\[vision\]"):
        Image().features(image)
    assert len(Image(segments="grid", count=4).features(image).labels) == 4


@pytest.mark.parametrize("detector", ["least_squares", "nid", "gradient_nid", "archdetect"])
def test_the_two_parts_are_found(image, detector):
    image[:4, :4], image[4:, 4:] = 240, 10

    def model(images):
        parts = (images[:, :4, :4].mean((1, 2, 3)) > 200) & (images[:, 4:, 4:].mean((1, 2, 3)) < 50)
        return 0.1 + 0.8 * parts

    found = nid.explain(
        model,
        image,
        domain="image",
        segments=QUARTERS,
        off=128,
        output="probability",
        detector=detector,
        perturbations=300,
    )
    assert [one.positions for one in found] == [(0, 3)]
    assert found.interactions[0].labels == ("segment 0", "segment 3")
    assert found.r2 > 0.999
    assert found.r2_linear < 0.9


def test_the_picture_is_kept_as_a_png(image):
    shown = Image(segments=QUARTERS).features(image).shown()
    data = base64.b64decode(shown["png"])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    start = data.index(b"IDAT") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(data[start : start + size]), np.uint8).reshape(8, 25)
    np.testing.assert_array_equal(rows[:, 1:].reshape(8, 8, 3), image)
    assert sum(n for _, n in shown["runs"]) == 64


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros(5), "not an image"),
        (np.zeros((2, 4, 4, 3)), "without the axis of a batch"),
        (np.zeros((0, 4)), "not an image"),
        (np.array([["a", "b"]]), "no numbers"),
        (np.array([[np.nan, 1.0]]), "not finite"),
        ("picture.png", "not an image"),
    ],
)
def test_what_is_no_image(raw, message):
    with pytest.raises(nid.FrameError, match=message):
        Image(segments="grid").features(raw)


def test_segments_must_fit(image):
    with pytest.raises(nid.FrameError, match="do not fit"):
        Image(segments=QUARTERS[:4]).features(image)
    with pytest.raises(nid.FrameError, match="not integers"):
        Image(segments=QUARTERS * 1.0).features(image)
    with pytest.raises(nid.FrameError, match="too few features"):
        nid.explain(lambda x: np.zeros(len(x)), image, domain="image", segments=QUARTERS * 0, output="logit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": "slick"}, "unknown segments"),
        ({"count": 1}, "count out of range"),
        ({"off": "black"}, "unknown off"),
        ({"off": (1, 2)}, "not a colour"),
        ({"off": 300}, "none of this image's number type"),
        ({"off": "blur", "blur": 0}, "blur out of range"),
        ({"channels": "middle"}, "unknown channels"),
        ({"segments": lambda image: 1 / 0}, "the segmentation raised ZeroDivisionError"),
    ],
)
def test_options_out_of_range(image, options, message):
    with pytest.raises(nid.SettingError, match=message):
        Image(**{"segments": "grid", **options}).features(image)
