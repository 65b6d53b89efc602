import copy
import io
import math
import socket
import threading
import time
import urllib.request

import pytest
import torch
import torch.nn.functional as F
import torchvision
from notebook_code import helper_and_notebook
from torch import nn

from helpers import attacks, data, models

MLP = helper_and_notebook(models.MLP, "01_train_mlp")
WEIGHTS = data.ASSETS / "mlp.pt"

# The MLP and its training.


def test_the_mlp_has_784_1000_and_10_units(MLP):
    shapes = {name: tuple(weight.shape) for name, weight in MLP().state_dict().items()}
    assert shapes == {
        "fc1.weight": (1000, 784),
        "fc1.bias": (1000,),
        "fc2.weight": (10, 1000),
        "fc2.bias": (10,),
    }


def test_the_mlp_gives_log_probabilities_of_a_relu_network(MLP, mlp, mnist):
    images = mnist[0][:5]
    model = MLP()
    model.load_state_dict(mlp.state_dict())
    hidden = (images.flatten(1) @ mlp.fc1.weight.T + mlp.fc1.bias).clamp(min=0)
    expected = (hidden @ mlp.fc2.weight.T + mlp.fc2.bias).softmax(1)
    torch.testing.assert_close(model(images).exp(), expected)


def test_the_shipped_mlp_is_accurate_frozen_and_in_eval_mode(mlp, mnist):
    images, labels = mnist
    assert abs((mlp(images).argmax(1) == labels).float().mean() - 0.981) < 0.004
    assert not mlp.training
    assert not any(weight.requires_grad for weight in mlp.parameters())
    assert WEIGHTS.stat().st_size <= 4e6


def test_training_lowers_the_loss_and_repeats_itself(mnist, capsys):
    images, labels = (part[:1000] for part in mnist)

    def trained():
        torch.manual_seed(0)
        model = models.MLP()
        held_out = tuple(part[1000:1500] for part in mnist)
        history = models.train_mlp(model, images, labels, epochs=2, test=held_out)
        return model, history

    model, history = trained()
    again, same_history = trained()
    assert history == same_history
    torch.testing.assert_close(model.state_dict(), again.state_dict(), rtol=0, atol=0)
    assert history["loss"][0] > history["loss"][1]
    assert history["accuracy"][1] > 0.7
    assert not model.training
    assert "32/32" in capsys.readouterr().out  # the progress bar: two epochs of 16 batches


def test_training_without_a_test_set_measures_no_accuracy(mnist):
    images, labels = (part[:64] for part in mnist)
    history = models.train_mlp(models.MLP(), images, labels, epochs=1)
    assert len(history["loss"]) == 1
    assert history["accuracy"] == []


def test_a_wrong_number_of_epochs_is_named(mnist):
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        models.train_mlp(models.MLP(), *mnist, epochs=0)


def test_training_on_nothing_is_refused(mnist):
    with pytest.raises(ValueError, match=r"images .*empty"):
        models.train_mlp(models.MLP(), mnist[0][:0], mnist[1][:0], epochs=1)


def one_batch_by_hand(loss_of):
    """A fresh network after one step of Adam on ``loss_of(model)``, and that loss before it."""
    torch.manual_seed(0)
    model = models.MLP()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = loss_of(model)
    loss.backward()
    optimizer.step()
    return model.state_dict(), loss.item()


def trained_for_one_batch(images, labels, **options):
    torch.manual_seed(0)
    model = models.MLP()
    history = models.train_mlp(model, images, labels, epochs=1, **options)
    return model.state_dict(), history["loss"][0]


def test_plain_training_is_a_step_of_adam_on_the_mean_loss(mnist):
    batch = images, labels = tuple(part[:64] for part in mnist)
    weights, loss = one_batch_by_hand(lambda model: F.nll_loss(model(images), labels))
    ours, our_loss = trained_for_one_batch(*batch)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(ours, weights, rtol=0, atol=2e-5)


def test_adversarial_training_takes_half_the_loss_of_each(mnist):
    batch = images, labels = tuple(part[:64] for part in mnist)

    def half_and_half(model):
        adv_images = attacks.fgsm_attack(model, images, labels, 0.25)
        return (F.nll_loss(model(images), labels) + F.nll_loss(model(adv_images), labels)) / 2

    def attack(_model, images, _labels, data_grad):
        return attacks.fgsm(images, 0.25, data_grad)

    weights, loss = one_batch_by_hand(half_and_half)
    ours, our_loss = trained_for_one_batch(*batch, attack=attack)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(ours, weights, rtol=0, atol=2e-5)
    assert our_loss > 1.1 * trained_for_one_batch(*batch)[1]


def test_the_attack_in_training_gets_a_batch_and_the_gradient_of_its_pixels(mnist):
    images, labels = (part[:100] for part in mnist)
    calls = []

    def attack(model, images, labels, data_grad):
        expected = attacks.input_gradient(model, images, labels)
        calls.append((images, labels, (data_grad.sign() == expected.sign()).float().mean()))
        return images

    models.train_mlp(models.MLP(), images, labels, epochs=1, attack=attack)
    assert [len(seen) for seen, _, _ in calls] == [64, 36]
    assert all(agree > 0.999 for _, _, agree in calls)
    seen = torch.cat([seen for seen, _, _ in calls])
    assert not seen.requires_grad
    assert not images.requires_grad
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(seen, images[order])
    assert torch.equal(torch.cat([seen for _, seen, _ in calls]), labels[order])


def test_a_penalty_is_trained_on_and_not_counted_as_loss(mnist):
    batch = images, labels = tuple(part[:64] for part in mnist)

    def penalty(model):
        return 10 * model.fc1.weight.square().sum()

    weights, _ = one_batch_by_hand(lambda model: F.nll_loss(model(images), labels) + penalty(model))
    ours, loss = trained_for_one_batch(*batch, penalty=penalty)
    torch.testing.assert_close(ours, weights, rtol=0, atol=2e-5)
    assert loss == trained_for_one_batch(*batch)[1]


WRONG_OPTIONS = {
    "a name": ({"attack": "fgsm"}, TypeError, "attack must be a function, got 'fgsm'"),
    "a number": ({"penalty": 1e-4}, TypeError, "penalty must be a function, got 0.0001"),
    "no return": ({"attack": lambda *_: None}, TypeError, "attack returns must be.*NoneType"),
    "one image": ({"attack": lambda _m, x, *_: x[:1]}, ValueError, r"returns .*\(10, .*\(1, "),
    "NaN": ({"attack": lambda _m, x, *_: x * math.nan}, ValueError, "attack returns .*NaN"),
}


@pytest.mark.parametrize(("options", "error", "match"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_a_wrong_attack_or_penalty_is_named(mnist, options, error, match):
    images, labels = (part[:10] for part in mnist)
    with pytest.raises(error, match=match):
        models.train_mlp(models.MLP(), images, labels, epochs=1, **options)


def test_training_refuses_what_it_cannot_train_or_test(mlp, mnist):
    images, labels = (part[:10] for part in mnist)
    with pytest.raises(ValueError, match=r"frozen.*requires_grad_"):
        models.train_mlp(mlp, images, labels, epochs=1)
    with pytest.raises(TypeError, match=r"test must be \(images, labels\), got Tensor"):
        models.train_mlp(models.MLP(), images, labels, epochs=1, test=images)
    with pytest.raises(TypeError, match=r"labels .*int64.*list"):
        models.train_mlp(models.MLP(), images, labels, epochs=1, test=(images, labels.tolist()))
    with pytest.raises(TypeError, match=r"model must be a network .*MLP\(\)"):
        models.train_mlp(models.MLP, images, labels, epochs=1)


# Saved weights.


def test_only_an_mlp_is_saved(small_vgg, tmp_path):
    with pytest.raises(ValueError, match=r"model must be an MLP\(\)"):
        models.save_mlp(small_vgg, tmp_path / "weights.pt")
    assert list(tmp_path.iterdir()) == []


def test_saved_weights_come_back(tmp_path):
    model = models.MLP()
    models.save_mlp(model, tmp_path / "mine.pt")
    loaded = models.load_mlp(tmp_path / "mine.pt")
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert not loaded.training


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def interrupted(_weights, path):
        path.write_bytes(b"half of the")
        raise KeyboardInterrupt

    path = tmp_path / "mine.pt"
    models.save_mlp(models.MLP(), path)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        models.save_mlp(models.MLP(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Unpickled:
    """Would run code when a careless loader unpickles it."""

    def __reduce__(self):
        return pytest.fail, ("code in a weights file was run",)


def damaged(path):
    """The course's weights with one bit turned over."""
    content = bytearray(WEIGHTS.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


WRONG_WEIGHTS = {
    "one bit": damaged,
    "garbage": lambda path: path.write_bytes(b"no weights"),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(WEIGHTS.read_bytes()[:100_000]),
    "other architecture": lambda path: torch.save(nn.Linear(2, 2).state_dict(), path),
    "no state dict": lambda path: torch.save(torch.zeros(3), path),
    "code": lambda path: torch.save({"fc1.weight": Unpickled()}, path),
}


@pytest.mark.parametrize("write", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_a_file_that_holds_no_mlp_is_named(tmp_path, write):
    path = tmp_path / "mine.pt"
    write(path)
    with pytest.raises(ValueError, match=r"mine\.pt does not hold the weights of an MLP"):
        models.load_mlp(path)


def test_missing_weights_are_named_with_their_origin(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mine\.pt does not exist.*notebook 01"):
        models.load_mlp(tmp_path / "mine.pt")


@pytest.fixture
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64_by_default")
def test_another_default_dtype_changes_no_network():
    images, _ = data.sample_mnist(10)
    assert models.load_mlp()(images).dtype == torch.float32
    efficientnet = models.load_imagenet_model("efficientnet_lite0")
    assert efficientnet(torch.rand(1, 3, 224, 224, dtype=torch.float32)).dtype == torch.float32


# Normalisation and modes.


def test_normalize_is_a_layer_that_moves_with_its_model():
    layer = models.Normalize([0.1, 0.2, 0.3], [0.5, 0.25, 2]).double()
    images = torch.rand(2, 3, 4, 5).double()
    expected = [(images[:, 0] - 0.1) / 0.5, (images[:, 1] - 0.2) / 0.25, (images[:, 2] - 0.3) / 2]
    torch.testing.assert_close(layer(images), torch.stack(expected, 1), rtol=1e-6, atol=1e-7)
    assert not list(layer.parameters())
    assert layer.to("meta").mean.is_meta


@pytest.mark.parametrize("std", [[1, 0, 1], [1, -1, 1], [1, float("nan"), 1], [1, math.inf, 1]])
def test_a_std_that_is_not_positive_is_named(std):
    with pytest.raises(ValueError, match="std must be positive, got"):
        models.Normalize([0, 0, 0], std)


def test_a_wrong_mean_or_number_of_channels_is_named():
    with pytest.raises(ValueError, match=r"mean must be finite, got \[.*nan"):
        models.Normalize([0, float("nan")], [1, 1])
    with pytest.raises(ValueError, match="mean and std must be as many, got 1 and 3"):
        models.Normalize([0], [1, 1, 1])
    grey = torch.rand(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"images .*\(N, 3, H, W\).*\(2, 1, 4, 4\)"):
        models.Normalize([0, 0, 0], [1, 1, 1])(grey)
    with pytest.raises(ValueError, match=r"images .*\(N, 1, H, W\).*\(1, 4, 4\)"):
        models.Normalize(0.5, 0.5)(grey[0])


@pytest.mark.parametrize("fails", [False, True])
def test_eval_mode_gives_every_part_its_own_mode_back(small_vgg, fails):
    model = copy.deepcopy(small_vgg).train()
    model[-2].eval()
    before = [module.training for module in model.modules()]
    try:
        with models.eval_mode(model):
            during = [module.training for module in model.modules()]
            if fails:
                raise InterruptedError
    except InterruptedError:
        pass
    assert not any(during)
    assert [module.training for module in model.modules()] == before


# ImageNet.

VGG16_FILE = "vgg16-397923af.pth"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder in which torch keeps downloads, empty, in front of a network that is down."""
    for name in ("http_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    urllib.request.install_opener(None)  # the one in use remembers the last proxy
    assert models.NETWORK_SECONDS <= 10
    monkeypatch.setattr(models, "NETWORK_SECONDS", 1)  # for 15 seconds in all: 5 to spare
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    urllib.request.install_opener(None)


def vgg16_weights():
    """Weights with VGG16's names and shapes, which answer every image with 0, 1, ..., 999."""
    with torch.device("meta"):
        shapes = torchvision.models.vgg16(weights=None, init_weights=False).state_dict()
    weights = {name: torch.zeros(()).expand(weight.shape) for name, weight in shapes.items()}
    return weights | {"classifier.6.bias": torch.arange(1000.0)}


def notice_after_loading(capsys):
    """The notice printed when VGG16 is asked for and EfficientNet-Lite0 comes instead."""
    start = time.perf_counter()
    model = models.load_imagenet_model()
    assert time.perf_counter() - start < models.NETWORK_SECONDS + 5
    assert socket.getdefaulttimeout() is None
    assert model.name == "EfficientNet-Lite0"
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 1000)
    notice = capsys.readouterr().out
    for needed in (VGG16_FILE, "hub/checkpoints", "528 MB", "EfficientNet-Lite0"):
        assert needed in notice
    assert "weights_only" not in notice  # torch's advice to switch safety off
    return notice


def test_vgg16_is_loaded_from_the_torch_cache(cache, capsys):
    torch.save(vgg16_weights(), cache / VGG16_FILE)
    model = models.load_imagenet_model("vgg16")
    assert model.name == "VGG16"
    assert model(torch.rand(1, 3, 224, 224)).tolist() == [list(range(1000))]
    transforms = torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms()
    torch.testing.assert_close(model[0].mean.flatten(), torch.tensor(transforms.mean))
    torch.testing.assert_close(model[0].std.flatten(), torch.tensor(transforms.std))
    assert not any(module.training for module in model.modules())
    assert not any(weight.requires_grad for weight in model.parameters())
    assert capsys.readouterr().out == ""


def test_a_network_that_is_down_is_noticed(cache, capsys):
    assert "refused" in notice_after_loading(capsys)


@pytest.fixture
def silent_proxy(cache, monkeypatch):
    """A way to the network that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


def test_a_server_that_never_answers_is_given_up(silent_proxy, capsys):
    assert "no answer in 1 seconds" in notice_after_loading(capsys)


def test_a_download_that_stalls_is_given_up(silent_proxy, capsys, monkeypatch):
    monkeypatch.setattr(models, "urlopen", lambda _request: io.BytesIO())  # not torch's own
    assert "timed out" in notice_after_loading(capsys)


def test_a_name_that_is_never_looked_up_is_given_up(cache, capsys, monkeypatch):
    monkeypatch.delenv("https_proxy")
    answered = threading.Event()

    def never_look_up(*_args, **_options):
        answered.wait(60)
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", never_look_up)
    assert "no answer in 1 seconds" in notice_after_loading(capsys)
    answered.set()


DAMAGED = {
    "garbage": lambda path: path.write_bytes(b"no weights"),
    "empty": lambda path: path.write_bytes(b""),
    "other architecture": lambda path: torch.save(nn.Linear(2, 2).state_dict(), path),
}


@pytest.mark.parametrize("write", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_vgg16_in_the_cache_is_named(cache, capsys, write):
    write(cache / VGG16_FILE)
    assert f"{VGG16_FILE} could not be read" in notice_after_loading(capsys)


@pytest.mark.parametrize("name", ["VGG16", "resnet50", "", None])
def test_an_unknown_model_is_named(name):
    with pytest.raises(ValueError, match=f'name must be "vgg16" or .*, got {name!r}'):
        models.load_imagenet_model(name)


def test_efficientnet_recognises_every_shipped_photograph(efficientnet, photos):
    images = torch.cat([data.load_photo(path) for path in photos.values()])
    names = data.imagenet_labels()
    predicted = [names[i].lower() for i in efficientnet(images).argmax(1)]
    assert predicted == [name.replace("_", " ") for name in photos]
    assert efficientnet.name == "EfficientNet-Lite0"
    assert not any(module.training for module in efficientnet.modules())
    assert not any(weight.requires_grad for weight in efficientnet.parameters())
