from __future__ import annotations

import pytest
import torch
from golden import Golden
from test_matcher import golden_targets

from aqr_perception.training.denoising import DenoisingConfig, make_denoising
from aqr_perception.training.targets import BACKGROUND, Targets

RANGE = torch.tensor([-54.0, -54.0, -5.0, 54.0, 54.0, 3.0])


def objects(count: int, seed: int = 0) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 9, generator=generator)
    boxes[:, :2] = 80 * boxes[:, :2] - 40
    boxes[:, 2] -= 1.5
    return Targets(boxes, torch.arange(count) % BACKGROUND)


def test_shifts_stay_within_the_box_and_large_ones_become_background():
    targets = [objects(7), objects(3, seed=1)]
    made = make_denoising(targets, 100, RANGE, DenoisingConfig(groups=5),
                          generator=torch.Generator().manual_seed(0))
    assert made.count == 5 * 7
    assert len(made.labels) == 5 * 10
    metres = made.reference_points[made.frame, made.slot] * (RANGE[3:] - RANGE[:3]) + RANGE[:3]
    shift = (metres - made.boxes[:, :3]) / (made.boxes[:, 3:6] / 2)
    assert shift.abs().max() <= 1 + 1e-4
    changed = shift.norm(dim=1) > 0.75
    clean = torch.cat([frame.labels for frame in targets]).repeat(5)
    torch.testing.assert_close(made.labels, torch.where(changed, BACKGROUND, clean))
    assert 0 < changed.sum() < len(changed)


def test_nothing_of_the_truth_can_be_seen_by_matching_queries_or_other_groups():
    blocked = make_denoising([objects(4)], 20, RANGE, DenoisingConfig(groups=3)).blocked
    for row in range(12 + 20):
        for column in range(12 + 20):
            group = row // 4 if row < 12 else None
            seen = column >= 12 or group == column // 4
            assert blocked[row, column] == (not seen), (row, column)


def test_every_slot_of_a_frame_is_its_own():
    made = make_denoising([objects(4), objects(0), objects(2)], 20, RANGE)
    where = made.frame * made.count + made.slot
    assert len(where.unique()) == len(where)
    assert not (made.frame == 1).any()
    assert (made.reference_points[1] == 0).all()


@pytest.mark.parametrize(("counts", "queries"), [([0, 0], 20), ([], 20), ([30], 20)])
def test_no_queries_where_there_is_nothing_or_no_room(counts, queries):
    assert make_denoising([objects(n) for n in counts], queries, RANGE) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_the_published_code(shared_reference, dtype):
    golden = Golden.read(shared_reference, "dn_queries")
    config = golden.about["config"]
    made = make_denoising(
        golden_targets(golden, dtype), config["num_query"], torch.tensor(config["pc_range"]),
        DenoisingConfig(config["scalar"], config["noise_scale"], config["split"]),
        uniform=golden("dn_rand", dtype))
    learned = golden.param("reference_points.weight", dtype).expand(len(made.reference_points),
                                                                    -1, -1)
    golden.check("padded_reference_points", torch.cat([made.reference_points, learned], dim=1))
    golden.check("attn_mask", made.blocked.to(torch.uint8))
    golden.check("map_known_indice", made.slot)
    golden.check("known_labels", made.labels)
    golden.check("known_bboxs", made.boxes)
    golden.check("pad_size", torch.tensor(made.count))
    first = len(golden.tensors["out::batch_idx"])
    golden.check("batch_idx", made.frame[:first])
