"""What an argument must be. Every check names the argument, what came and what is wanted."""

import math
import numbers

import torch
from torch import nn


def check_images(images, name="images"):
    """Raise TypeError or ValueError unless ``images`` is float (N, C, H, W) in [0, 1]."""
    if not _is_float_tensor(images):
        raise TypeError(f"{name} must be a floating-point tensor in [0, 1], got {_kind(images)}")
    if images.dim() != 4:
        raise ValueError(f"{name} must have shape (N, C, H, W), got {tuple(images.shape)}")
    if images.numel():
        low, high = (bound.item() for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise ValueError(f"{name} must lie in [0, 1], got values from {low:g} to {high:g}")


def check_not_empty(images, name="images"):
    """Raise unless ``images`` passes :func:`check_images` and holds at least one image."""
    check_images(images, name)
    if not len(images):
        raise ValueError(f"{name} must hold at least one image, got an empty batch")


def check_pictures(images, name="images"):
    """Raise unless ``images`` passes :func:`check_not_empty` and is grey (C = 1) or RGB (C = 3)."""
    check_not_empty(images, name)
    if images.shape[1] not in (1, 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got shape {tuple(images.shape)}")


def check_picture(image, name):
    """Raise TypeError or ValueError unless ``image`` is one such picture, (C, H, W)."""
    if not isinstance(image, torch.Tensor) or image.dim() != 3:
        got = tuple(image.shape) if isinstance(image, torch.Tensor) else _kind(image)
        raise ValueError(f"{name} must be a tensor of shape (C, H, W), got {got}")
    check_pictures(image[None], name)


def check_labels(labels, images, name="labels"):
    """Raise TypeError or ValueError unless ``labels`` holds one integer >= 0 for each image."""
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"{name} must be an int64 tensor of class numbers, got {_kind(labels)}")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name} must have shape ({len(images)},), one per image, got {tuple(labels.shape)}"
        )
    if labels.device != images.device:
        raise ValueError(f"{name} are on {labels.device} and the images are on {images.device}")
    if labels.numel() and labels.min() < 0:
        raise ValueError(f"{name} must not be negative, got {labels.min().item()}")


def check_model(model, images):
    """Raise TypeError or ValueError unless ``model`` has the device and dtype of ``images``."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a network such as MLP(), got {model!r}")
    weight = next(model.parameters(), images)
    if weight.device != images.device:
        raise ValueError(
            f"the model is on {weight.device} and the images are on {images.device}: "
            "move one of them with .to(device)"
        )
    if weight.dtype != images.dtype:
        raise TypeError(f"images must be {weight.dtype} like the model, got {images.dtype}")


def check_batch(model, images, labels, name="labels"):
    """Raise TypeError or ValueError unless ``model``, ``images`` and ``labels`` fit together."""
    check_images(images)
    check_labels(labels, images, name)
    check_model(model, images)


def check_logits(logits, images, labels=None, name="labels"):
    """Raise TypeError or ValueError unless a model's output is float (N, K) without NaN.

    There are at least two classes, and ``labels``, where given, are among them. Minus infinity, the
    logarithm of a probability of 0, passes unless a whole row is so.
    """
    if not _is_float_tensor(logits):
        raise TypeError(f"the model must give a floating-point tensor, got {_kind(logits)}")
    if logits.dim() != 2 or len(logits) != len(images) or logits.shape[1] < 2:
        raise ValueError(
            f"the model must give logits of shape (N, K) with N = {len(images)} images and K > 1 "
            f"classes, got {tuple(logits.shape)}"
        )
    if not logits.detach().amax(1).isfinite().all():  # the largest of a row with NaN is NaN
        raise ValueError("the model's output holds NaN or infinity: do its weights?")
    if labels is not None and labels.numel() and labels.max() >= logits.shape[1]:
        raise ValueError(
            f"{name} must be from 0 to {logits.shape[1] - 1}, got {labels.max().item()}"
        )


def check_differentiable(logits):
    """Raise ValueError unless a gradient can flow from a model's output to its images."""
    if not logits.requires_grad:
        raise ValueError(
            "the model gives no gradient: does its forward() detach, or run under torch.no_grad()?"
        )


def check_gradient(gradient):
    """Raise ValueError unless a gradient that a model gave is finite."""
    if not gradient.isfinite().all():
        raise ValueError("the model's gradient is not finite: are its weights?")


def check_direction(data_grad, images, name="data_grad"):
    """Raise TypeError or ValueError unless ``data_grad`` is a tensor that fits ``images``."""
    if not isinstance(data_grad, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(data_grad).__name__}")
    if data_grad.shape != images.shape:
        raise ValueError(
            f"{name} must have the images' shape {tuple(images.shape)}, "
            f"got {tuple(data_grad.shape)}"
        )
    if data_grad.device != images.device:
        raise ValueError(f"{name} is on {data_grad.device} and the images are on {images.device}")
    if data_grad.isnan().any():
        raise ValueError(f"{name} must not hold NaN")


def check_number(value, name):
    """``value`` as a float; raise TypeError or ValueError unless it is finite and >= 0."""
    if isinstance(value, torch.Tensor) and value.dim():
        raise TypeError(f"{name} must be one number, got a tensor of shape {tuple(value.shape)}")
    if not isinstance(value, numbers.Real | torch.Tensor):
        raise TypeError(f"{name} must be a number, got {value!r}")
    value = float(value)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}")
    return value


def check_numbers(values, name):
    """``values`` as a list of floats; raise as :func:`check_number`, or if they are no list."""
    try:
        values = list(values)
    except TypeError:
        raise TypeError(f"{name} must be a list of numbers, got {values!r}") from None
    return [check_number(value, f"each of {name}") for value in values]


def check_per_image(value, images, name):
    """``value`` as a float, or as one number per image that broadcasts over its pixels."""
    if not isinstance(value, torch.Tensor) or not value.dim():
        return check_number(value, name)
    if value.shape != images.shape[:1]:
        raise ValueError(
            f"{name} must be a number or have shape ({len(images)},), got {tuple(value.shape)}"
        )
    if not ((value >= 0) & value.isfinite()).all():
        raise ValueError(f"{name} must be finite and not negative, got {value.tolist()}")
    return value.to(images).view(-1, 1, 1, 1)


def _is_float_tensor(value):
    """Whether ``value`` is a tensor of floating-point numbers, which is neither sparse nor meta."""
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and not value.is_meta
    )


def _kind(value):
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{value.dtype} ({value.device}, {str(value.layout).removeprefix('torch.')})"
