import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vergence.data.image.decode import DecodeError, crop_long_side, decode
from vergence.data.image.jpeg import decode_small, is_small_and_plain


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(width, height, seed=0):
    """A smooth picture, as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def written_png(width, height, depth, rows):
    """A PNG file of colour rows, whatever its header promises."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),  # nothing there: the white page
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),  # a fifth of black on white
        ("LA", (0, 51), (204, 204, 204)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 32896, (128, 128, 128)),  # 128 * 257
    ],
)
def test_every_mode_of_png_becomes_rgb(mode, colour, expected):
    pixels = decode(encoded(Image.new(mode, (3, 2), colour)))
    assert pixels.shape == (2, 3, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == np.array(expected)).all()


def test_palettes_with_and_without_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert decode(encoded(image)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode(encoded(image, transparency=0)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_sixteen_bit_colour_keeps_its_range():
    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 0, 32896, 0, 65535, 257) for _ in range(2))
    assert decode(written_png(2, 2, 16, rows))[0].tolist() == [[255, 0, 128], [0, 255, 1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 255.0], [0, 255]),
        ([0.0, 65535.0], [0, 255]),
        ([-1.0, 1.0], [0, 255]),
        ([0.0, 1e6], [0, 255]),
    ],
)
def test_float_grey_is_brought_to_bytes(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert decode(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


def test_float_grey_that_is_not_finite_is_refused():
    with pytest.raises(DecodeError, match="not finite"):
        decode(encoded(Image.fromarray(np.array([[np.nan, 1]], dtype=np.float32)), "TIFF"))


def test_cmyk_prints_the_colour_that_it_shows():
    raw = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = decode(raw)[8, 8]
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_cameras_rotation_is_applied(turn):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # a mark in the upper left corner
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = decode(encoded(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", quality=95, exif=exif))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    raw = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, loop=0)
    assert decode(raw).min() >= 250


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_photos_shrink_by_whole_factors_and_keep_their_content(kind):
    image = photo(330, 250)
    small = decode(encoded(image, kind), size=60)
    assert small.shape[0] == pytest.approx(250 / 4, abs=1)
    assert min(small.shape[:2]) >= 60
    expected = np.asarray(image.resize(small.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(small - expected).mean() < 6


def test_small_photos_are_left_alone_and_long_ones_cut_to_their_middle():
    assert decode(encoded(photo(50, 40)), size=64).shape == (40, 50, 3)
    long = np.zeros((10, 100, 3), np.uint8)
    long[:, 35:65] = 200
    assert crop_long_side(long).shape == (10, 30, 3)
    assert crop_long_side(long).min() == 200
    assert crop_long_side(long[:, :25]).shape == (10, 25, 3)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_the_shortcut_for_small_jpeg_files_agrees_with_pillow_to_the_bit(mode, options):
    raw = encoded(photo(33, 47).convert(mode), "JPEG", **options)
    fast = decode_small(raw)
    if fast is None:
        pytest.skip("this torchvision has no decoder")
    assert (fast == np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))).all()


def test_the_shortcut_leaves_what_is_not_small_and_plain_to_pillow():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert is_small_and_plain(encoded(photo(8, 8), "JPEG"))
    for raw in (
        encoded(photo(8, 8), "JPEG", exif=exif),
        encoded(photo(8, 8).convert("CMYK"), "JPEG"),
        encoded(photo(600, 600), "JPEG"),
        encoded(photo(8, 8), "PNG"),
        b"",
        b"\xff\xd8",
        b"\xff\xd8" + b"\xff\xdb\x00\x00" * 8,
    ):
        assert not is_small_and_plain(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"hello, world", "not a picture in a known format"),
        (encoded(photo(64, 64), "JPEG")[:-200], "truncated"),
        (encoded(photo(600, 600), "JPEG")[:-2000], "truncated"),
        (encoded(photo(64, 64))[:-200], "truncated|broken"),
        (written_png(60_000, 60_000, 8, bytes(9999)), "decompression bomb"),
    ],
)
def test_what_is_broken_is_refused_with_its_reason(raw, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(raw, size=32)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_never_raises_anything_else():
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        whole = np.frombuffer(encoded(photo(24, 24), kind), np.uint8)
        for _ in range(40):
            broken = whole.copy()
            broken[random.integers(0, len(broken), 8)] = random.integers(0, 256, 8)
            result = decoded_or_reason(broken.tobytes())
            assert result if isinstance(result, str) else result.ndim == 3


def decoded_or_reason(raw):
    try:
        return decode(raw, size=16)
    except DecodeError as error:
        return str(error)


def test_decoded_pictures_pass_through():
    grey = np.array([[0, 100]], np.uint8)
    assert decode(grey).tolist() == [[[0, 0, 0], [100, 100, 100]]]
    assert decode(Image.fromarray(grey)).tolist() == [[[0, 0, 0], [100, 100, 100]]]
