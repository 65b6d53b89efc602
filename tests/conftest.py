import copy
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / ".nbconvert"))

from execution import ENVIRONMENT, ROOT

os.environ.update({**ENVIRONMENT, **os.environ})  # before torch is imported

import pytest
import torch
from torch import nn

from helpers.data import load_mnist, load_photo
from helpers.models import Normalize, load_imagenet_model, load_mlp


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests that share a page or a kernel stay on one worker; the others go where there is time."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            page = re.search(r"(lab|notebook) \w+/\w+", nodeid)
            shared = file.endswith((".ipynb", "test_reading.py", "test_transfer.py"))
            return page[0] if page else file if shared else nodeid

    return Together(config, log)


PHOTOS = ROOT / "images" / "photos"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def photos():
    """The shipped photographs by file name, which is the name of their class."""
    return {path.stem: path for path in sorted(PHOTOS.glob("*.jpg"))}


@pytest.fixture(scope="session")
def mnist():
    return load_mnist("test")


@pytest.fixture(scope="session")
def mlp():
    return load_mlp()


@pytest.fixture(scope="session")
def small_vgg():
    """VGG16's kinds of layers for images (N, 3, 16, 16), untrained."""
    torch.manual_seed(0)
    return nn.Sequential(
        Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(256, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)),
    ).eval()


@pytest.fixture
def midway(small_vgg):
    """A network in the middle of its training, in no two places alike."""
    model = copy.deepcopy(small_vgg).train()
    model[1].eval()
    for i, weight in enumerate(model.parameters()):
        weight.grad = torch.ones_like(weight)
        weight.requires_grad_(i % 2 == 0)
    return model


@pytest.fixture(scope="session")
def snapshot():
    """All that an attack must leave as it was."""
    return lambda model, images: (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [(weight.requires_grad, weight.grad.clone()) for weight in model.parameters()],
        [module.training for module in model.modules()],
        images.detach().clone(),
        (images.requires_grad, images.grad),
    )


@pytest.fixture(scope="session")
def efficientnet():
    return load_imagenet_model("efficientnet_lite0")


@pytest.fixture(scope="session", params=["mlp", "small_vgg", "efficientnet"])
def case(request):
    """A model with images and labels for it: one case for every kind of network."""
    model = request.getfixturevalue(request.param)
    if request.param == "mlp":
        images, labels = request.getfixturevalue("mnist")
        return model, images[:500], labels[:500]
    if request.param == "small_vgg":
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(500, 3, 16, 16, generator=generator)
    else:
        paths = list(request.getfixturevalue("photos").values())[:3]
        images = torch.cat([load_photo(path) for path in paths])
    with torch.no_grad():
        return model, images, model(images).argmax(1)
