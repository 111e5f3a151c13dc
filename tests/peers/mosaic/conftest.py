"""A stand-in for torchvision where it does not load: `streaming` imports two names of it for vision datasets, which are
not used here, and its wheels for a graphics card do not fit a torch without one."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

try:
    import torchvision.datasets  # noqa: F401
except (ImportError, RuntimeError):
    for _name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[_name]
    _root, _datasets, _transforms, _functional = (
        ModuleType(f"torchvision{one}") for one in ("", ".datasets", ".transforms", ".transforms.functional")
    )
    _datasets.VisionDataset = _datasets.CIFAR10 = type("VisionDataset", (), {})  # type: ignore[attr-defined]
    _functional.to_tensor = None  # type: ignore[attr-defined]
    for _one in (_root, _datasets, _transforms, _functional):
        _one.__spec__ = ModuleSpec(_one.__name__, None)
    sys.modules |= {one.__name__: one for one in (_root, _datasets, _transforms, _functional)}
