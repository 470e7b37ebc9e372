"""The gate's eye alone: what it thinks of sensors, places and tokens, without the decoder.

Whom to trust is known in training (`gate_labels`), and what the gate looks at comes from trunks
that stay as they are. So a pool of frames runs through them once, and the gate looks at what came
out as often as it needs: a step costs a tenth of one of the whole network. It learns to act
together with the decoder afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.gate import GateRouter
from aqr_perception.model.aqr.history import look_at
from aqr_perception.model.aqr.output import Contrast, GateLabels, GateLogits
from aqr_perception.model.aqr.places import full_precision, metres
from aqr_perception.model.aqr.routing import Router, Scene
from aqr_perception.model.aqr.statistics import plain_facts
from aqr_perception.model.detector import Detector
from aqr_perception.model.inputs import to_device
from aqr_perception.training.criterion import Losses
from aqr_perception.training.dataset import FrameSource
from aqr_perception.training.engine import Trainer, TrainingSettings
from aqr_perception.training.gate_labels import labels_of
from aqr_perception.types import Batch, Mounting


@dataclass(frozen=True)
class Before:
    """Frames before those of a batch, after the trunks.

    Attributes:
        scene: What came out.
        there: (B,) bool, False where there is none.
    """

    scene: Scene
    there: Tensor


class GateTask(nn.Module):
    """The gate by itself.

    Args:
        router: Of a detector.

    Raises:
        ValueError: It is no gate that learns from what it sees.
    """

    def __init__(self, router: Router) -> None:
        super().__init__()
        if not isinstance(router, GateRouter) or not router.config.learned:
            raise ValueError("a gate alone is to be trained, and the network has none that looks "
                             "at frames; expected aqr.mode gate with learned: true")
        self.router = router

    def forward(self, scene: Scene, before: Sequence[Before]
                ) -> tuple[GateLogits, Contrast | None]:
        """Judge sensors, places and tokens.

        Args:
            scene: B frames.
            before: Frames before them, the earliest first, each judged in its turn; none where the
                gate does not compare frames.

        Returns:
            Logits, and the contrast for the agreement loss.
        """
        with full_precision(scene.memory.tokens):
            history = None
            for one in before:
                with torch.no_grad():
                    history = self.router.remember(replace(one.scene, history=history))
                index = torch.arange(len(one.there), device=one.there.device)
                history = history.take(index, one.there)
            return self.router.judge(replace(scene, history=history))


@dataclass(frozen=True)
class Looked:
    """A batch after the trunks.

    Attributes:
        number: Of the batch.
        scene: What came out.
        before: Frames before, the earliest first.
        labels: Whom to trust.
    """

    number: int
    scene: Scene
    before: tuple[Before, ...]
    labels: GateLabels


class GateTrainer(Trainer):
    """`Trainer` of the gate's eye alone; what a run of it is, does not depend on interruptions.

    Args:
        detector: With a gate. All else stays as it is.
        source: Frames with truth.
        mounting: The rig's.
        settings: How; all else is frozen whatever they say.
        folder: Of the run.
        device: Where.
        pool: Number of batches that are looked at again and again; each takes 6 MiB a frame on
            disk, in the folder, until the run ends or the next pool takes its place.
        looks: How often a pool is gone through before that; 0: it is the only one.
        command: What the weights say they were trained with.

    Raises:
        ValueError: See `Trainer`; or there is no gate to train.
    """

    def __init__(self, detector: Detector, source: FrameSource, mounting: Mounting,
                 settings: TrainingSettings, folder: Path, device: torch.device, pool: int,
                 looks: int = 0, command: str = "") -> None:
        if pool < 1 or looks < 0:
            raise ValueError(f"the pool holds {pool} batches, each looked at {looks} times; "
                             "expected 1 or more, and 0 or more")
        self.pool, self.looks = pool, looks
        self._looked: dict[int, Looked] = {}
        super().__init__(detector, source, mounting,
                         replace(settings, freeze_baseline=True, freeze_eye=False), folder, device,
                         command)

    def _task(self) -> nn.Module:
        return GateTask(self.detector.decoder.router)

    def _batches(self) -> Iterator[Looked]:
        for step in range(self.step, self.settings.steps):
            epoch, place = divmod(step, self.pool)
            order = np.random.default_rng([self.settings.seed, 2, epoch]).permutation(self.pool)
            first = epoch // self.looks * self.pool if self.looks else 0
            number = first + int(order[place])
            if number not in self._looked:
                if self._looked and min(self._looked) < first:
                    self._looked.clear()
                self._looked[number] = self._look(number)
            yield self._looked[number]

    def _step_losses(self, item: Looked) -> Losses:
        logits, contrast = self.forward(item.scene, item.before)
        return self.criterion.of_gate(logits, contrast, item.labels)

    @torch.no_grad()
    def _look(self, number: int) -> Looked:
        """Run a batch through the trunks, and find out whom to trust in it."""
        item = self.dataset[number]
        self.detector.eval()
        scene, past = self._seen(item.batch, placed=True), item.before
        before: tuple[Before, ...] = ()
        if past is not None:
            before = tuple(Before(self._seen(batch), there.to(self.device)) for batch, there in (
                (past.earlier, past.earlier_there), (past.batch, past.there)))
        assert item.faults is not None
        logits, _ = GateTask(self.detector.decoder.router)(scene, before)
        places = metres(scene.reference_points, self.detector.config.detection_range)
        labels = labels_of(logits, item.faults, item.batch, self.detector.config,
                           places[None].double().cpu().numpy())
        return Looked(number, scene, before, labels)

    def _seen(self, batch: Batch, placed: bool = False) -> Scene:
        """What the trunks make of a batch, without all that the gate never reads."""
        scene = look_at(self.detector, to_device(batch, self.device), placed=placed)
        # Copies: a view would keep all of what it is a part of.
        memory = replace(scene.memory, tokens=_on_disk(scene.memory.tokens.half(), self.folder),
                         positions=scene.memory.positions[:, :0].clone())
        bare = replace(scene.batch, images=scene.batch.images[..., :0].clone(),
                       points=scene.batch.points[:0].clone(),
                       point_frame=scene.batch.point_frame[:0].clone())
        return replace(scene, memory=memory, batch=bare, facts=plain_facts(scene))

    def _save_batch(self, item: Any) -> Path:
        return super()._save_batch(self.dataset[item.number])

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "gate_alone": self.pool, "looks": self.looks}


def _on_disk(tensor: Tensor, folder: Path) -> Tensor:
    """The same in a file that the system reads as needed, and deletes with the process; on a GPU as
    it is.
    """
    if tensor.device.type != "cpu" or not tensor.numel():
        return tensor
    with tempfile.NamedTemporaryFile(dir=folder, prefix="pool_") as file:
        kept = torch.from_file(file.name, shared=True, size=tensor.numel(), dtype=tensor.dtype)
    return kept.view(tensor.shape).copy_(tensor)
