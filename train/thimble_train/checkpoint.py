"""A model in training on the disk: its checkpoint, and what else it can begin with."""

import dataclasses

import torch
from safetensors.torch import load_file

from thimble_train.config import Config
from thimble_train.model import Model
from thimble_train.quantise import unpacked


def save(path, config, model, optimizers, state):
    """Writes the file `path`: all that training needs to go on; `state` says where it stands."""
    new = path.with_suffix(".new")
    torch.save({
        "config": dataclasses.asdict(config), "model": model.state_dict(), "optimizers": optimizers.state(),
        "state": state,
    }, new)
    # A run that is stopped in the middle of writing leaves the old one.
    new.replace(path)


def load(path):
    """What `save` wrote, on the CPU."""
    return torch.load(path, map_location="cpu", weights_only=True)


def load_model(path):
    """The model of a checkpoint, in evaluation's mode."""
    checkpoint = load(path)
    model = Model(Config(**checkpoint["config"]))
    model.load_state_dict(checkpoint["model"])
    return model.eval()


def read_back(path, config):
    """The model that a packed file holds; run it without rounding."""
    tensors, model = load_file(path), Model(config)
    state = {
        name: unpacked(tensors, name) if f"{name}__scale" in tensors else tensors[name].float()
        for name in model.state_dict()
    }
    model.load_state_dict(state)
    return model.eval()
