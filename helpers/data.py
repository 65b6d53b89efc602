"""MNIST, photographs and class names: everything the course looks at, as tensors in [0, 1]."""

import gzip
import hashlib
import io
import warnings
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError

ASSETS = Path(__file__).parent / "assets"
DIGITS = [str(digit) for digit in range(10)]  # the class names of MNIST

# The md5 of MNIST's raw files, as published with them (LeCun, Cortes and Burges, 1998).
_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def load_mnist(split):
    """Load one ``split`` of MNIST: ``"train"`` (60,000 images) or ``"test"`` (10,000).

    Returns ``(images, labels)`` on torch's default device: float32 of shape (N, 1, 28, 28) in
    [0, 1], 0 is the black background, and int64 of shape (N,) in 0..9. Raises ValueError for
    another split or a file whose md5 is not the published one, FileNotFoundError for a missing one.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    prefix = "train" if split == "train" else "t10k"
    pixels = _read_idx(f"{prefix}-images-idx3-ubyte", header=16).view(-1, 1, 28, 28)
    labels = _read_idx(f"{prefix}-labels-idx1-ubyte", header=8)
    return pixels.float() / 255, labels.long()


def sample_mnist(n, seed=0):
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

    ``path_or_file`` is a path, or an upload: a dict of a "name" and the "content" in bytes. The
    picture is turned upright by its EXIF tag; grey, palette, 16-bit and CMYK ones become RGB,
    transparent ones lie on white. Returns float32 of shape (1, 3, 224, 224) in [0, 1], on torch's
    default device. Raises OSError for a file that cannot be opened, TypeError for what is no file,
    ValueError if it is empty, damaged, no picture, below 32 pixels a side, or above 89 million.
    """
    # Here and below torchvision is imported late: only photographs need the seconds it takes.
    from torchvision.transforms.v2 import functional as TF

    match path_or_file:
        case str() | Path():
            name, content = path_or_file, Path(path_or_file).read_bytes()
        case {"name": name, "content": content}:
            pass
        case other:
            raise TypeError(f"path_or_file must be a path or upload, got {type(other).__name__}")
    if not len(content):
        raise ValueError(f"{name} is empty: an image file is wanted")
    image = _decode(content, name)
    width, height = image.size
    if min(width, height) < 32:  # pixels: less is no photograph
        raise ValueError(f"{name} is {width} x {height} pixels: each must be at least 32")
    # Cut the far ends off a long strip, which the centre crop would drop anyway.
    image = TF.center_crop(image, [min(side, 4 * min(image.size)) for side in (height, width)])
    image = TF.center_crop(TF.resize(image, 256), 224)
    return (TF.pil_to_tensor(image)[None].float() / 255).to(torch.get_default_device())


def is_photo(images):
    """Whether images (N, C, H, W), or one image (C, H, W), are RGB as photographs are."""
    return images.shape[-3] == 3


def imagenet_labels():
    """The 1000 class names of ImageNet (ILSVRC 2012), in the order of a classifier's outputs."""
    from torchvision.models import VGG16_Weights

    return list(VGG16_Weights.IMAGENET1K_V1.meta["categories"])


def _read_idx(name, header):
    """The bytes of an idx file behind its header, as a flat uint8 tensor."""
    path = ASSETS / f"{name}.gz"
    restore = f"restore it with: git checkout -- helpers/assets/{path.name}"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; {restore}")
    try:
        raw = gzip.decompress(path.read_bytes())
        if hashlib.md5(raw, usedforsecurity=False).hexdigest() != _MD5[name]:
            raise ValueError("its content is not MNIST's")
    except Exception as error:  # gzip, zlib and the disk raise errors of many kinds
        raise ValueError(f"{path} is damaged ({error}); {restore}") from error
    values = torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=header)
    return values.to(torch.get_default_device())


def _decode(content, name):
    """A picture file's picture, upright in RGB; each error is one that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        if image.mode in ("I", "F"):
            raise ValueError("it has 32 bits a channel, 8 or 16 are wanted")
        if image.mode.startswith("I;16"):  # Pillow would clip instead of scaling
            image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return image.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        sizes = str(error).partition(",")[0]  # what follows speaks of an attack
        raise ValueError(f"{name} is too large: {sizes}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture such as JPEG, PNG, WebP, GIF or TIFF") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise ValueError(f"{name} is damaged, or of a kind too rare: {error}") from error
