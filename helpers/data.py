"""MNIST, photographs and class names: everything the course looks at, as tensors in [0, 1]."""

import contextlib
import gzip
import hashlib
import io
import warnings
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError

from helpers.checks import check_images

ASSETS = Path(__file__).parent / "assets"

# The raw files and their md5 as published with MNIST (LeCun, Cortes and Burges, 1998).
_MNIST = {
    "train": (
        ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
    ),
    "test": (
        ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
    ),
}

_MIN_SIDE = 32  # pixels: less is no photograph
_MAX_PIXELS = 100_000_000  # more would not fit a laptop's memory


def load_mnist(split):
    """Load one split of MNIST from the files shipped with the course.

    Args:
        split: ``"train"`` (60,000 images) or ``"test"`` (10,000).

    Returns:
        ``(images, labels)`` on torch's default device: float32 of shape (N, 1, 28, 28) in [0, 1],
        0 is the black background, and int64 of shape (N,) in 0..9.

    Raises:
        ValueError: an unknown split, or a file whose md5 is not the published one.
        FileNotFoundError: a file is missing.
    """
    if split not in _MNIST:
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    (image_file, image_md5), (label_file, label_md5) = _MNIST[split]
    pixels = _read_idx(image_file, image_md5, header=16).view(-1, 1, 28, 28)
    labels = _read_idx(label_file, label_md5, header=8)
    return pixels.float() / 255, labels.long()


def sample_mnist(n=5000, seed=0):
    """Draw ``n`` different images of the test set, the same ones for the same ``seed``.

    Returns ``(images, labels)`` as :func:`load_mnist`. Raises ValueError unless 1 <= n <= 10,000.
    """
    images, labels = load_mnist("test")
    if not 1 <= n <= len(images):
        raise ValueError(f"n must be from 1 to {len(images)}, got {n}")
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator, device="cpu")[:n].to(images.device)
    return images[chosen], labels[chosen]


def load_photo(path_or_file):
    """Load a photograph the way ImageNet classifiers expect it: resize 256, centre crop 224.

    Turned upright by its EXIF tag; grey, palette, 16-bit and CMYK pictures become RGB, transparent
    ones lie on white.

    Args:
        path_or_file: a path, an open binary file that can be rewound, the bytes of a file, or a
            dict of a "name" and a "content" in bytes, as upload buttons give it.

    Returns:
        float32 of shape (1, 3, 224, 224) in [0, 1], on torch's default device.

    Raises:
        OSError: there is no such file, or it may not be read.
        TypeError: something else than these.
        ValueError: empty, damaged, not a picture, 32 bits a channel, smaller than 32 pixels, or
            over 100 megapixels.
    """
    # Here and below torchvision is imported late: only photographs need the seconds it takes.
    from torchvision.transforms.v2 import functional as TF

    file, name = _open(path_or_file)
    with file:
        if not file.read(1):
            raise ValueError(f"{name} is empty: an image file is wanted")
        file.seek(0)
        with _pillow_errors(name):
            image = Image.open(file)
        _check_picture(image, name)
        with _pillow_errors(name):
            image = _to_rgb(ImageOps.exif_transpose(image))
    # Cut the far ends off a long strip, which the centre crop would drop anyway.
    image = TF.center_crop(image, [min(side, 4 * min(image.size)) for side in image.size[::-1]])
    image = TF.center_crop(TF.resize(image, 256), 224)
    pixels = TF.pil_to_tensor(image).unsqueeze(0).float() / 255
    return pixels.to(torch.get_default_device())


def center_digit(drawing):
    """Scale and centre a drawn digit as MNIST's makers did.

    The digit is scaled to fit a box of 20 x 20 pixels and placed into 28 x 28 so that its centre
    of mass is at pixel (14, 14), as that of MNIST's images is to a third of a pixel.

    Args:
        drawing: (H, W) in [0, 1], white on black.

    Returns:
        float32 of shape (1, 1, 28, 28) in [0, 1], on torch's default device.

    Raises:
        TypeError, ValueError: a drawing of another type, shape or range, or an empty one.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """
    if drawing.dim() != 2:
        raise ValueError(f"drawing must have shape (H, W), got {tuple(drawing.shape)}")
    check_images(drawing[None, None], "drawing")
    rows, columns = drawing.amax(1).nonzero(), drawing.amax(0).nonzero()
    if not len(rows):
        raise ValueError("drawing must not be empty")
    digit = drawing[None, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape[1:])
    digit = F.interpolate(digit[None], (height, width), mode="bilinear", antialias=True)
    digit = digit[0, 0].clamp(0, 1)
    image = drawing.new_zeros(1, 1, 28, 28)
    top = _centered(digit.sum(1), height)
    left = _centered(digit.sum(0), width)
    image[0, 0, top : top + height, left : left + width] = digit
    return image.float().to(torch.get_default_device())


def imagenet_labels():
    """The 1000 class names of ImageNet (ILSVRC 2012), in the order of a classifier's outputs."""
    from torchvision.models import VGG16_Weights

    return list(VGG16_Weights.IMAGENET1K_V1.meta["categories"])


def _centered(mass, side):
    """Where ``side`` pixels of these masses begin, so that their centre of mass is pixel 14."""
    center = (mass * torch.arange(side, device=mass.device)).sum() / mass.sum()
    return min(max(round(14 - center.item()), 0), 28 - side)


def _read_idx(name, md5, header):
    """The bytes of an idx file behind its header, as a flat uint8 tensor."""
    path = ASSETS / f"{name}.gz"
    restore = f"restore it with: git checkout -- helpers/assets/{path.name}"
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; {restore}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); {restore}") from error
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{path} is damaged (its content is not MNIST's); {restore}")
    values = torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header)
    return values.to(torch.get_default_device())


def _open(source):
    """A seekable binary file for whatever ``load_photo`` takes, and its name for messages."""
    name, kind = "the file", type(source).__name__
    if isinstance(source, dict) and {"name", "content"} <= source.keys():
        name, source = source["name"], source["content"]
    if isinstance(source, (str, Path)):
        return open(source, "rb"), str(source)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", name))
        source.seek(0)
        source = source.read()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), name
    raise TypeError(f"path_or_file must be a path, a binary file or an upload, got {kind}")


@contextlib.contextmanager
def _pillow_errors(name):
    """Pillow's many errors as ValueErrors that name the file."""
    try:
        with warnings.catch_warnings():
            # Our own limit on the size is lower than the one at which Pillow refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except Image.DecompressionBombError:
        raise ValueError(f"{name} is too large: at most {_MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{name} is not a picture that Pillow can read (JPEG, PNG, WebP, GIF, TIFF, ...)"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise ValueError(f"{name} is damaged: {error}") from error


def _check_picture(image, name):
    width, height = image.size
    if min(width, height) < _MIN_SIDE:
        raise ValueError(f"{name} is {width} x {height} pixels: each must be at least {_MIN_SIDE}")
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{name} is {width} x {height} pixels: at most {_MAX_PIXELS:,} in all")
    if image.mode in ("I", "F"):
        raise ValueError(f"{name} has 32 bits a channel: 8 or 16 are wanted")


def _to_rgb(image):
    if image.mode.startswith("I;16"):  # Pillow would clip instead of scaling
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
