"""Reading of the published code's reference vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class Golden:
    """One piece: its tensors by name, and what its JSON says."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]

    @staticmethod
    def read(reference: Path, name: str) -> Golden:
        folder = reference / "golden"
        if not (folder / f"{name}.safetensors").exists():
            pytest.skip(f"no vector {name} in {folder}")
        return Golden(load_file(folder / f"{name}.safetensors"),
                      json.loads((folder / f"{name}.json").read_text()))

    def __call__(self, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
        """An input, in ``dtype`` where it is a floating-point one."""
        tensor = self.tensors[f"in::{name}"]
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def param(self, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.tensors[f"param::{name}"].to(dtype)

    def params(self, prefix: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """All parameters below a prefix, without it."""
        whole = f"param::{prefix}"
        return {name[len(whole):]: tensor.to(dtype) for name, tensor in self.tensors.items()
                if name.startswith(whole)}

    def check(self, name: str, got: Tensor) -> None:
        """Compare: integers exactly, float64 to 1e-9, float32 to 1e-4."""
        if not got.is_floating_point():
            torch.testing.assert_close(got, self.tensors[f"out::{name}"].to(got.dtype),
                                       rtol=0, atol=0)
        elif got.dtype == torch.float64:
            torch.testing.assert_close(got, self.tensors[f"out64::{name}"], rtol=1e-9, atol=1e-9)
        else:
            torch.testing.assert_close(got, self.tensors[f"out::{name}"], rtol=1e-4, atol=1e-4)
