"""The networks beside the course's own, and the published numbers that chapter 6 shows."""

import pytest
import torch
from notebook_code import helper_and_notebook
from torch import nn

from helpers import networks
from helpers.attacks import fgsm, input_gradient, lbfgs_noise
from helpers.data import load_mnist
from helpers.evaluation import distortion
from helpers.models import MLP, fully_connected, load_mlp, train_mlp
from helpers.networks import load_network

weight_decay = helper_and_notebook(networks.weight_decay, "06_transfer")

FIVE = "fc10_1e-4", "fc10_1e-2", "fc10_1", "fc100", "fc200"
HALVES = "fc100_p1", "fc123_p1", "fc100_p2"
FGSM = "mlp_start", "mlp_p1", "mlp_p2", "fc10_1e-4", "convolutional"

# What is shipped.


@pytest.fixture(params=sorted({*FIVE, *HALVES, *FGSM}))
def name(request):
    return request.param


def test_a_network_is_frozen_named_and_gives_ten_logits(name, mnist):
    model = load_network(name)
    assert model.name
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert model(mnist[0][:3]).shape == (3, 10)


def test_the_weights_are_shipped_in_half_precision(name):
    path = networks._FOLDER / f"{name}.pt"
    weights = torch.load(path, weights_only=True)
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    numbers = sum(weight.numel() for weight in weights.values())
    assert path.stat().st_size < 2 * numbers + 5000


def test_the_networks_of_the_papers_tables_weigh_little():
    sizes = [(networks._FOLDER / f"{name}.pt").stat().st_size for name in FIVE + HALVES]
    assert sum(sizes) <= 2.5e6


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"name must be one of .*fc100_p1.*, got 'fc7'"):
        load_network("fc7")


@pytest.mark.parametrize(
    "content",
    [b"", b"no weights", (networks._FOLDER / "fc10_1.pt").read_bytes()],
    ids=["empty", "garbage", "of another network"],
)
def test_a_file_without_its_weights_is_named(tmp_path, content):
    (tmp_path / "fc100.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"fc100\.pt does not hold the weights of FC100-100-10"):
        load_network("fc100", tmp_path)


def test_a_damaged_file_is_noticed(tmp_path):
    content = bytearray((networks._FOLDER / "fc100.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "fc100.pt").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load_network("fc100", tmp_path)


# How they are trained.


def test_the_decay_is_the_sum_of_squares_by_the_units_of_a_layer(weight_decay):
    model = fully_connected(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(2)  # the biases do not count
    expected = 0.1 * 4 * 784 * 3 / 3 + 0.5 * 4 * 3 * 10 / 10
    torch.testing.assert_close(weight_decay(model, [0.1, 0.5]).item(), expected)


def test_every_layer_has_its_decay(weight_decay):
    with pytest.raises(ValueError, match="argument"):
        weight_decay(fully_connected(3), [0.1])


def test_decay_keeps_the_weights_small(weight_decay, mnist):
    def size(decay):
        torch.manual_seed(0)
        model = fully_connected()
        images, labels = (part[:500] for part in mnist)
        train_mlp(
            model, images, labels, epochs=3, penalty=lambda model: weight_decay(model, [decay])
        )
        return model[1].weight.square().sum().item()

    assert size(1) < 0.5 * size(0)


def test_the_halves_have_no_image_in_common_and_are_written_alike():
    parts = [networks._RECIPES[name].part for name in ("fc100_p1", "fc100_p2")]
    chosen = [set(range(60_000)[part]) for part in parts]
    assert len(chosen[0]) == len(chosen[1]) == 30_000
    assert not chosen[0] & chosen[1]
    images, _ = load_mnist("train")
    first, second = (images[part].mean() for part in parts)
    assert abs(first - second) < 0.005  # even and odd images, by other people, differ by .016


def test_another_start_is_not_that_of_the_courses_network(monkeypatch):
    started = []
    monkeypatch.setattr(networks, "train_mlp", lambda model, *_, **__: started.append(model))
    networks.train_network("mlp_start")
    networks.train_network("mlp_p1")
    torch.manual_seed(0)
    course = MLP().fc1.weight
    start, half = (model.fc1.weight for model in started)
    assert half.equal(course)
    assert not start.isclose(course).float().mean() > 0.01


# The published numbers.


def errors(readers, images, labels):
    wrong = [(reader(images).argmax(1) != labels).double().mean() for reader in readers]
    return torch.stack(wrong)


def attacked(models, images, labels):
    """The noise that leads each model to targets drawn at random, and Gaussian noise."""
    generator = torch.Generator().manual_seed(0)
    targets = (labels + torch.randint(1, 10, labels.shape, generator=generator)) % 10
    noises = [lbfgs_noise(model, images, targets, progress=False) for model in models]
    return noises, torch.randn(images.shape, generator=generator)


def measure(folder=networks._FOLDER):
    """All that the chapter compares, of the networks in a folder, by the names in CLAIMS."""
    five, halves, six = ([load_network(n, folder) for n in names] for names in (FIVE, HALVES, FGSM))
    six.insert(0, load_mlp())
    train, test = load_mnist("train"), load_mnist("test")
    found = {"training error": errors(five, *train), "test error": errors(five, *test)}

    images, labels = (part[:500] for part in train)
    noises, gaussian = attacked(five, images, labels)
    found["distortion"] = torch.stack([distortion(noise).mean() for noise in noises])
    tried = [images + noise for noise in [*noises, 0.1 * gaussian]]
    found["table 2"] = torch.stack([errors(five, each, labels) for each in tried])

    found["test error, halves"] = errors(halves, *test)
    images, labels = (part[:500] for part in test)
    noises, gaussian = attacked(halves, images, labels)
    found["distortion, halves"] = torch.stack([distortion(noise).mean() for noise in noises])
    tried = [images + noise for noise in [*noises, 0.06 * gaussian]]
    sizes = [distortion(noise).clamp(min=1e-6).view(-1, 1, 1, 1) for noise in noises]
    pairs = zip(noises, sizes, strict=True)
    tried += [(images + 0.1 * noise / size).clamp(0, 1) for noise, size in pairs]
    tried.append(images + 0.1 * gaussian)
    found["table 4"] = torch.stack([errors(halves, each, labels) for each in tried])

    directions = [input_gradient(model, *test) for model in six]
    directions.append(torch.randn(test[0].shape, generator=torch.Generator().manual_seed(0)))
    tried = [fgsm(test[0], 0.1, direction) for direction in directions]
    found["FGSM"] = torch.stack([errors(six, each, test[1]) for each in tried])
    flat = [direction.flatten(1) for direction in directions[:-1]]
    cosines = [nn.functional.cosine_similarity(flat[0], each).median() for each in flat]
    found["cosine"] = torch.stack(cosines)
    return found


@pytest.fixture(scope="module")
def found():
    return measure()
