"""Puts a sensor right that looks past the others: turned on its mount, or showing what was.

What the columns of the pictures show is compared with what the cloud holds along their rays, as
for the gate's evidence (`agreement`), and then along the rays as they would run if the cloud were
turned about the vertical or lay aside, or if either sensor showed the world from where the car was
some metres ago. The agreement of descriptors peaks where the sensors fit: nothing is learned for
this that the gate does not have.

Such a place is a rigid motion in the plane. Once it is believed, the cloud of the next frame is
moved back before the trunks see it, or the projections of the cameras are changed, whichever is to
blame. In the frame in which it is found the network works where the cloud is: the projections are
moved there, which costs nothing, since the trunks have run, and the boxes come back. Which of both
is to blame, the frame before tells: whoever no longer fits what the other showed then has moved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from aqr_perception.model.aqr.agreement import Descriptors, SensorMaps
from aqr_perception.model.aqr.routing import Scene
from aqr_perception.model.aqr.temporal import TemporalEvidence
from aqr_perception.model.constants import constant
from aqr_perception.model.position import inverse
from aqr_perception.types import Batch

TURNS = (-2.5, 2.5, *(5.0 * step for step in range(-9, 10) if step))
"""Turns that are tried [degrees]."""

DISTANCES = (1.0, 2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 15.0, 19.0, 23.0, 28.0)
"""Distances that are tried [m], both ways along the car's path."""

SIDES = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
"""Distances to the side that are tried [m], to the right."""

FINER = ((-0.5, -0.25, 0.25, 0.5), (-0.12, -0.06, 0.06, 0.12))
"""Around the best of those, in two rounds, in parts of 5 degrees, three tenths of the distance and
1 m to the side."""

TURNED_TOO = (-3.0, -1.5, -0.75, 0.75, 1.5, 3.0)
"""Turns that are tried on top of what was found [degrees]."""

LEAST_MOTION = 0.2
"""A car that moved less [m] since the frame before does not say which way it drives."""

LEAST_GAIN = 0.035
"""Agreement (mean cosine) that a place must win to be believed. On a hundred sound frames none won
0.02."""

LEAST_FIT = 0.42
"""And have. Sound sensors agree by 0.58 to 0.73 in simulated frames, by 0.51 in a real one of
nuScenes, and by 0.3 on a car whose sensors the gate does not know: there it is not to be believed.
Nor where pictures are swapped or four of 32 beams are left (0.41 at most anywhere).
"""

LEAST_TOLD = 0.32
"""How much the columns of the pictures must differ, 1 less the square of their mean: 0.05 in black
ones, 0.20 to 0.29 in dark ones, which agree with any place; 0.35 and more otherwise."""

LEAST_CHANGE = 0.02
"""And over the place of the frame before, to take its place."""

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

TRIED = tuple(number for place in (
    *((math.radians(turn), 0.0, 0.0) for turn in TURNS),
    *((0.0, sign * way, 0.0) for way in DISTANCES for sign in (1, -1)),
    *((0.0, 0.0, side) for side in SIDES)) for number in place)
"""All of them, place by place."""

HOLDS = (0.01, 0.3, 0.2)
"""A turn [rad] and distances [m] that differ less from those of the frame before stay."""


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
        gained: (B,) agreement won by it, a mean cosine.
        level: (B,) agreement with it.
        suspicion: (B,) that the cloud is to blame, in units of agreement; below 0: the pictures. It
            comes from frames in which the agreement fell, and fades.
        fixed_from_model: (B, 4, 4) float64 pose that the frame came with.
    """

    place: Tensor
    lidar: Tensor
    done: Tensor
    motion: Tensor
    back: Tensor
    gained: Tensor
    level: Tensor
    suspicion: Tensor
    fixed_from_model: Tensor

    @property
    def facts(self) -> Tensor:
        """(B, 5), see `AqrReport.put_right`."""
        return torch.cat([self.place, self.lidar[:, None].to(self.place.dtype),
                          self.level[:, None]], dim=1)

    def take(self, index: Tensor) -> Alignment:
        """Reorder frames."""
        return Alignment(*(getattr(self, part.name)[index] for part in fields(Alignment)))


def as_it_came(scene: Scene) -> Alignment:
    """Nothing is put right."""
    poses = scene.batch.fixed_from_model
    zero = torch.zeros(len(poses), 3, device=poses.device)
    return Alignment(zero, zero[:, 0] > 0, zero, zero, zero, zero[:, 0], zero[:, 0] + 1,
                     zero[:, 0], poses)


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


def carried(batch: Batch, before: Alignment, valid: Tensor, max_motion: float
            ) -> tuple[Alignment, Tensor]:
    """What was found in the frame before, for this one.

    Args:
        batch: The frames.
        before: Of the frames before.
        valid: (B,) bool: there are such.
        max_motion: Frames further apart than this [m] do not belong together.

    Returns:
        The alignment; and the car's motion since, before_from_now (B, 3): turn, x, y, 0 where
        unknown.
    """
    now, then = batch.fixed_from_model, before.fixed_from_model
    valid = valid & (batch.modulation > 0).all(1)  # AQR must have a say over both
    valid = valid & now.isfinite().all(-1).all(-1) & then.isfinite().all(-1).all(-1)
    eye = torch.eye(4, dtype=now.dtype, device=now.device)
    between = (inverse(then.where(valid[:, None, None], eye))
               @ now.where(valid[:, None, None], eye))
    valid = valid & (between[:, :2, 3].norm(dim=1) <= max_motion)
    step = torch.stack([torch.atan2(between[:, 1, 0], between[:, 0, 0]), between[:, 0, 3],
                        between[:, 1, 3]], dim=1).float() * valid[:, None]
    place = before.place * valid[:, None]
    lidar = before.lidar & valid
    whole = motions(place[:, None], step)[:, 0]
    nothing = torch.zeros_like(whole)
    done, motion = (torch.where(here[:, None], whole, nothing) for here in (lidar, ~lidar))
    return replace(before, place=place, lidar=lidar, done=done, motion=motion, back=nothing,
                   gained=before.gained * valid,
                   level=before.level.where(valid, torch.ones_like(before.level)),
                   suspicion=FADING * before.suspicion * valid, fixed_from_model=now), step


def settled(place: Tensor, lidar: Tensor, prior: Alignment, step: Tensor) -> Alignment:
    """What is found after the cloud was moved back as ``prior`` has it.

    Args:
        place: (B, 3) see `Alignment`.
        lidar: (B,) likewise.
        prior: What was believed before.
        step: (B, 3) see `carried`.
    """
    motion = after(undone(prior.done), motions(place[:, None], step)[:, 0])
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


def matrices(motion: Tensor) -> Tensor:
    """(..., 3) turn, x, y → (..., 4, 4)."""
    turn, x, y = motion.unbind(-1)
    sine, cosine, zero, one = turn.sin(), turn.cos(), torch.zeros_like(x), torch.ones_like(x)
    rows = [cosine, -sine, zero, x, sine, cosine, zero, y, zero, zero, one, zero,
            zero, zero, zero, one]
    return torch.stack(rows, dim=-1).unflatten(-1, (4, 4))


def motions(places: Tensor, step: Tensor) -> Tensor:
    """(B, H, 3) places → (B, H, 3) cloud_from_model in the plane: turn, x, y.

    A distance is driven as the car drove since the frame before, at constant speed and rate of
    turn. With V(a) = [[sin a, cos a - 1], [1 - cos a, sin a]] / a the exponential map of the plane
    has translation V(a)·v, so that of a share s of the motion is V(s·a) V(a)⁻¹ s·translation.

    Args:
        places: See `Alignment.place`; distances count nothing where the car did not move.
        step: (B, 3) before_from_now: turn, x, y.
    """
    way = step[:, 1:].norm(dim=1, keepdim=True)
    share = places[..., 1] / way.clamp(min=LEAST_MOTION) * (way > LEAST_MOTION)
    turn = step[:, :1]
    (ahead, aside), (new_ahead, new_aside) = _path(turn), _path(share * turn)
    size = ahead.square() + aside.square()  # V is a multiple of a rotation: complex division
    vx = (ahead * step[:, 1:2] + aside * step[:, 2:3]) / size * share
    vy = (ahead * step[:, 2:3] - aside * step[:, 1:2]) / size * share
    return torch.stack([places[..., 0] + share * turn,
                        new_ahead * vx - new_aside * vy + places[..., 2],
                        new_aside * vx + new_ahead * vy], dim=-1)


def _path(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Entries of V: sin a / a and (1 - cos a) / a."""
    small = angle.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(angle), angle)
    return (torch.where(small, torch.ones_like(angle), safe.sin() / safe),
            torch.where(small, angle / 2, (1 - safe.cos()) / safe))


def after(second: Tensor, first: Tensor) -> Tensor:
    """Two motions (..., 3) in the plane, one after the other: second · first."""
    turn, x, y = second.unbind(-1)
    sine, cosine = turn.sin(), turn.cos()
    return torch.stack([turn + first[..., 0], cosine * first[..., 1] - sine * first[..., 2] + x,
                        sine * first[..., 1] + cosine * first[..., 2] + y], dim=-1)


def undone(motion: Tensor) -> Tensor:
    """(..., 3) inverse of a motion in the plane."""
    turn, x, y = motion.unbind(-1)
    sine, cosine = turn.sin(), turn.cos()
    return torch.stack([-turn, -cosine * x - sine * y, sine * x - cosine * y], dim=-1)


def fit(maps: SensorMaps, moved: Tensor, descriptors: Descriptors,
        detection_range: tuple[float, ...]) -> Tensor:
    """How well cloud and cameras agree if the cloud lay so: (B, H) mean cosine over the columns.

    Args:
        maps: Of the frames.
        moved: (B, H, 3) motions of what their rays hit.
        descriptors: Of the gate.
        detection_range: Of the bird's-eye view.
    """
    batch, views, width, depths = maps.rays.shape[:4]
    points = maps.rays[..., :2].flatten(1, 3)[:, None]  # (B, 1, N, 2)
    sine, cosine = moved[..., :1].sin(), moved[..., :1].cos()
    x = cosine * points[..., 0] - sine * points[..., 1] + moved[..., 1:2]
    y = sine * points[..., 0] + cosine * points[..., 1] + moved[..., 2:3]
    points = torch.stack([x, y], dim=-1).view(batch, -1, width, depths, 2)
    along = descriptors.lidar_columns(maps.bev, points, detection_range)
    same = (along.unflatten(1, (-1, views)) * maps.columns[:, None]).sum(-1).mean(-1)
    there = maps.present[:, None, 1:].to(same.dtype)
    return (same * there).sum(-1) / there.sum(-1).clamp(min=1.0)


def agreed(maps: SensorMaps, along: Tensor) -> Tensor:
    """`fit` as things are: (B,); ``along`` (B, V, W, E) describes the rays."""
    same = (maps.columns * along).sum(-1).mean(-1)
    there = maps.present[:, 1:].to(same.dtype)
    return (same * there).sum(-1) / there.sum(-1).clamp(min=1.0)


def telling(maps: SensorMaps) -> Tensor:
    """(B,) bool: the pictures show enough for a place to be found."""
    differ = 1 - maps.columns.mean(dim=2).square().sum(-1)
    there = maps.present[:, 1:].to(differ.dtype)
    return (differ * there).sum(1) >= LEAST_TOLD * there.sum(1).clamp(min=1.0)


def search(scene: Scene, maps: SensorMaps, prior: Alignment, step: Tensor,
           descriptors: Descriptors) -> tuple[Tensor, Tensor, Tensor]:
    """Find the place where cloud and cameras fit best.

    Args:
        scene: The frames, put right by ``prior``.
        maps: Theirs.
        prior: What is believed so far.
        step: (B, 3) the car's motion, see `carried`.
        descriptors: Of the gate.

    Returns:
        (B, 3) the place; its agreement (B,), and what it won over none.
    """
    def scores(places: Tensor) -> Tensor:
        moved = after(undone(prior.done)[:, None], after(motions(places, step),
                                                         undone(prior.motion)[:, None]))
        return fit(maps, moved, descriptors, scene.detection_range)

    tried = constant(TRIED, step).view(1, -1, 3).expand(len(step), -1, -1)
    places = torch.cat([torch.zeros_like(tried[:, :1]), prior.place[:, None], tried], dim=1)
    found = scores(places)
    best, score = _best(places, found)
    reach = torch.stack([(best[..., 0] != 0) * math.radians(5.0), best[..., 1] * 0.3,
                         (best[..., 2] != 0).to(best.dtype)], dim=-1)
    turned = constant([math.radians(turn) for turn in TURNED_TOO], step)
    steps = [constant(parts, step)[None, :, None] * reach for parts in FINER]
    for more in (*steps, F.pad(turned[None, :, None], (0, 2))):
        near = best + more
        best, score = _best(torch.cat([best, near], dim=1), torch.cat([score, scores(near)], dim=1))
    stays = score < found[:, 1:2] + LEAST_CHANGE
    best = torch.where(stays[..., None], prior.place[:, None], best)
    score = torch.where(stays, found[:, 1:2], score)
    gained = score - found[:, :1]
    wins = (gained >= LEAST_GAIN) & (score >= LEAST_FIT)
    place = (best * wins[..., None])[:, 0]
    holds = ((place - prior.place).abs() < constant(HOLDS, place)).all(-1) & (
        (place != 0) == (prior.place != 0)).all(-1)
    return (torch.where(holds[:, None], prior.place, place),
            torch.where(wins, score, found[:, :1])[:, 0], (gained * wins)[:, 0])


def _best(places: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, 3) and (B, 1): the first of the highest."""
    score, at = scores.max(dim=1, keepdim=True)
    return places.gather(1, at[..., None].expand(-1, -1, 3)), score
