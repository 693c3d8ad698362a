import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vergence.data.image.decode import DecodeError, crop_long_side, decode, shape
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


def test_a_palette_with_half_transparent_colours_is_laid_on_white():
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 0, 0, 0, 0, 255])
    for x in range(3):
        image.putpixel((x, 0), x)
    raw = encoded(image, transparency=bytes([255, 51, 0]))
    assert decode(raw).tolist() == [[[255, 0, 0], [204, 204, 204], [255, 255, 255]]]


def test_sixteen_bit_colour_keeps_its_range():
    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 0, 32896, 0, 65535, 257) for _ in range(2))
    assert decode(written_png(2, 2, 16, rows))[0].tolist() == [[255, 0, 128], [0, 255, 1]]


def grey(values, dtype):
    return Image.fromarray(np.array([values], dtype=dtype))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([255], [1]), ([256], [1]), ([257, 0], [1, 0]), ([0, 4095], [0, 16]), ([65535, 32896], [255, 128])],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_as_bright_as_its_mode_says_whatever_its_maximum(values, expected, kind):
    assert decode(encoded(grey(values, np.uint16), kind))[0, :, 0].tolist() == expected


def test_sixteen_bit_grey_of_a_pgm_file_and_one_with_the_most_significant_byte_first():
    assert decode(b"P5 2 1 65535\n" + struct.pack(">2H", 255, 65535))[0, :, 0].tolist() == [1, 255]
    assert decode(b"P5 2 1 4095\n" + struct.pack(">2H", 0, 4095))[0, :, 0].tolist() == [0, 255]
    big = struct.pack(">2sHI", b"MM", 42, 8) + struct.pack(">H", 8)
    for tag, kind, value in (
        (256, 3, 2 << 16), (257, 3, 1 << 16), (258, 3, 16 << 16), (259, 3, 1 << 16),
        (262, 3, 1 << 16), (273, 4, 110), (278, 3, 1 << 16), (279, 4, 4),
    ):  # fmt: skip
        big += struct.pack(">HHII", tag, kind, 1, value)
    big += struct.pack(">I", 0)
    assert len(big) == 110
    assert decode(big + struct.pack(">2H", 257, 65535))[0, :, 0].tolist() == [1, 255]


def test_a_transparent_value_of_sixteen_bit_grey_is_laid_on_white():
    raw = encoded(grey([257, 514], np.uint16), transparency=257)
    assert decode(raw)[0, :, 0].tolist() == [255, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 0.1], [0, 26]), ([0.004, 0.004], [1, 1])],
)
def test_float_grey_is_read_in_0_to_1(values, expected):
    assert decode(encoded(grey(values, np.float32), "TIFF"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype", "reason"),
    [
        ([0, 255], np.float32, r"float grey is read in \[0, 1\], but reaches from 0 to 255"),
        ([-1, 1], np.float32, r"float grey is read in \[0, 1\], but reaches from -1 to 1"),
        ([-1000, 3000], np.int32, r"whole numbers is read in \[0, 65535\], but reaches from -1000 to 3000"),
        ([0, 70000], np.int32, r"whole numbers is read in \[0, 65535\], but reaches from 0 to 70000"),
    ],
)
def test_grey_out_of_its_range_is_refused_and_never_stretched(values, dtype, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(encoded(grey(values, dtype), "TIFF"))


def test_float_grey_that_is_not_finite_is_refused():
    with pytest.raises(DecodeError, match="not finite"):
        decode(encoded(Image.fromarray(np.array([[np.nan, 1]], dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 51), (204, 204, 204)),
    ],
)
def test_cmyk_prints_the_colour_that_it_shows(kind, ink, colour):
    raw = encoded(Image.new("CMYK", (16, 16), ink), kind, **({"quality": 95} if kind == "JPEG" else {}))
    assert np.abs(decode(raw)[8, 8].astype(int) - colour).max() <= 3


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


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_keeps_its_colours_and_its_page(kind):
    first = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    first.paste((0, 0, 255, 255), (0, 0, 4, 8))
    rest = [Image.new("RGBA", (8, 8), (0, 0, 0, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    raw = encoded(first, kind, save_all=True, append_images=rest, duration=100, loop=0, **options)
    assert decode(raw)[4, [1, 6]].tolist() == [[0, 0, 255], [255, 255, 255]]


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


HEIC = b"\0\0\0\x18ftypheic" + bytes(200)


def test_heic_without_a_decoder_is_named(monkeypatch):
    monkeypatch.setattr("vergence.data.image.decode._heic_opener", lambda: False)
    for brand in (b"heic", b"mif1"):
        with pytest.raises(DecodeError, match="HEIC, which needs a decoder: pip install pi-heif, or pillow"):
            decode(HEIC.replace(b"heic", brand))
    assert shape(HEIC) == (0, 0)


def test_heic_is_read_where_a_decoder_is_installed():
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 30))).save(file, quality=90)
    pixels = decode(file.getvalue())
    assert pixels.shape == (48, 64, 3) and shape(file.getvalue()) == (48, 64)
    assert np.abs(pixels.reshape(-1, 3).mean(0) - (200, 30, 30)).max() < 6
    other = file.getvalue().replace(b"ftypheic", b"ftypmif1", 1)  # as other writers begin
    assert (decode(other) == pixels).all()
    with pytest.raises(DecodeError):
        decode(HEIC)


def decoded_or_reason(raw):
    try:
        return decode(raw, size=16)
    except DecodeError as error:
        return str(error)


def test_decoded_pictures_pass_through():
    grey = np.array([[0, 100]], np.uint8)
    assert decode(grey).tolist() == [[[0, 0, 0], [100, 100, 100]]]
    assert decode(Image.fromarray(grey)).tolist() == [[[0, 0, 0], [100, 100, 100]]]
