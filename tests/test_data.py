import gzip
import io
import shutil
import struct
import zlib

import pytest
import torch
from PIL import Image
from torchvision.models import VGG16_Weights

from helpers import data

# MNIST.


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_mnist_is_whole_and_in_range(split, count):
    images, labels = data.load_mnist(split)
    assert images.shape == (count, 1, 28, 28)
    assert labels.shape == (count,)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert (images.min(), images.max()) == (0, 1)
    assert images[..., :2, :].mean() < 0.01  # the background is black
    assert labels.unique().tolist() == list(range(10))


@pytest.mark.parametrize("split", ["Train", "validation", "", None, 0])
def test_an_unknown_split_is_named(split):
    with pytest.raises(ValueError, match=rf'split must be "train" or "test", got {split!r}'):
        data.load_mnist(split)


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A copy of the test set's files that a test may damage."""
    for file in data.ASSETS.glob("t10k-*"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(data, "ASSETS", tmp_path)
    return tmp_path


DAMAGE = {
    "other content": lambda raw: gzip.compress(gzip.decompress(raw)[:-1] + b"\7", 1),
    "truncated": lambda raw: raw[:-100],
    "flipped bit": lambda raw: raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:],
    "not compressed": gzip.decompress,
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_a_damaged_mnist_file_is_named_with_its_remedy(assets, name, damage):
    raw = (assets / name).read_bytes()
    (assets / name).write_bytes(damage(raw))
    with pytest.raises(ValueError, match=rf"{name} is damaged.*git checkout -- .*assets/{name}"):
        data.load_mnist("test")


def test_a_missing_mnist_file_is_named_with_its_remedy(assets):
    name = "t10k-labels-idx1-ubyte.gz"
    (assets / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing.*git checkout -- .*{name}"):
        data.load_mnist("test")


def test_a_sample_is_the_same_for_the_same_seed_and_has_no_image_twice(mnist):
    images, labels = data.sample_mnist(5000)
    assert len(images) == len(labels) == 5000
    again, other = data.sample_mnist(5000)[0], data.sample_mnist(5000, seed=1)[0]
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    assert len(images.flatten(1).unique(dim=0)) == 5000
    everything, all_labels = data.sample_mnist(10_000)
    assert torch.equal(all_labels.bincount(), mnist[1].bincount())
    torch.testing.assert_close(everything.double().sum(), mnist[0].double().sum())


@pytest.mark.parametrize("n", [0, -1, 10_001])
def test_a_sample_of_an_impossible_size_is_named(n):
    with pytest.raises(ValueError, match=rf"n must be from 1 to 10000, got {n}"):
        data.sample_mnist(n)


# Photographs.

WIDTH, HEIGHT = 320, 288


def picture(width=WIDTH, height=HEIGHT):
    """A smooth picture without symmetry, so that turning it shows."""
    across, down = Image.linear_gradient("L").rotate(90), Image.linear_gradient("L")
    bands = (across, down, Image.radial_gradient("L"))
    return Image.merge("RGB", [band.resize((width, height)) for band in bands])


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def upload(content):
    """What the upload button gives for a file of these bytes."""
    return {"name": "uploaded", "content": memoryview(content)}


def grey_levels(path_or_bytes):
    """The photo in units of 1/255."""
    uploaded = isinstance(path_or_bytes, bytes)
    photo = data.load_photo(upload(path_or_bytes) if uploaded else path_or_bytes)
    assert photo.shape == (1, 3, 224, 224)
    assert photo.dtype == torch.float32
    assert photo.min() >= 0
    assert photo.max() <= 1
    return photo * 255


def assert_same_picture(picture, expected, tolerance):
    difference = grey_levels(picture) - grey_levels(expected)
    assert difference.abs().max() <= tolerance


def torchvisions(image):
    """What torchvision's own preprocessing makes of a picture, its normalisation undone."""
    transforms = VGG16_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transforms.mean, transforms.std))
    return (transforms(image) * std + mean) * 255


def test_the_photographs_are_preprocessed_as_torchvision_does(photos):
    for path in photos.values():
        expected = torchvisions(Image.open(path).convert("RGB"))
        torch.testing.assert_close(grey_levels(path)[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "size", [(500, 333), (333, 500), (256, 256), (64, 65), (2000, 40)], ids=str
)
def test_any_size_is_preprocessed_as_torchvision_does(size):
    image = picture(*size)
    difference = grey_levels(encoded(image, "PNG"))[0] - torchvisions(image)
    assert difference.abs().max() <= 1.01


def test_a_long_strip_shows_its_middle():
    strip = Image.new("RGB", (10_000, 40), "red")
    strip.paste("blue", (4900, 0, 5100, 40))
    assert (grey_levels(encoded(strip, "PNG"))[0, :, 112, 112]).tolist() == [0, 0, 255]


# How a camera held that way stores the upright picture.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize(("orientation", "turn"), TURNS.items())
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_upright_by_its_exif_tag(orientation, turn, format):
    stored = picture() if turn is None else picture().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if format == "TIFF" else {"quality": 95}
    turned = encoded(stored, format, exif=exif, **options)
    assert_same_picture(turned, encoded(picture(), "PNG"), tolerance=8)


def sixteen_bit(mode="I;16"):
    """The grey picture with 16 bits a pixel."""
    order = ">" if mode.endswith("B") else "<"
    values = picture().convert("L").tobytes()
    raw = struct.pack(f"{order}{len(values)}H", *(value * 257 for value in values))
    return Image.frombytes(mode, (WIDTH, HEIGHT), raw)


GREY, COLOUR = picture().convert("L"), picture()
KINDS = {
    "grey PNG": (GREY, "PNG", GREY),
    "grey JPEG": (GREY, "JPEG", GREY),
    "16-bit grey PNG": (sixteen_bit(), "PNG", GREY),
    "16-bit grey TIFF": (sixteen_bit(), "TIFF", GREY),
    "big-endian 16-bit grey TIFF": (sixteen_bit("I;16B"), "TIFF", GREY),
    "opaque grey with alpha": (GREY.convert("LA"), "PNG", GREY),
    "1-bit PNG": (GREY.convert("1"), "PNG", GREY.convert("1").convert("L")),
    "palette PNG": (COLOUR.quantize(), "PNG", COLOUR.quantize().convert("RGB")),
    "GIF": (COLOUR.quantize(), "GIF", COLOUR.quantize().convert("RGB")),
    "opaque RGBA": (COLOUR.convert("RGBA"), "PNG", COLOUR),
    "WebP": (COLOUR, "WEBP", COLOUR),
    "BMP": (COLOUR, "BMP", COLOUR),
    "CMYK JPEG": (COLOUR.convert("CMYK"), "JPEG", COLOUR),
    "CMYK TIFF": (COLOUR.convert("CMYK"), "TIFF", COLOUR.convert("CMYK").convert("RGB")),
}


@pytest.mark.parametrize(("image", "format", "expected"), KINDS.values(), ids=KINDS)
def test_every_kind_of_picture_becomes_rgb(image, format, expected):
    tolerance = 12 if format in ("JPEG", "WEBP") else 0
    assert_same_picture(encoded(image, format), encoded(expected, "PNG"), tolerance)


def half_transparent(mode):
    """The left half grey, the right half transparent black."""
    image = Image.new(mode, (WIDTH, HEIGHT), (100,) * (len(mode) - 1) + (255,))
    image.paste((0,) * len(mode), (WIDTH // 2, 0, WIDTH, HEIGHT))
    return image


def transparent_palette():
    image = Image.new("P", (WIDTH, HEIGHT), 1)
    image.putpalette([0, 0, 0, 100, 100, 100])
    image.paste(0, (WIDTH // 2, 0, WIDTH, HEIGHT))
    return image


@pytest.mark.parametrize(
    "file",
    [
        encoded(half_transparent("LA"), "PNG"),
        encoded(half_transparent("RGBA"), "PNG"),
        encoded(half_transparent("RGBA"), "WEBP", lossless=True),
        encoded(transparent_palette(), "PNG", transparency=0),
        encoded(transparent_palette(), "GIF", transparency=0),
    ],
    ids=["LA", "RGBA", "WebP", "palette", "GIF"],
)
def test_transparent_pictures_lie_on_white(file):
    photo = grey_levels(file)[0]
    assert (photo[..., :100] == 100).all()
    assert (photo[..., 124:] == 255).all()


JPEG = encoded(picture(), "JPEG")
SOURCES = {
    "path": lambda path: path,
    "text": str,
    "upload": lambda path: {"name": path.name, "content": path.read_bytes()},
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_photo(tmp_path, source):
    path = tmp_path / "a photo.jpg"
    path.write_bytes(JPEG)
    assert torch.equal(data.load_photo(source(path)), data.load_photo(upload(JPEG)))


def png_header(width, height):
    """A PNG that promises width x height pixels and holds none."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def cut(format):
    file = encoded(picture(), format)
    return file[: len(file) // 2]


BROKEN = {
    "empty": (b"", "is empty: an image file is wanted"),
    "text": (b"This is no picture. " * 50, "is not a picture"),
    "half a JPEG": (cut("JPEG"), "is damaged"),
    "half a PNG": (cut("PNG"), "is damaged"),
    "half a GIF": (cut("GIF"), "is damaged"),
    "half a WebP": (cut("WEBP"), "is damaged"),
    "half a TIFF": (cut("TIFF"), "is (damaged|not a picture)"),
    "a PPM with a bad header": (b"P6 64 6x 255\n" + bytes(3 * 64 * 64), "is damaged"),
    "one pixel": (encoded(picture(1, 1), "PNG"), r"is 1 x 1 pixels: .* at least 32"),
    "too narrow": (encoded(picture(500, 31), "PNG"), r"is 500 x 31 pixels: .* at least 32"),
    "no pixels": (png_header(500, 500), "is damaged"),
    "bomb": (
        png_header(60_000, 60_000),
        r"is too large: .*3600000000 pixels.* limit of \d+ pixels",
    ),
    "lesser bomb": (
        png_header(12_000, 12_000),
        r"is too large: .*144000000 pixels.* limit of \d+ pixels",
    ),
}


@pytest.mark.parametrize(("content", "match"), BROKEN.values(), ids=BROKEN)
@pytest.mark.filterwarnings("error")
def test_a_broken_picture_is_named_with_what_is_wrong(tmp_path, content, match):
    path = tmp_path / "mine.png"
    path.write_bytes(content)
    for source in (path, {"name": "mine.png", "content": memoryview(content)}):
        with pytest.raises(ValueError, match=rf"mine\.png {match}"):
            data.load_photo(source)


def test_a_missing_photo_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        data.load_photo(tmp_path / "nowhere.jpg")
    with pytest.raises((OSError, ValueError), match=tmp_path.name):
        data.load_photo(tmp_path)


@pytest.mark.parametrize(
    "source", [None, 3, ["a.jpg"], torch.zeros(3, 4, 4), b"bytes", {}, {"name": "a.jpg"}], ids=type
)
def test_something_that_is_no_file_is_named(source):
    with pytest.raises(TypeError, match=rf"path_or_file must be .* {type(source).__name__}"):
        data.load_photo(source)


def test_the_thousand_class_names_come_in_the_models_order(photos):
    names = data.imagenet_labels()
    assert len(names) == 1000
    assert (names[0], names[388], names[999]) == ("tench", "giant panda", "toilet tissue")
    lowercase = [name.lower() for name in names]
    assert len(photos) >= 6
    assert {name.replace("_", " ") for name in photos} <= set(lowercase)


def test_only_three_channels_make_a_photograph():
    assert data.is_photo(torch.rand(3, 28, 28))
    assert data.is_photo(torch.rand(1, 3, 16, 16))
    assert not data.is_photo(torch.rand(3, 1, 500, 500))
