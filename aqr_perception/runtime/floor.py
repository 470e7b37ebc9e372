"""The least that a device could do the network's work in, stage by stage, and what it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from aqr_perception.model.detector import Detector
from aqr_perception.runtime.benchmark import Stopwatch
from aqr_perception.types import Batch

STAGES = ("tokenizer.image.trunk", "tokenizer.image.neck", "tokenizer.lidar.encoder",
          "tokenizer.lidar.trunk", "tokenizer.lidar.neck", "tokenizer.lidar.shared",
          "decoder.head")
"""Modules that are measured, and each layer of the decoder."""


_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
                     ) -> int:
    """Of both products; torch counts those of the GPU's kernels only."""
    pairs = query[0] * query[1] * query[2] * key[2]
    return int(2 * pairs * (query[3] + value[3]))


@dataclass(frozen=True)
class Device:
    """What the device reaches on work that suits it.

    Attributes:
        flops: Of a large matrix product a second.
        bytes: Copied a second (read and written both counted).
    """

    flops: float
    bytes: float


def measure_device(device: torch.device, size: int = 2048) -> Device:
    """Measure both, best of several."""
    watch = Stopwatch(device)
    a, b = torch.randn(2, size, size, device=device).unbind()
    source = torch.zeros(32 << 20, device=device)
    target = torch.ones_like(source)
    product = min(watch(lambda: a @ b) for _ in range(5))
    copy = min(watch(lambda: target.copy_(source)) for _ in range(5))
    return Device(flops=2 * size ** 3 / product, bytes=2 * source.nbytes / copy)


@dataclass(frozen=True)
class Stage:
    """One part of the network in one forward pass.

    Attributes:
        name: Of the module.
        flops: Multiplications and additions of matrix products, convolutions and attention.
        bytes: That must move at least: parameters, what comes in, what goes out.
        seconds: Measured.
    """

    name: str
    flops: float
    bytes: float
    seconds: float

    def floor(self, device: Device) -> float:
        """Least time [s]: the device at its best, arithmetic and memory overlapping.

        A 3×3 convolution by Winograd's algorithm multiplies less than is counted, and may beat it.
        """
        return max(self.flops / device.flops, self.bytes / device.bytes)


def stages(detector: Detector, batch: Batch, device: torch.device, repeats: int) -> list[Stage]:
    """Measure the parts of a forward pass, the median of several."""
    watched = {name: module for name, module in detector.named_modules()
               if name in STAGES and not isinstance(module, nn.Identity)}
    layers = {name: module for name, module in detector.named_modules()
              if name.startswith("decoder.layers.") and name.count(".") == 2}
    with torch.inference_mode(), FlopCounterMode(
            display=False, depth=9, custom_mapping={_CPU_ATTENTION: _attention_flops}) as counter:
        detector(batch)
    counted = {name.removeprefix("Detector."): sum(ops.values())
               for name, ops in counter.get_flop_counts().items()}
    moved, runs = _traffic(detector, batch, {**watched, **layers}), []
    for _ in range(repeats + 1):
        with torch.inference_mode(), _timed({**watched, **layers}, device) as seconds:
            detector(batch)
        runs.append(seconds)
    found = {name: Stage(name, counted.get(name, 0.0), moved.get(name, 0.0),
                         float(np.median([run.get(name, 0.0) for run in runs[1:]])))
             for name in (*watched, *layers)}
    summed = [found.pop(name) for name in layers]
    together = Stage("decoder.layers", sum(part.flops for part in summed),
                     sum(part.bytes for part in summed), sum(part.seconds for part in summed))
    return [stage for stage in (*found.values(), together) if stage.seconds]


def _traffic(detector: Detector, batch: Batch, modules: dict[str, nn.Module]) -> dict[str, float]:
    """Bytes of parameters, inputs and outputs of each module in one forward pass."""
    moved: dict[str, float] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, outputs: Any) -> None:
            moved[name] = moved.get(name, 0.0) + sum(
                tensor.nbytes for part in (inputs, outputs) for tensor in _tensors(part)
            ) + sum(parameter.nbytes for parameter in module.parameters())
        return hook

    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    with torch.inference_mode():
        detector(batch)
    for handle in handles:
        handle.remove()
    return moved


@contextmanager
def _timed(modules: dict[str, nn.Module], device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds spent in the forward passes of modules while the context is open."""
    seconds: dict[str, float] = {}
    started: dict[str, float] = {}

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def before(name: str) -> Callable[..., None]:
        return lambda *_: started.update({name: now()})

    def after(name: str) -> Callable[..., None]:
        return lambda *_: seconds.update({name: seconds.get(name, 0.0) + now() - started[name]})

    handles = []
    for name, module in modules.items():
        handles += [module.register_forward_pre_hook(before(name)),
                    module.register_forward_hook(after(name))]
    yield seconds
    for handle in handles:
        handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors(getattr(value, name))


class _LiveBytes(TorchDispatchMode):
    """Follows how much tensor memory is alive; what was there before does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = {tensor.untyped_storage()._cdata for tensor in _tensors([args])}
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in inputs and key not in self._known:
                self._known.add(key)
                self.live += storage.nbytes()
                self.largest = max(self.largest, storage.nbytes())
                finalize(storage, self._release, key, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@dataclass(frozen=True)
class Memory:
    """Of one forward pass.

    Attributes:
        parameters: Bytes of parameters and buffers.
        peak: Most bytes of other tensors alive at once.
        largest: Bytes of the largest tensor made.
    """

    parameters: int
    peak: int
    largest: int


def memory_of(detector: Detector, batch: Batch) -> Memory:
    """Follow every tensor of a forward pass; scratch space inside kernels is not seen.

    On a GPU ``torch.cuda.max_memory_allocated`` sees all and is used instead for the peak.
    """
    device = batch.images.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with torch.inference_mode(), _LiveBytes() as follower:
        detector(batch)
    peak = follower.peak
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) - before
    state = detector.state_dict().values()
    return Memory(sum(tensor.nbytes for tensor in state), peak, follower.largest)
