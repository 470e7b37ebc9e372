"""Published CMT checkpoints (mmdet3d format) → networks of this package.

Every key is mapped by an explicit rule; one that no rule knows, and one that is missing, is an
error that names it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from aqr_perception.model.aqr.config import AqrConfig
from aqr_perception.model.aqr.published import UNUSED, generator_names
from aqr_perception.model.config import DetectorConfig, cmt_r50, cmt_vov99
from aqr_perception.model.detector import Detector

_HEAD = "pts_bbox_head."
_AQR = _HEAD + "aqr_weight_generator."

# Published name → ours, tried in turn; groups of the pattern fill the braces.
_RULES: tuple[tuple[str, str], ...] = (
    (r"img_backbone\.stem\.stem_(\d)/(conv|norm)\.(.+)",
     "tokenizer.image.trunk.stem.{0-1}.{1}.{2}"),
    (r"img_backbone\.stage(\d)\.OSA\d_(\d+)\.layers\.(\d)\.OSA\d_\d+_\d/(conv|norm)\.(.+)",
     "tokenizer.image.trunk.stages.{0-2}.{1-1}.layers.{2}.{3}.{4}"),
    (r"img_backbone\.stage(\d)\.OSA\d_(\d+)\.concat\.OSA\d_\d+_concat/(conv|norm)\.(.+)",
     "tokenizer.image.trunk.stages.{0-2}.{1-1}.concat.{2}.{3}"),
    (r"img_backbone\.stage(\d)\.OSA\d_(\d+)\.ese\.fc\.(.+)",
     "tokenizer.image.trunk.stages.{0-2}.{1-1}.gate.{2}"),
    (r"img_backbone\.((?:conv|bn)1\..+|layer\d\..+)", "tokenizer.image.trunk.{0}"),
    (r"img_neck\.lateral_convs\.(\d)\.conv\.(.+)", "tokenizer.image.neck.lateral.{0}.{1}"),
    (r"img_neck\.fpn_convs\.0\.conv\.(.+)", "tokenizer.image.neck.smooth.{0}"),
    (r"pts_middle_encoder\.conv_input\.0\.weight", "tokenizer.lidar.encoder.stages.0.conv.weight"),
    (r"pts_middle_encoder\.conv_input\.1\.(.+)", "tokenizer.lidar.encoder.stages.0.norm.{0}"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer(\d)\.([01])\.conv1\.weight",
     "tokenizer.lidar.encoder.stages.{0}.{1}.first.conv.weight"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer(\d)\.([01])\.bn1\.(.+)",
     "tokenizer.lidar.encoder.stages.{0}.{1}.first.norm.{2}"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer(\d)\.([01])\.conv2\.weight",
     "tokenizer.lidar.encoder.stages.{0}.{1}.conv.weight"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer(\d)\.([01])\.bn2\.(.+)",
     "tokenizer.lidar.encoder.stages.{0}.{1}.norm.{2}"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer(\d)\.2\.0\.weight",
     "tokenizer.lidar.encoder.stages.{0}.2.conv.weight"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer(\d)\.2\.1\.(.+)",
     "tokenizer.lidar.encoder.stages.{0}.2.norm.{1}"),
    (r"pts_middle_encoder\.conv_out\.0\.weight", "tokenizer.lidar.encoder.stages.5.conv.weight"),
    (r"pts_middle_encoder\.conv_out\.1\.(.+)", "tokenizer.lidar.encoder.stages.5.norm.{0}"),
    (r"pts_backbone\.blocks\.(.+)", "tokenizer.lidar.trunk.{0}"),
    (r"pts_neck\.deblocks\.(.+)", "tokenizer.lidar.neck.{0}"),
    (r"pts_bbox_head\.shared_conv\.conv\.weight", "tokenizer.lidar.shared.conv.weight"),
    (r"pts_bbox_head\.shared_conv\.bn\.(.+)", "tokenizer.lidar.shared.norm.{0}"),
    (r"pts_bbox_head\.reference_points\.weight", "reference_points"),
    (r"pts_bbox_head\.bev_embedding\.(.+)", "decoder.positions.ground.{0}"),
    (r"pts_bbox_head\.rv_embedding\.(.+)", "decoder.positions.rays.{0}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.attentions\.0\.attn\.in_proj_(.+)",
     "decoder.layers.{0}.self_attention.qkv.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.attentions\.0\.attn\.out_proj\.(.+)",
     "decoder.layers.{0}.self_attention.out.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.attentions\.1\.attn\.in_proj_(.+)",
     "decoder.layers.{0}.cross_attention.qkv.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.attentions\.1\.attn\.out_proj\.(.+)",
     "decoder.layers.{0}.cross_attention.out.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.ffns\.0\.layers\.0\.0\.(.+)",
     "decoder.layers.{0}.feedforward.0.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.ffns\.0\.layers\.1\.(.+)",
     "decoder.layers.{0}.feedforward.2.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.norms\.0\.(.+)",
     "decoder.layers.{0}.self_norm.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.norms\.1\.(.+)",
     "decoder.layers.{0}.cross_norm.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.layers\.(\d)\.norms\.2\.(.+)",
     "decoder.layers.{0}.feedforward_norm.{1}"),
    (r"pts_bbox_head\.transformer\.decoder\.post_norm\.(.+)", "decoder.post_norm.{0}"),
    (r"pts_bbox_head\.task_heads\.0\.(\w+)\.0\.weight", "decoder.head.branches.{0}.hidden_weight"),
    (r"pts_bbox_head\.task_heads\.0\.(\w+)\.1\.(.+)", "decoder.head.branches.{0}.norm_{1}"),
    (r"pts_bbox_head\.task_heads\.0\.(\w+)\.3\.(.+)", "decoder.head.branches.{0}.out_{1}"),
    (r"pts_bbox_head\.attention_bias_generator\.bias_scale", "decoder.router.bias_scale"),
)

_KERNEL = _HEAD + "weight_renderer.gaussian_kernel"
_LOG_SIGMA = "decoder.router.renderer.log_sigma"

# Published keys that carry nothing to learn: buffers of AQR, and parameters it never uses.
_IGNORED = re.compile(
    r"pts_bbox_head\.(weight_renderer\.gaussian_kernel|feature_modulator\..*"
    r"|attention_bias_generator\.(y_offsets|x_offsets|window_offsets_(bev|pers)|gaussian_weights)"
    rf"|aqr_weight_generator\.({'|'.join(UNUSED)}))")


@dataclass(frozen=True)
class ImportedNetwork:
    """What came of a published file.

    Attributes:
        detector: Ready to be saved.
        ignored: Published keys that were left out on purpose.
    """

    detector: Detector
    ignored: tuple[str, ...]


def read_published(path: str | Path) -> dict[str, Tensor]:
    """Read the state of an mmdet3d-format file (``torch.save``), executing nothing from it.

    Raises:
        OSError: There is no such file.
        ValueError: It is no such file, or holds objects other than tensors.
    """
    path = Path(path)
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file) and file.seek(0) == 0 and file.read(2) != b"\x80\x02":
            raise ValueError(f"{path}: is not a PyTorch checkpoint; expected a .pth file of CMT")
    try:
        content: Any = torch.load(str(path), map_location="cpu", weights_only=True, mmap=None)
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path}: cannot be read without executing code from it ({reason}); "
                         "expected a checkpoint of tensors") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise ValueError(f"{path}: holds no state_dict; expected an mmdet3d-format checkpoint")
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()
               if isinstance(value, Tensor)}
    if len(tensors) < len(state):
        odd = next(key for key, value in state.items() if not isinstance(value, Tensor))
        raise ValueError(f"{path}: state_dict['{odd}'] is no tensor; expected tensors only")
    return tensors


def preset_of(names: Iterable[str]) -> DetectorConfig:
    """Tell a preset by its keys: the image trunk names it; a missing branch is left out."""
    names = set(names)
    has_lidar = any(name.startswith("pts_middle_encoder.") for name in names)
    has_image = any(name.startswith("img_backbone.") for name in names)
    if not has_lidar and not has_image:
        raise ValueError("the checkpoint has neither img_backbone nor pts_middle_encoder; expected "
                         "a CMT network")
    config = cmt_r50() if "img_backbone.layer1.0.conv1.weight" in names else cmt_vov99()
    return replace(config, image=config.image if has_image else None,
                   lidar=config.lidar if has_lidar else None)


def import_published(tensors: Mapping[str, Tensor], config: DetectorConfig | None = None,
                     aqr_mode: str = "off", absence: str = "zeros") -> ImportedNetwork:
    """Build a network from published tensors.

    Args:
        tensors: State, without ``module.``.
        config: Of the network; None tells the preset by the keys.
        aqr_mode: What to do with the parameters of the AQR variant: ``off`` drops them,
            ``attention_bias`` (what its published code runs) and ``weight_map`` (what its report
            describes) keep them, computed as published.
        absence: How the network is to see missing sensors; published ones know zeros.

    Raises:
        ValueError: A key is missing or unknown, or a shape does not fit.
    """
    config = config or preset_of(tensors)
    config = replace(config, decoder=replace(config.decoder, absence=absence),
                     aqr=_published_aqr(config.aqr, aqr_mode))
    detector = Detector(config)
    expected = detector.state_dict()
    state: dict[str, Tensor] = {}
    ignored, unknown = [], []
    for key, tensor in tensors.items():
        name = _aqr_name(key, aqr_mode) if key.startswith(_AQR) else our_name(key)
        if key == _KERNEL and _LOG_SIGMA in expected:
            state[_LOG_SIGMA] = _log_sigma(tensor)
        elif _IGNORED.fullmatch(key) or (aqr_mode == "off" and _is_aqr(key)) or (
                name == "decoder.router.bias_scale" and name not in expected):
            ignored.append(key)
        elif name is None or name not in expected:
            unknown.append(key)
        else:
            state[name] = fitted(key, tensor, expected[name].shape).to(expected[name].dtype)
    missing = [name for name in expected
               if name not in state and not name.endswith("num_batches_tracked")]
    if unknown or missing:
        raise ValueError(f"the checkpoint does not fit {config.name}: missing {_listed(missing)}; "
                         f"unexpected {_listed(unknown)}")
    for name in expected.keys() - state.keys():
        state[name] = torch.zeros((), dtype=torch.int64)
    detector.load_state_dict(state, assign=True)
    detector.metadata = {"trained": True, "source": "imported from an mmdet3d-format checkpoint"}
    return ImportedNetwork(detector.eval(), tuple(ignored))


def our_name(key: str) -> str | None:
    """Name of a published key in this package; None if no rule knows it."""
    for pattern, template in _RULES:
        match = re.fullmatch(pattern, key)
        if match:
            return _filled(template, match.groups())
    return None


def fitted(key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """Bring a published tensor to the shape that it has here.

    Weights of sparse convolutions come as (out, z, y, x, in) from spconv 2 and as
    (z, y, x, in, out) from spconv 1 and mmcv; which one is told by the shape. Grouped 1×1
    convolutions of the task heads are split by decoder layer.

    Raises:
        ValueError: It cannot be the same tensor.
    """
    tensor = tensor.detach()
    if tensor.shape == shape:
        return tensor.clone()
    if tensor.ndim == 5 and tensor.permute(4, 0, 1, 2, 3).shape == shape:
        return tensor.permute(4, 0, 1, 2, 3).contiguous()
    grouped = ".task_heads." in key and tensor.numel() == shape.numel() and len(shape) >= 2 and (
        tensor.shape[0] == shape[0] * shape[1])
    if grouped or (tensor.numel() == 1 == shape.numel()):
        return tensor.reshape(shape).clone()
    raise ValueError(f"{key} has shape {tuple(tensor.shape)}; expected {tuple(shape)} here: is it "
                     "a checkpoint of another network?")


def _published_aqr(config: AqrConfig, mode: str) -> AqrConfig:
    return replace(config, mode=mode,
                   weight_map=replace(config.weight_map, reference=True),
                   attention_bias=replace(config.attention_bias, reference=True))


def _is_aqr(key: str) -> bool:
    return key.startswith((_AQR, _HEAD + "attention_bias_generator."))


def _aqr_name(key: str, mode: str) -> str | None:
    ours = generator_names().get(key.removeprefix(_AQR))
    return None if ours is None or mode == "off" else f"decoder.router.generator.{ours}"


def _log_sigma(kernel: Tensor) -> Tensor:
    """Of a Gaussian kernel (n, n): neighbour / centre = exp(-1 / 2σ²)."""
    middle = kernel.shape[0] // 2
    ratio = kernel[middle, middle + 1] / kernel[middle, middle]
    return (-2 * ratio.log()).rsqrt().log()


def _filled(template: str, groups: Sequence[str]) -> str:
    """Put groups into the holes ``{n}``, and numbers that count from elsewhere into ``{n-k}``."""
    for hole, number, shift in re.findall(r"(\{(\d)(-\d)?\})", template):
        group = groups[int(number)]
        template = template.replace(hole, str(int(group) + int(shift)) if shift else group)
    return template


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return (shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"
