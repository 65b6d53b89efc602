"""What an argument must be. Every check names the argument, what came and what is wanted."""

import torch
from torch import nn


def check_batch(model, images, labels, name="labels", *, empty=False):
    """Raise unless ``images`` suit ``model`` and ``labels`` hold one integer >= 0 for each."""
    check_inputs(model, images, empty=empty)
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"{name} must be an int64 tensor of class numbers, got {_kind(labels)}")
    _check_fits(labels, images, images.shape[:1], name)
    if labels.numel() and labels.min() < 0:
        raise ValueError(f"{name} must not be negative, got {labels.min()}")


def check_inputs(model, images, *, empty=False):
    """Raise unless ``images`` are images of the device and the dtype of the network ``model``."""
    check_images(images, empty=empty)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a network such as MLP(), got {model!r}")
    weight = next(model.parameters(), images)
    if weight.device != images.device:
        where = f"the model is on {weight.device} and the images are on {images.device}"
        raise ValueError(f"{where}: move one of them with .to(device)")
    if weight.dtype != images.dtype:
        raise TypeError(f"images must be {weight.dtype} like the model, got {images.dtype}")


def check_images(images, name="images", shape="(N, C, H, W)", *, empty=False):
    """Raise unless ``images`` is float of this shape in [0, 1], and holds some or may be empty."""
    _check_float(images, f"{name} must be a floating-point tensor in [0, 1]")
    if images.dim() != len(shape.split(",")):
        raise ValueError(f"{name} must have shape {shape}, got {tuple(images.shape)}")
    if images.numel():
        low, high = (bound.item() for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise ValueError(f"{name} must lie in [0, 1], got values from {low:g} to {high:g}")
    elif not empty:
        raise ValueError(f"{name} must hold at least one image, got empty {tuple(images.shape)}")


def check_pictures(images, name="images", shape="(N, C, H, W)"):
    """Raise unless ``images`` passes :func:`check_images` and is grey (C = 1) or RGB (C = 3)."""
    check_images(images, name, shape)
    if images.shape[-3] not in (1, 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got shape {tuple(images.shape)}")


def check_logits(logits, images, labels=None, name="labels"):
    """Raise unless a model gives float (N, K), K > 1, K > ``labels``, and a gradient if enabled."""
    _check_float(logits, "the model must give a floating-point tensor")
    if logits.dim() != 2 or len(logits) != len(images) or logits.shape[1] < 2:
        wanted = f"(N, K) with N = {len(images)} images and K > 1 classes"
        raise ValueError(f"the model must give logits {wanted}, got {tuple(logits.shape)}")
    if not logits.detach().amax(1).isfinite().all():  # NaN, or a row of log 0 only
        raise ValueError("the model's output holds NaN or infinity: do its weights?")
    if labels is not None and labels.numel() and labels.max() >= logits.shape[1]:
        raise ValueError(f"{name} must be from 0 to {logits.shape[1] - 1}, got {labels.max()}")
    if torch.is_grad_enabled() and not logits.requires_grad:
        raise ValueError("the model gives no gradient: does forward() detach or use no_grad()?")


def check_direction(data_grad, images, name="data_grad"):
    """Raise TypeError or ValueError unless ``data_grad`` is a tensor that fits ``images``."""
    if not isinstance(data_grad, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(data_grad).__name__}")
    _check_fits(data_grad, images, images.shape, name)
    if data_grad.isnan().any():
        raise ValueError(f"{name} must not hold NaN")


def check_count(images, **lists):
    """Raise ValueError unless each of the named lists is as long as ``images``."""
    for name, values in lists.items():
        if len(values) != len(images):
            raise ValueError(f"{name} must be {len(images)}, one per image, got {len(values)}")


def check_numbers(values, name):
    """``values`` as a list of floats; raise TypeError or ValueError unless finite and >= 0."""
    return _numbers(values, name, "a list of numbers", [1]).tolist()


def check_per_image(value, images, name):
    """``value``, a number or one per image, finite and >= 0, as a tensor of shape (N, 1, 1, 1)."""
    numbers = _numbers(value, name, "a number or one per image", [0, 1]).to(images)
    if numbers.dim():
        _check_fits(numbers, images, images.shape[:1], name)
    return numbers.expand(len(images)).view(-1, 1, 1, 1)


def _numbers(values, name, wanted, dims):
    try:
        numbers = torch.as_tensor(values, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None or numbers.dim() not in dims:
        raise TypeError(f"{name} must be {wanted}, got {values!r}")
    if not ((numbers >= 0) & numbers.isfinite()).all():
        raise ValueError(f"{name} must be finite and not negative, got {numbers.tolist()}")
    return numbers


def _check_fits(value, images, shape, name):
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
    if value.device != images.device:
        raise ValueError(f"{name} is on {value.device} and the images are on {images.device}")


def _check_float(value, wanted):
    dense = isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
    if not (dense and value.is_floating_point()):
        raise TypeError(f"{wanted}, got {_kind(value)}")


def _kind(value):
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{value.dtype} ({value.device}, {str(value.layout).removeprefix('torch.')})"
