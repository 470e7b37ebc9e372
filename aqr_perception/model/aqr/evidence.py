"""What speaks for and against each sensor: over a whole frame, at a query's place, at a token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aqr_perception.model.aqr.agreement import (
    GROUPS,
    SHIFTS,
    Descriptors,
    Edge,
    SensorMaps,
    agreement,
    cameras_against_cameras,
    pooled,
    shift_correlation,
)
from aqr_perception.model.aqr.config import GateConfig
from aqr_perception.model.aqr.places import bev_coordinates, metres, project, sample
from aqr_perception.model.aqr.routing import PlainFacts, Scene
from aqr_perception.model.aqr.standard import Standard
from aqr_perception.model.aqr.statistics import (
    PIXEL_FACTS,
    map_statistics,
    plain_facts,
    windowed,
)
from aqr_perception.model.aqr.temporal import (
    TemporalEvidence,
    TemporalMemory,
    compare,
    trust_before,
)
from aqr_perception.model.constants import kept, picked

AGE_LIMIT = 2.0
"""Ages [s] beyond count as this."""


@dataclass(frozen=True)
class Evidence:
    """Facts about a frame before anything is made of them.

    Attributes:
        maps: Narrow maps of all sensors.
        along: (B, V, W, E) what the bird's-eye view holds behind each image column.
        columns: (B, V, 2·GROUPS, W) agreement of each image column with the bird's-eye view and
            with its own last frame.
        now: Edge (B, S, S) of this frame's sensors; its diagonal is empty.
        shifts: (B, V, 5) cosine of picture and bird's-eye view at a few shifts.
        time: Comparison with the frame before.
        trusted: (B, S) what was thought of the sensors in the frame before.
        nodes: (B, S, n) facts of each sensor alone.
        cells: (B, c + GROUPS + 2, H, W) the bird's-eye view, its agreement with its last frame,
            and the points in two windows.
    """

    maps: SensorMaps
    along: Tensor
    columns: Tensor
    now: Edge
    shifts: Tensor
    time: TemporalEvidence
    trusted: Tensor
    nodes: Tensor
    cells: Tensor


WHO_MEETS = 3
"""Numbers that say which kinds of sensors an edge joins."""


def node_width(config: GateConfig) -> int:
    """Number of facts of each sensor alone."""
    return 2 * config.channels + PIXEL_FACTS + 2 * (GROUPS + 1) + 3 + 1


def gather(scene: Scene, before: TemporalMemory | None, descriptors: Descriptors,
           config: GateConfig) -> Evidence:
    """Collect the evidence that all queries share."""
    facts = plain_facts(scene)
    counted = facts.occupancy
    maps = descriptors(scene, counted)
    along = descriptors.lidar_columns(maps.bev, maps.rays, scene.detection_range)
    both = maps.present[:, :1] & maps.present[:, 1:]
    switch = float(config.agreement)
    same = agreement(maps.columns, along) * both[..., None, None] * switch
    shifts = shift_correlation(maps.columns, along) * both[..., None] * switch
    time = compare(scene, maps, before, config, descriptors)
    trusted = trust_before(maps, before, config)
    columns = torch.cat([same, time.columns], dim=-1).transpose(2, 3)
    cells = torch.cat([maps.bev, time.bev, windowed(counted)], dim=1)
    return Evidence(maps, along, columns, _edges_now(scene, maps, same, both, switch), shifts,
                    time, trusted, _nodes(scene, facts, maps, time, config), cells)


def _edges_now(scene: Scene, maps: SensorMaps, same: Tensor, both: Tensor, switch: float) -> Edge:
    """Edge (B, S, S) between this frame's sensors."""
    lidar = pooled(same, torch.ones_like(same[..., 0], dtype=torch.bool))
    values, shared = cameras_against_cameras(
        maps.columns, maps.middle, maps.columns, maps.image_from_model, maps.present[:, 1:],
        scene.image_size)
    others = ~torch.eye(shared.shape[1], dtype=torch.bool, device=shared.device)
    shared = shared & maps.present[:, 1:, None, None] & others[..., None]
    cameras = pooled(values, shared)
    count, sensors = maps.present.shape
    agreed = same.new_zeros(count, sensors, sensors, GROUPS)
    overlap = same.new_zeros(count, sensors, sensors)
    agreed[:, 0, 1:] = agreed[:, 1:, 0] = lidar.values
    overlap[:, 0, 1:] = overlap[:, 1:, 0] = lidar.overlap * both
    agreed[:, 1:, 1:], overlap[:, 1:, 1:] = cameras.values, cameras.overlap
    return Edge(agreed * switch, overlap * switch)


def _nodes(scene: Scene, seen: PlainFacts, maps: SensorMaps, time: TemporalEvidence,
           config: GateConfig) -> Tensor:
    """(B, S, node_width) facts of each sensor alone."""
    occupied = (maps.occupancy > 0).to(maps.bev.dtype)
    facts = torch.stack([maps.occupancy.mean((1, 2, 3)), occupied.mean((1, 2, 3)),
                         maps.occupancy.amax((1, 2, 3))], dim=-1)
    lidar = torch.cat([map_statistics(maps.bev, occupied), facts], dim=-1)
    pixels = seen.pixels.to(lidar.dtype)
    cameras = torch.cat([map_statistics(maps.images), pixels], dim=-1)
    looks = torch.cat([lidar[:, None], cameras], dim=1)
    own = torch.diagonal(time.moved.features, dim1=1, dim2=2).transpose(1, 2)
    motion = time.motion[:, None].expand(-1, looks.shape[1], -1)
    age = scene.batch.ages.to(looks.dtype).clamp(-AGE_LIMIT, AGE_LIMIT) * float(config.time)
    nodes = [looks, own, time.still.features, motion, age[..., None]]
    return torch.cat(nodes, dim=-1)


class SensorGraph(nn.Module):
    """Lets the sensors compare notes: who disagrees with most of the others is in the minority.

    Two rounds of messages between all pairs of sensors of this frame, and one from those of the
    last. Cameras share their weights, so that their order does not matter.
    """

    ROUNDS = 2

    def __init__(self, config: GateConfig) -> None:
        super().__init__()
        width, facts = config.hidden, node_width(config)
        now, before = GROUPS + 1 + len(SHIFTS), GROUPS + 1
        self.standard_node = Standard(2, facts)
        self.standard_now, self.standard_before = Standard(2, now), Standard(4, before)
        self.lidar_node = nn.Linear(facts + 2, width)
        self.camera_node = nn.Linear(facts + 2, width)
        self.edge_now = nn.Linear(now + WHO_MEETS, width)
        self.edge_before = nn.Linear(before + WHO_MEETS, width)
        self.source = nn.ModuleList(nn.Linear(width, width) for _ in range(self.ROUNDS))
        self.update = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(self.ROUNDS))

    def forward(self, evidence: Evidence) -> Tensor:
        """(B, S, hidden) what is to be thought of each sensor."""
        present = evidence.maps.present
        camera = torch.arange(present.shape[1], device=present.device).clamp(max=1)
        meets = camera[:, None] * camera  # 1 where two cameras meet
        own = torch.eye(len(camera), dtype=meets.dtype, device=meets.device)
        now, before = evidence.now, evidence.time.moved
        there_now, there_before = now.overlap > 0, before.overlap > 0

        nodes = torch.cat([self.standard_node(evidence.nodes, camera, present),
                           evidence.trusted[..., None] * present[..., None],
                           present[..., None].to(evidence.nodes.dtype)], dim=-1)
        hidden = torch.cat([self.lidar_node(nodes[:, :1]), self.camera_node(nodes[:, 1:])], dim=1)
        hidden = hidden.relu()
        features = torch.cat([now.features, _shifts_of_edges(evidence.shifts)], dim=-1)
        edge_now = self.edge_now(_with_kind(self.standard_now(features, meets, there_now)))
        edge_before = self.edge_before(_with_kind(
            self.standard_before(before.features, meets + 2 * own, there_before)))
        past = _mean(edge_before.relu(), there_before)
        for source, update in zip(self.source, self.update):
            messages = (edge_now + source(hidden)[:, None]).relu()
            heard = _mean(messages, there_now)
            hidden = hidden + update(torch.cat([hidden, heard, past], dim=-1)).relu()
        return hidden


def _shifts_of_edges(shifts: Tensor) -> Tensor:
    """(B, V, n) of the LiDAR against each camera → (B, S, S, n); 0 between cameras."""
    count, views, numbers = shifts.shape
    edges = shifts.new_zeros(count, views + 1, views + 1, numbers)
    edges[:, 0, 1:] = edges[:, 1:, 0] = shifts
    return edges


def _with_kind(edges: Tensor) -> Tensor:
    """(B, S, S, n) → (B, S, S, n + WHO_MEETS), which kinds of sensors meet."""
    kind = _kinds(edges.shape[1], edges)
    return torch.cat([edges, kind.expand(len(edges), -1, -1, -1)], dim=-1)


@kept
def _kinds(sensors: int, like: Tensor) -> Tensor:
    """(S, S, WHO_MEETS), 1 where such sensors meet."""
    kind = like.new_zeros(sensors, sensors, WHO_MEETS)
    kind[0, :, 0] = kind[:, 0, 1] = kind[1:, 1:, 2] = 1
    return kind


def _mean(messages: Tensor, counted: Tensor) -> Tensor:
    """(B, S, S, n) messages to each row's sensor → (B, S, n) mean over those that are counted."""
    weight = counted.to(messages.dtype)[..., None]
    return (messages * weight).sum(2) / weight.sum(2).clamp(min=1.0)


class QueryEvidence(nn.Module):
    """What each sensor shows at each query's own place."""

    def __init__(self, config: GateConfig) -> None:
        super().__init__()
        narrow, width = config.channels, config.hidden
        self.agreement = config.agreement
        self.lidar = nn.Linear(2 * narrow + 2 * GROUPS + 3, width)
        self.camera = nn.Linear(3 * narrow + 2 * GROUPS + 4, width)

    def forward(self, scene: Scene, reference_points: Tensor, evidence: Evidence) -> Tensor:
        """(B, Q, S, hidden) before the activation.

        Args:
            scene: The frames.
            reference_points: (B, Q, 3) in [0, 1].
            evidence: Of the frames.
        """
        maps = evidence.maps
        narrow = maps.bev.shape[1]
        points = metres(reference_points.to(maps.bev.dtype), scene.detection_range)
        places, visible = project(points[:, None], maps.image_from_model, scene.image_size)
        seen = (visible & maps.present[:, 1:, None]).to(maps.bev.dtype)[..., None]  # (B, V, Q, 1)
        at_cell = sample(evidence.cells, bev_coordinates(points, scene.detection_range))
        own, still, points_near = at_cell.split([narrow, GROUPS, 2], dim=-1)
        shown = sample(maps.images.flatten(0, 1), places.flatten(0, 1))
        shown = shown.unflatten(0, seen.shape[:2]) * seen  # (B, V, Q, c)
        agreed = sample_rows(evidence.columns, places[..., 0]) * seen
        count = seen.sum(1)
        switch = float(self.agreement)
        others = (shown.sum(1, keepdim=True) - shown) / (count[:, None] - 1).clamp(min=1.0)
        overlapping = seen * (count[:, None] > 1) * switch
        product = own[:, None] * shown * switch
        lidar = torch.cat([own, still, points_near,
                           agreed[..., :GROUPS].sum(1) / count.clamp(min=1.0), count,
                           product.sum(1) / count.clamp(min=1.0)], dim=-1)
        cameras = torch.cat([shown, agreed, points_near[:, None].expand(*shown.shape[:3], -1),
                             seen, product, others * shown * overlapping, overlapping], dim=-1)
        return torch.cat([self.lidar(lidar)[:, :, None],
                          self.camera(cameras).transpose(1, 2)], dim=2)


def sample_rows(rows: Tensor, u: Tensor) -> Tensor:
    """Sample (B, V, n, W) numbers a column at u (B, V, Q) in -1..1: (B, V, Q, n)."""
    places = torch.stack([u, torch.zeros_like(u)], dim=-1)
    sampled = sample(rows[..., None, :].flatten(0, 1), places.flatten(0, 1))
    return sampled.unflatten(0, rows.shape[:2])


class TokenEvidence(nn.Module):
    """What speaks for and against each token."""

    def __init__(self, config: GateConfig, layers: int) -> None:
        super().__init__()
        narrow, width = config.channels, config.hidden // 2
        self.unread = config.initial_logit
        self.lidar = nn.Linear(narrow + 2 * GROUPS + 3, width)
        self.camera = nn.Linear(narrow + 2 * GROUPS, width)
        self.sensor = nn.Linear(config.hidden, width)
        self.head = nn.Linear(width, layers)

    def forward(self, scene: Scene, evidence: Evidence, hidden: Tensor) -> Tensor:
        """(L, B, T) logits of every decoder layer, in the order of the memory's tokens.

        Args:
            scene: The frames.
            evidence: Of the frames.
            hidden: (B, S, hidden) of the sensors.
        """
        sensor = self.sensor(hidden)
        parts = []
        if all(scene.memory.bev_shape):
            parts.append(self._lidar_logits(scene, evidence, sensor[:, :1]))
        if scene.memory.views:
            views = scene.memory.views
            shown = self.camera(self._pictures(evidence, views))
            shown = shown + picked(sensor[:, 1:], 1, views)[:, :, None, None]
            parts.append(self.head(shown.relu()).flatten(1, 3))
        if not parts:
            return hidden.new_zeros(self.head.out_features, len(hidden), 0)
        return torch.cat(parts, dim=1).permute(2, 0, 1)

    @staticmethod
    def _pictures(evidence: Evidence, views: tuple[int, ...]) -> Tensor:
        """(B, len(views), H, W, n) facts of each image token: its own, and those of its column."""
        rows = evidence.maps.images.shape[-2]
        columns = evidence.columns[:, :, :, None].expand(-1, -1, -1, rows, -1)
        facts = torch.cat([evidence.maps.images, columns], dim=2)
        return picked(facts, 1, views).permute(0, 1, 3, 4, 2)

    def _lidar_logits(self, scene: Scene, evidence: Evidence, sensor: Tensor) -> Tensor:
        """(B, H·W, L); cells that attention does not read keep the logit of the start."""
        memory = scene.memory
        height, width = memory.bev_shape
        count, cells = len(memory.tokens), height * width
        if memory.chosen is None:
            index = torch.arange(cells, device=sensor.device).expand(count, -1)
        else:  # the image tokens stand behind the cells and are all chosen
            index = memory.chosen[:, :memory.chosen.shape[1] - (memory.tokens.shape[1] - cells)]
        logits = self.head((self.lidar(self._cells(scene, evidence, index)) + sensor).relu())
        if memory.chosen is None:
            return logits
        whole = logits.new_full((count, cells, logits.shape[-1]), self.unread)
        return whole.scatter(1, index[..., None].expand_as(logits), logits)

    @staticmethod
    def _cells(scene: Scene, evidence: Evidence, index: Tensor) -> Tensor:
        """(B, K, n) facts of cells (B, K), their agreement with the pictures that see them too."""
        maps = evidence.maps
        height, width = maps.bev.shape[-2:]
        facts = evidence.cells.flatten(2)
        facts = facts.gather(2, index[:, None].expand(-1, facts.shape[1], -1)).transpose(1, 2)
        place = torch.stack([(index % width + 0.5) / width, (index // width + 0.5) / height,
                             torch.full_like(index, 0.5, dtype=facts.dtype)], dim=-1)
        places, visible = project(metres(place.to(facts.dtype), scene.detection_range)[:, None],
                                  maps.image_from_model, scene.image_size)
        seen = (visible & maps.present[:, 1:, None]).to(facts.dtype)[..., None]
        agreed = sample_rows(evidence.columns[:, :, :GROUPS], places[..., 0]) * seen
        count = seen.sum(1)
        return torch.cat([facts, agreed.sum(1) / count.clamp(min=1.0), count], dim=-1)
