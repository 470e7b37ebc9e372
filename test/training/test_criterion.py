from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from golden import Golden
from test_matcher import golden_targets

from aqr_perception.model.aqr.monitor import AqrReport
from aqr_perception.model.aqr.output import (
    AqrOutput,
    Contrast,
    GateLabels,
    GateLogits,
    TokenLayout,
)
from aqr_perception.model.box_coder import encode_boxes
from aqr_perception.training.criterion import (
    TEMPERATURE,
    Criterion,
    LossWeights,
    layer_losses,
    match_batch,
)
from aqr_perception.training.denoising import DenoisingConfig, make_denoising
from aqr_perception.training.losses import focal_loss
from aqr_perception.training.targets import BACKGROUND, Targets
from aqr_perception.types import DetectorOutput

RANGE = torch.tensor([-54.0, -54.0, -5.0, 54.0, 54.0, 3.0])
LAYERS, QUERIES = 2, 12


def scene(seed: int = 0, counts=(3, 1), denoise: bool = False):
    """Random output and truth; float64."""
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for count in counts:
        boxes = torch.rand(count, 9, generator=generator, dtype=torch.float64) + 0.5
        targets.append(Targets(boxes, torch.randint(0, 10, (count,), generator=generator)))
    denoising = None
    if denoise:
        denoising = make_denoising(targets, QUERIES, RANGE, DenoisingConfig(groups=2),
                                   generator=generator)
    copies = denoising.count if denoising else 0

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    output = DetectorOutput(
        logits=random(LAYERS, len(counts), QUERIES, 10),
        boxes=random(LAYERS, len(counts), QUERIES, 10),
        reference_points=torch.zeros(len(counts), QUERIES, 3),
        has_input=torch.ones(len(counts), dtype=torch.bool),
        dn_logits=random(LAYERS, len(counts), copies, 10) if copies else None,
        dn_boxes=random(LAYERS, len(counts), copies, 10) if copies else None)
    return output, targets, denoising


def test_a_perfect_answer_costs_nothing():
    output, targets, _ = scene(counts=(3, 2))
    output.logits.fill_(-40.0)
    for b, frame in enumerate(targets):
        for n in range(len(frame)):
            output.logits[:, b, n, frame.labels[n]] = 40.0
            output.boxes[:, b, n] = encode_boxes(frame.boxes[n])
    losses = Criterion()(output, targets)
    assert losses.total < 1e-9


def test_normalisers_by_hand():
    output, targets, _ = scene()
    classification, box = layer_losses(
        output.logits[0], output.boxes[0], targets,
        match_batch(output.logits[0], output.boxes[0], targets), LossWeights())
    pairs = match_batch(output.logits[0], output.boxes[0], targets)
    labels = torch.full((2, QUERIES), BACKGROUND)
    distance = 0.0
    weights = torch.tensor([2, 2, 1, 1, 1, 1, 1, 1, 0.2, 0.2])
    for b in range(2):
        for q, n in zip(pairs[b].query.tolist(), pairs[b].target.tolist()):
            labels[b, q] = targets[b].labels[n]
            wanted = encode_boxes(targets[b].boxes[n])
            distance += float(((output.boxes[0, b, q] - wanted).abs() * weights).sum())
    expected = 2 * focal_loss(output.logits[0], labels).sum() / (4 + 0.1 * (2 * QUERIES - 4))
    assert classification.item() == pytest.approx(float(expected), rel=1e-6)
    assert box.item() == pytest.approx(0.25 * distance / 4, rel=1e-6)


def test_no_object_at_all_leaves_the_box_loss_at_zero():
    output, targets, _ = scene(counts=(0, 0))
    losses = Criterion()(output, targets)
    assert losses.box.sum() == 0
    assert torch.isfinite(losses.total)
    assert losses.classification.min() > 0


def test_every_term_reaches_its_part_of_the_output():
    output, targets, denoising = scene(denoise=True)
    names = ("logits", "boxes", "dn_logits", "dn_boxes")
    for name in names:
        getattr(output, name).requires_grad_()
    losses = Criterion()(output, targets, denoising)
    losses.total.backward()
    for name in names:
        assert all(layer.abs().max() > 0 for layer in getattr(output, name).grad)
    scalars = losses.scalars()
    losses = replace(losses, **{name: term.detach() for name, term in vars(losses).items()})
    assert scalars["loss"] == pytest.approx(float(losses.total))
    assert scalars["dn_loss_cls"] == pytest.approx(float(losses.dn_classification[-1]))


def test_empty_slots_of_denoising_queries_do_not_count():
    output, targets, denoising = scene(counts=(3, 1), denoise=True)
    before = Criterion()(output, targets, denoising).dn_classification
    used = torch.zeros(2, denoising.count, dtype=torch.bool)
    used[denoising.frame, denoising.slot] = True
    assert not used.all()
    output.dn_logits[:, ~used] = 1e3
    torch.testing.assert_close(Criterion()(output, targets, denoising).dn_classification, before)


def test_other_denoising_queries_than_the_networks_are_refused():
    output, targets, denoising = scene(denoise=True)
    with pytest.raises(ValueError, match="denoising"):
        Criterion()(output, targets)
    with pytest.raises(ValueError, match="denoising"):
        Criterion()(replace(output, dn_logits=None, dn_boxes=None), targets, denoising)


def with_gate(output, logits=None, contrast=None):
    nothing = torch.zeros(2, 2)
    report = AqrReport(nothing, nothing, nothing, nothing > 0, nothing, nothing)
    return replace(output, aqr=AqrOutput(report, torch.ones(2, 0), None, logits, contrast))


def test_gate_is_taught_where_it_is_known_whom_to_trust():
    output, targets, _ = scene()
    frame = torch.zeros(2, 3, requires_grad=True)
    query = torch.zeros(LAYERS, 2, QUERIES, 3, requires_grad=True)
    usable = torch.tensor([[True, True, True], [True, False, True]])
    labels = GateLabels(frame=torch.tensor([[1.0, 0.0, math.nan], [1.0, 0.0, 1.0]]),
                        query=torch.ones(2, QUERIES, 3))
    token = torch.zeros(LAYERS, 2, 4, requires_grad=True)
    read = torch.tensor([[True, True, True, True], [False, False, True, False]])
    labels = replace(labels, token=torch.tensor([[1.0, 0.0, 0.0, math.nan], [1.0, 1.0, 1.0, 0.0]]))
    aqr = with_gate(output, GateLogits(frame, query, token, usable, read,
                                      TokenLayout((0, 0), (0, 1), (1, 2))))
    losses = Criterion()(aqr, targets, labels=labels)
    assert losses.gate.item() == pytest.approx(0.2 * 3 * math.log(2))
    losses.gate.backward()
    assert (frame.grad != 0).tolist() == [[True, True, False], [True, False, True]]
    assert frame.grad[0, 0] < 0 < frame.grad[0, 1]  # towards keeping, towards leaving out
    assert (query.grad[:, 1, :, 1] == 0).all()
    assert (query.grad[:, 0, :, 1] == 0).all()  # left out as a whole: its places teach nothing
    assert (query.grad[:, 0][..., [0, 2]] < 0).all()
    assert token.grad[1].sign().tolist() == [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, -1.0, 0.0]]
    assert Criterion()(aqr, targets).gate == 0


def test_agreement_is_learned_from_sensors_that_nothing_speaks_against():
    output, targets, _ = scene()
    similarity = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    similarity.requires_grad_()
    contrast = Contrast(similarity, torch.tensor([[True, False], [True, True]]))
    labels = GateLabels(sound=torch.tensor([[True, True, True], [True, False, True]]))
    loss = Criterion()(with_gate(output, contrast=contrast), targets, labels=labels).agreement
    loss.backward()
    learned = similarity.grad.abs().amax((-2, -1)) > 0
    assert learned.tolist() == [[True, False], [False, True]]
    entropy = torch.nn.functional.cross_entropy
    wanted = torch.arange(5)
    expected = sum(entropy(m / TEMPERATURE, wanted) for part in (similarity[0, 0], similarity[1, 1])
                   for m in (part, part.T)) / 4
    assert loss.item() == pytest.approx(0.1 * float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_layer_losses_agree_with_the_published_code(shared_reference, dtype):
    golden = Golden.read(shared_reference, "assigner_losses")
    logits, boxes = golden("pred_logits", dtype), golden("pred_bboxes", dtype)
    whole = golden_targets(golden, dtype)
    empty = [Targets(frame.boxes[:0], frame.labels[:0]) for frame in whole]
    unknown = whole[0].boxes.clone()
    unknown[1, 7:] = torch.nan
    cases = {"": whole, "_second_empty": [whole[0], empty[1]], "_all_empty": empty,
             "_nanvel": [Targets(unknown, whole[0].labels), whole[1]]}
    for name, targets in cases.items():
        pairs = match_batch(logits, boxes, targets)
        classification, box = layer_losses(logits, boxes, targets, pairs, LossWeights())
        golden.check(f"loss_cls{name}", classification)
        golden.check(f"loss_bbox{name}", box)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_last_layer_of_the_published_head_agrees(shared_reference, dtype):
    golden = Golden.read(shared_reference, "cmt_head_train")
    made = Golden.read(shared_reference, "dn_queries").about["config"]
    targets = golden_targets(golden, dtype)

    def published(prefix, part):
        name = "out64" if dtype == torch.float64 else "out"
        return golden.tensors[f"{name}::{prefix}/{part}"].to(dtype)[None]

    def boxes(prefix):
        return torch.cat([published(prefix, part)
                          for part in ("center", "height", "dim", "rot", "vel")], dim=-1)

    _, frames, queries, _ = published("last", "cls_logits").shape
    denoising = make_denoising(
        targets, queries, torch.tensor(made["pc_range"]),
        DenoisingConfig(made["scalar"], made["noise_scale"], made["split"]),
        uniform=golden("dn_rand", dtype))
    output = DetectorOutput(
        published("last", "cls_logits"), boxes("last"), torch.zeros(frames, queries, 3),
        torch.ones(frames, dtype=torch.bool), published("last_dn", "cls_logits"), boxes("last_dn"))
    losses = Criterion()(output, targets, denoising)
    golden.check("loss/loss_cls", losses.classification[0])
    golden.check("loss/loss_bbox", losses.box[0])
    golden.check("loss/dn_loss_cls", losses.dn_classification[0])
    golden.check("loss/dn_loss_bbox", losses.dn_box[0])


def _share(rank: int, address: str, results) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    output, targets, _ = scene(denoise=True, counts=(3, 1))
    half = replace(output, logits=output.logits[:, rank:rank + 1].requires_grad_(),
                   boxes=output.boxes[:, rank:rank + 1], dn_logits=None, dn_boxes=None)
    losses = Criterion()(half, targets[rank:rank + 1])
    losses.total.backward()
    results.put((rank, float(losses.total), half.logits.grad.numpy()))
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_with_half_the_batch_each_equal_one(tmp_path):
    output, targets, _ = scene(denoise=True, counts=(3, 1))
    whole = replace(output, dn_logits=None, dn_boxes=None)
    whole.logits.requires_grad_()
    losses = Criterion()(whole, targets)
    losses.total.backward()
    context = mp.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_share, args=(rank, f"file://{tmp_path}/store", results))
               for rank in range(2)]
    for worker in workers:
        worker.start()
    parts = sorted(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    assert sum(total for _, total, _ in parts) / 2 == pytest.approx(float(losses.total), rel=1e-6)
    for rank, _, gradient in parts:
        torch.testing.assert_close(torch.from_numpy(gradient)[:, 0] / 2,
                                   whole.logits.grad[:, rank], rtol=1e-6, atol=1e-9)
