"""Puts a sensor right that looks past the others: turned on its mount, or showing what was.

What the columns of the pictures show is compared with what the cloud holds along their rays, as
for the gate's evidence (`agreement`), and then (`fitting`) along the rays as they would run if the
cloud were turned about the vertical or lay aside, or if either sensor showed the world from where
the car was some metres ago. The agreement of descriptors peaks where the sensors fit: nothing is
learned for this that the gate does not have. The cloud is compared with the one before it as well
(`likeness`), which tells more sharply whether it moved.

Such a place is a rigid motion in the plane. Once it is believed, the cloud of the next frame is
moved back before the trunks see it, or the projections of the cameras are changed, whichever is to
blame. In the frame in which it is found the network works where the cloud is: the projections are
moved there, which costs nothing, since the trunks have run, and the boxes come back. Which of both
is to blame, the frame before tells: whoever no longer fits what the other showed then has moved.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from aqr_perception.model.aqr.plane import (
    POSES,
    after,
    between,
    driven_on,
    matrices,
    of_places,
    undone,
)
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.aqr.temporal import TemporalEvidence
from aqr_perception.types import Batch

LEAST_DOUBT = 0.02
"""By so much the cloud must fit less what the pictures showed before than the pictures fit what the
cloud did, to be to blame. Wrongly moved clouds move all boxes; wrongly moved pictures move none."""

LIKELIER = 0.02
"""By so much an old cloud is likelier than pictures of what is to come (though a clock may be off
to either side), old pictures than such a cloud, and one thing turned than all cameras alike."""

FADING = 0.8
"""What is left of a suspicion from one frame to the next."""

SEARCHED_BELOW = 0.03
"""On a CPU, places are tried only where the agreement fell so much below what it was."""


@dataclass(frozen=True)
class Alignment:
    """How cloud and cameras lie to each other, a number a frame.

    Attributes:
        place: (B, 3) turn of the cloud against what the cameras show [rad, x to y]; how far the car
            drove since the cloud [m], negative: since the pictures; and how far the cloud lies to
            the right of what they show [m].
        lidar: (B,) bool, the cloud is to blame; else the cameras.
        done: (B, 3) turn [rad], x and y [m]: cloud_from_moved, by which the cloud was moved back.
        motion: (B, 3) working_from_model, by which the projections are moved.
        back: (B, 3) model_from_working, by which the boxes are.
        level: (B,) agreement with it, a mean cosine, when the pictures last told anything.
        told: (B,) bool: those of this frame do.
        suspicion: (B,) that the cloud is to blame, in units of agreement; below 0: the pictures. It
            comes from frames in which the agreement fell, and fades.
        path: (B, P, 4) poses that the car had before, see `plane.driven_on`.
        follows: (B,) bool: all this is known of the frame before, too.
        fixed_from_model: (B, 4, 4) float64 pose that the frame came with.
    """

    place: Tensor
    lidar: Tensor
    done: Tensor
    motion: Tensor
    back: Tensor
    level: Tensor
    told: Tensor
    suspicion: Tensor
    path: Tensor
    follows: Tensor
    fixed_from_model: Tensor

    @property
    def facts(self) -> Tensor:
        """(B, 5), see `AqrReport.put_right`."""
        level = torch.where(self.told, self.level, self.level.new_full((), torch.nan))
        return torch.cat([self.place, self.lidar[:, None].to(self.place.dtype), level[:, None]],
                         dim=1)

    def take(self, index: Tensor) -> Alignment:
        """Reorder frames."""
        return Alignment(*(getattr(self, part.name)[index] for part in fields(Alignment)))


def as_it_came(scene: Scene) -> Alignment:
    """Nothing is put right."""
    poses = scene.batch.fixed_from_model
    zero = torch.zeros(len(poses), 3, device=poses.device)
    path = torch.zeros(len(poses), POSES, 4, device=poses.device)
    return Alignment(zero, zero[:, 0] > 0, zero, zero, zero, zero[:, 0] + 1, zero[:, 0] > 0,
                     zero[:, 0], path, zero[:, 0] > 0, poses)


def suspected(prior: Alignment, time: TemporalEvidence, present: Tensor) -> Tensor:
    """(B,) how much less the cloud fits what the pictures showed before than they fit what it did.

    Args:
        prior: What was believed before; suspicions add up, as a place may be found only later.
        time: The frames, put right as they were before, beside those before.
        present: (B, S) bool.
    """
    there = present[:, 1:].to(prior.place.dtype)
    pictures_now, cloud_now = ((edge.mean(-1) * there).sum(1) for edge in (
        time.moved.values[:, 1:, 0], time.moved.values[:, 0, 1:]))
    return prior.suspicion + (pictures_now - cloud_now) / there.sum(1).clamp(min=1.0) * time.valid


def to_blame(place: Tensor, prior: Alignment, suspicion: Tensor, doubts: Tensor) -> Tensor:
    """(B,) bool: the cloud is, and not the pictures.

    Args:
        place: (B, 3) that was found.
        prior: What was believed before; what goes on the same way has the same cause.
        suspicion: (B,) see `suspected`; 0 where there was nothing to compare with.
        doubts: (B, 2) how much less than usual the gate trusts the LiDAR, and the cameras; it
            decides about turns where nobody is suspected.
    """
    likely = suspicion + torch.where(place[:, 1] < 0, -LIKELIER, LIKELIER)
    at_first = torch.where(place[:, 1] != 0, place[:, 1] > 0, doubts[:, 0] >= doubts[:, 1])
    cloud = torch.where(suspicion != 0, likely >= LEAST_DOUBT, at_first)
    goes_on = (place * prior.place > 0).any(-1)
    return torch.where(goes_on, prior.lidar, cloud) & (place != 0).any(-1)


def carried(batch: Batch, before: Alignment, valid: Tensor, max_motion: float) -> Alignment:
    """What was found in the frame before, for this one.

    Args:
        batch: The frames.
        before: Of the frames before.
        valid: (B,) bool: there are such.
        max_motion: Frames further apart than this [m] do not belong together.
    """
    step, known = between(before.fixed_from_model, batch.fixed_from_model)
    # AQR must have a say over both.
    valid = (valid & known & (batch.modulation > 0).all(1)
             & (step[:, 1:].norm(dim=1) <= max_motion))
    step = step * valid[:, None]
    place = before.place * valid[:, None]
    lidar = before.lidar & valid
    path = driven_on(before.path * valid[:, None, None], step)
    whole = of_places(place[:, None], path)[:, 0]
    nothing = torch.zeros_like(whole)
    done, motion = (torch.where(here[:, None], whole, nothing) for here in (lidar, ~lidar))
    return replace(before, place=place, lidar=lidar, done=done, motion=motion, back=nothing,
                   level=before.level.where(valid, torch.ones_like(before.level)),
                   suspicion=FADING * before.suspicion * valid, path=path, follows=valid,
                   fixed_from_model=batch.fixed_from_model)


def settled(place: Tensor, lidar: Tensor, prior: Alignment) -> Alignment:
    """What is found after the cloud was moved back as ``prior`` has it.

    Args:
        place: (B, 3) see `Alignment`.
        lidar: (B,) likewise.
        prior: What was believed before.
    """
    motion = after(undone(prior.done), of_places(place[:, None], prior.path)[:, 0])
    back = torch.where(lidar[:, None], undone(motion), prior.done)
    return replace(prior, place=place, lidar=lidar, motion=motion, back=back)


def spared(wanted: Tensor) -> bool:
    """Whether there is nothing to do; a GPU would have to be asked, and does it all the same."""
    return wanted.device.type == "cpu" and not bool(wanted.any())


def put_right(scene: Scene, alignment: Alignment) -> Scene:
    """The scene as it is where the cloud is: its projections, and the pose of that place."""
    batch = scene.batch
    model_from_working = matrices(undone(alignment.motion).double())
    projections = batch.image_from_lidar @ model_from_working[:, None].to(
        batch.image_from_lidar.dtype)
    poses = batch.fixed_from_model @ matrices(alignment.back.double())
    return replace(scene, batch=replace(batch, image_from_lidar=projections,
                                        fixed_from_model=poses))


def moved_cloud(batch: Batch, alignment: Alignment) -> Batch:
    """The frames with their clouds moved back."""
    turn, x, y = undone(alignment.done).index_select(0, batch.point_frame).unbind(1)
    sine, cosine = turn.sin(), turn.cos()
    points = batch.points
    moved = torch.stack([cosine * points[:, 0] - sine * points[:, 1] + x,
                         sine * points[:, 0] + cosine * points[:, 1] + y], dim=1)
    return replace(batch, points=torch.cat([moved, points[:, 2:]], dim=1))


def moved_back(boxes: Tensor, alignment: Alignment) -> Tensor:
    """Boxes (L, B, Q, 10) as the head says them, from where the network worked."""
    if spared(alignment.back):
        return boxes
    turn, x, y = alignment.back.to(boxes.dtype)[..., None].unbind(1)
    sine, cosine = turn.sin(), turn.cos()

    def turned(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return cosine * first - sine * second, sine * first + cosine * second

    cx, cy = turned(boxes[..., 0], boxes[..., 1])
    heading_cosine, heading_sine = turned(boxes[..., 7], boxes[..., 6])
    vx, vy = turned(boxes[..., 8], boxes[..., 9])
    return torch.cat([torch.stack([cx + x, cy + y], -1), boxes[..., 2:6],
                      torch.stack([heading_sine, heading_cosine, vx, vy], -1)], dim=-1)
