"""What an explorer gives to a page without a kernel: the arrays of all that can be chosen there."""

import base64
import hashlib
import itertools
import json
import zlib

import numpy as np

from helpers.widgets import Explorer

MIME = "application/vnd.adversarial-explorer+json"


def show_in_pages():
    """Let every explorer of this kernel display its :func:`page` instead of a live widget."""
    Explorer._repr_mimebundle_ = lambda explorer, **_: {
        MIME: page(explorer),
        "text/plain": repr(explorer),
    }


def page(explorer):
    """A dict of "packed", what `mount` in page.js reads, "weights", the network's by name, and a
    "note" for the reader, empty where the page offers every choice.

    An explorer with weights computes in the page; of the others every choice is computed here.
    """
    weights, offered = {}, _offered(explorer)
    state = {
        "setup": {**explorer.setup, "start": explorer.slider.index},
        "menus": {
            name: [explorer.menus[name][i] for i in options] for name, options in offered.items()
        },
        "choice": {
            name: options.index(explorer.choice[name]) if explorer.choice[name] in options else 0
            for name, options in offered.items()
        },
        "message": "",
        "progress": 1,
        "tables": {},
    }
    if explorer.weights:  # half precision: half the size, and the same predictions
        half = np.frombuffer(explorer.weights, "<f4").astype("<f2").tobytes()
        state["weights"] = hashlib.sha256(half).hexdigest()[:16]
        # The exponents' bytes apart from the fractions': only these have something to compress.
        weights[state["weights"]] = _packed(half[1::2] + half[::2])
    else:
        state["tables"] = _tables(explorer, offered)
    blobs = {}  # every array once

    def numbered(value):
        return {"blob": blobs.setdefault(base64.b64encode(value).decode(), len(blobs))}

    text = json.dumps(state, default=numbered)
    text = json.dumps({"blobs": list(blobs), "state": text})
    fewer = [name for name in offered if len(offered[name]) < len(explorer.menus[name])]
    note = f"This page offers some choices of {' and '.join(fewer)}; the running notebook has all."
    return {
        "packed": _packed(text.encode()),
        "weights": weights,
        "note": note if fewer else "",
    }


def _packed(data):
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _offered(explorer):
    """The options of each menu that a page offers: all, if they are few."""
    offered = {name: list(range(len(options))) for name, options in explorer.menus.items()}
    if "target" in offered and not explorer.weights and explorer.setup["kind"] == "photo":
        offered["picture"] = offered["picture"][:4]  # more would be slow to load
        offered["target"] = sorted(set(explorer.setup["labels"][:4]))
    elif "target" in offered and "noise" not in offered:  # each costs seconds here
        offered["target"] = [(explorer.choice["target"] + k) % 10 for k in (0, 3, 6)]
    return offered


def _tables(explorer, offered):
    """The frames of every choice, under the options' places as page.js joins them."""
    tables = {}
    noises = explorer.setup.get("noises")
    for picked in itertools.product(*offered.values()):
        choice = dict(zip(offered, picked, strict=True))
        places = {name: offered[name].index(option) for name, option in choice.items()}
        if noises and not noises[choice["noise"]]["targeted"]:
            places.pop("target", None)
        key = ",".join(map(str, places.values()))
        if key not in tables:
            *_, tables[key] = explorer.compute(**choice)
    return tables
