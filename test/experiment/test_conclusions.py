"""Differences, and the sentences that follow from them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from aqr_perception.experiment.conclusions import Conclusions
from aqr_perception.experiment.config_file import config_of
from aqr_perception.experiment.differences import Difference, called_by_chance, difference
from aqr_perception.experiment.figures import RunFigures
from aqr_perception.experiment.run_trainer import _mean, read_lines, total_of_counter
from aqr_perception.experiment.size import Size
from aqr_perception.experiment.tables import difference_cell
from aqr_perception.experiment.views import Change

CONFIG = config_of({
    "seeds": [0, 1, 2], "report_aqr": "maps", "report_baseline": "finetune_faults",
    "runs": {"baseline": {"train": False}, "finetune_faults": {"against": ["baseline"]},
             "maps": {"aqr": {"mode": "weight_map"}}, "gate": {"aqr": {"mode": "gate"}},
             "blind": {"against": ["finetune_faults", "gate"],
                       "aqr": {"mode": "gate", "gate": {"learned": False}}},
             "oracle": {"aqr": {"mode": "gate"}, "oracle": "frame"}}})
SIZE = Size(100, 20, 10)


def run(name, seeds=(0, 1, 2), trained=True, limit=None, **values) -> RunFigures:
    each = {key.replace("__", "."): tuple(one) for key, one in values.items()}
    return RunFigures(name, seeds, each, {"trained": trained, "theoretical_maximum": limit}, (), (),
                      once=name == "baseline")


def figures(**changes) -> dict[str, RunFigures]:
    found = {
        "baseline": run("baseline", (0,), mAP=[.5], faults=[.2], faults__unseen=[.2]),
        "finetune_faults": run("finetune_faults", mAP=[.50, .51, .50], faults=[.30, .31, .30],
                               faults__unseen=[.2, .2, .2], seconds_per_step=[1, 1, 1]),
        "maps": run("maps", limit=1.6, mAP=[.45, .46, .45], faults=[.33, .35, .33],
                    seconds_per_step=[2, 2, 2], largest_factor=[1.2, 1.1, 1.2],
                    largest_factor__training=[1.3, 1.44, 1.3]),
        "gate": run("gate", mAP=[.50, .50, .51], faults=[.40, .42, .40],
                    auroc__sensor__lidar_stale=[.95, .97, .96],
                    auroc__sensor__lidar_late=[.5, .5, .5],
                    blame__lidar_stale__all_cameras_stale=[.8, .8, .8]),
        "blind": run("blind", mAP=[.50, .50, .50], faults=[.36, .37, .36]),
        "oracle": run("oracle", mAP=[.50, .51, .50], faults=[.50, .52, .50])}
    return {**found, **changes}


FOUND = "What the experiment report found"


def without(*names):
    return {name: one for name, one in figures().items() if name not in names}


def said(found, topic):
    return " ".join(one.text for one in Conclusions(CONFIG, found, SIZE).all()
                    if one.topic == topic)


@pytest.mark.parametrize(("values", "sign"), [
    ((.02, .03, .02), 1), ((-.02, -.03, -.02), -1), ((.02, .05, .01), 0), ((.02,), 0), ((), 0),
    ((.004, .004, .004), 0), ((.03, -.03), 0)])
def test_nothing_smaller_than_its_spread_is_a_difference(values, sign):
    found = Difference("a", "b", "mAP", values, 0.005)
    assert found.sign == sign
    assert ("class=" in difference_cell(found)) is (sign != 0)


def test_differences_are_taken_seed_by_seed():
    one, other = run("a", x=[.1, .5, .9]), run("b", x=[.0, .4, .8])
    found = difference(one, other, "x", 0.0)
    assert found.values == pytest.approx((.1, .1, .1))
    assert found.called
    assert difference(one, run("b", (1, 2), x=[.4, .8]), "x", 0.0).values == pytest.approx((.1, .1))
    assert difference(one, run("b", (2,), x=[.8]), "x", 0.0).values == pytest.approx((.1,))
    once = run("baseline", (0,), x=[.4])
    assert difference(one, once, "x", 0.0).values == pytest.approx((-.3, .1, .5))
    assert math.isnan(difference(one, other, "y", 0.0).mean)


def test_chance_is_less_with_more_seeds():
    assert called_by_chance(1) == 0.0
    assert called_by_chance(2) == pytest.approx(math.atan(1 / 2) * 2 / math.pi, abs=0.005)
    assert called_by_chance(3) < called_by_chance(2)


def test_only_what_gains_and_loses_nothing_is_recommended():
    text = said(figures(), "What to use")
    assert "not called worse without: gate (+0.103)." in text
    assert "Better under faults, but worse without: maps." in text
    assert "oracle" not in text
    assert "blind" not in text
    worse = figures(gate=run("gate", mAP=[.5, .5, .5], faults=[.3, .3, .3]))
    assert "No AQR is better than finetune_faults" in said(worse, "What to use")


def test_each_run_is_held_against_its_like():
    text = said(figures(), "Each run against its like")
    assert "against baseline: clean mAP +0.003 (spread 0.010): no difference" in text
    assert "maps against finetune_faults: clean mAP -0.050 (spread 0.000): worse" in text
    assert "Of 13 comparisons" in said(figures(), "Validity")


def test_comparisons_that_can_call_nothing_are_not_counted():
    alone = figures(maps=run("maps", (0,), limit=1.6, mAP=[.45], faults=[.33]))
    text = said(alone, "Validity")
    assert "Of 11 comparisons" in text
    assert f"up to {11 * called_by_chance(3):.1f} would be by chance" in text


def test_frames_without_a_sensor_do_not_count_as_unchanged():
    values = torch.tensor([[.4, .3], [.2, .0], [.0, .5]])
    there = torch.tensor([[True, True], [True, False], [False, True]])
    assert _mean(values, there).tolist() == pytest.approx([.3, .4])
    assert _mean(values, torch.zeros(3, 2, dtype=torch.bool)).isnan().all()


def test_losses_are_not_held_to_the_smallest_difference_of_map():
    pair = figures(maps=run("maps", mAP=[.5] * 3, part__loss_cls=[.4977] * 3),
                   finetune_faults=run("finetune_faults", mAP=[.5] * 3, part__loss_cls=[.5] * 3))
    assert "no difference (-0.002, spread 0.000)" not in said(pair, FOUND)


def test_the_reports_findings_are_found_again_or_not():
    text = said(figures(), FOUND)
    assert "mAP changed by -0.0178 there; here: the same (-0.050, spread 0.000)." in text
    assert ("A step took 2.97 times the baseline's there; here 2.00 times (2.00 to 2.00 over the "
            "seeds).") in text
    same = figures(maps=run("maps", mAP=[.5, .51, .5], faults=[.3, .31, .3]))
    assert "mAP changed by -0.0178 there; here: no difference" in said(same, FOUND)
    better = figures(maps=run("maps", mAP=[.55, .56, .55], faults=[.3, .31, .3]))
    assert "here: the other way round (+0.050" in said(better, FOUND)
    one = figures(maps=run("maps", (1,), mAP=[.45]))
    assert "nothing can be claimed from one seed" in said(one, FOUND)
    assert "maps is not done yet" in said(without("maps"), FOUND)


def test_a_gate_is_held_against_one_that_is_blind():
    topic = "Whether what the gate sees matters"
    assert ("gate against one number a sensor kind, whatever the frame shows (blind), mean mAP "
            "under faults: the gate owes something to what it sees (+0.043, spread 0.010)."
            ) in said(figures(), topic)
    same = figures(blind=run("blind", mAP=[.5, .5, .5], faults=[.40, .42, .41]))
    assert "it is not shown that the gate owes anything" in said(same, topic)


def test_room_gates_and_clamps():
    assert "there is room for a gate" in said(figures(), "The upper bound")
    text = said(figures(), "What the gates see")
    assert "gate tells 1 of 2 faults" in text
    assert "(lidar_stale) and 1 with 0.6 or less (lidar_late)" in text
    assert "Who lies, lidar_stale or all_cameras_stale: AUROC 0.80." in text
    assert "1.440, 90% of the theoretical maximum 1.600" in said(figures(), "The clamp")


def test_untrained_weights_say_nothing():
    found = figures(baseline=run("baseline", (0,), trained=False, mAP=[.5], faults=[.2]))
    assert [one.topic for one in Conclusions(CONFIG, found, SIZE).all()] == ["Validity"]


def test_one_seed_says_nothing_either():
    one = {name: replace(found, seeds=(0,), values={key: value[:1] for key, value
                                                    in found.values.items()})
           for name, found in figures().items()}
    conclusions = Conclusions(replace(CONFIG, seeds=(0,)), one, SIZE).all()
    assert "nothing is called a difference" in conclusions[0].text
    assert any("What the node should use by default cannot be said yet" in one.text
               for one in conclusions)
    assert all("better" not in one.text and "worse" not in one.text for one in conclusions)


def test_a_run_with_one_seed_claims_nothing_beside_others_with_more():
    found = figures(gate=run("gate", (1,), mAP=[.5], faults=[.42], faults__unseen=[.9]))
    text = " ".join(one.text for one in Conclusions(CONFIG, found, SIZE).all())
    assert "gate against finetune_faults: clean mAP -0.010 (one seed): nothing claimed" in text
    assert "Waiting for a second seed, or for finetune_faults: gate." in text
    assert "nothing can be claimed from one seed (+0.050" in text


def test_what_is_missing_is_left_out_or_said():
    for names in (("gate",), ("maps", "oracle"), ("finetune_faults",), ("blind", "gate")):
        text = " ".join(one.text for one in Conclusions(CONFIG, without(*names), SIZE).all())
        assert f"{6 - len(names)} of 6 runs" in text
        assert "Not all runs are done" in text
        assert "nan" not in text
    assert "finetune_faults is not done yet" in said(without("finetune_faults"), "The goals")
    nothing = Conclusions(CONFIG, without("baseline"), SIZE).all()
    assert ["baseline is not done yet" in one.text for one in nothing] == [True]


def test_goals_are_reached_by_what_is_called_a_difference():
    found = figures(**{name: run(name, mAP=[clean] * 3, fault__lidar_stale=stale)
                       for name, clean, stale in (
                           ("finetune_faults", .5, [.2, .2, .2]), ("maps", .45, [.2, .5, .2]),
                           ("gate", .498, [.32, .33, .32]), ("oracle", .5, [.4, .4, .4]))})
    text = said(found, "The goals")
    assert "clean frames: at most 0.3 points of mAP lost – reached by 1 of 2: gate." in text
    assert "LiDAR stale: +10 points of mAP – reached by 1 of 2: gate." in text
    assert "The best is gate (+0.123, spread 0.010). With the truth in place of the gate: oracle " \
        "+0.200" in text


def test_the_causes_are_told_from_the_published_code_and_its_twin():
    config = config_of({
        "report_aqr": "theirs", "report_baseline": "finetune_faults",
        "runs": {"baseline": {"train": False}, "finetune_faults": {},
                 "theirs": {"aqr": {"mode": "weight_map", "weight_map": {"reference": True}}},
                 "mended": {"aqr": {"mode": "weight_map"}}}})
    values = {f"{when}.{name}.{kind}": [.1 + number, .1 + number, .1 + number] for number, kind in
              enumerate(("lidar", "camera")) for name in ("mean_weight", "relative_change")
              for when in ("first", "last")}
    found = {
        "baseline": run("baseline", (0,), mAP=[.5]),
        "finetune_faults": run("finetune_faults", mAP=[.5, .5, .5], first_loss=[10, 10, 10]),
        "theirs": run("theirs", mAP=[.4, .4, .4], first_loss=[13, 13, 13], **values,
                      largest_factor=[1, 1, 1], largest_factor__training=[1.5, 1.6, 1.5]),
        "mended": run("mended", mAP=[.5, .5, .5], first_loss=[10, 10, 10], **values)}
    changes = {"theirs": Change((.7, .0), (.1, .36), (.33, .36))}
    text = " ".join(one.text for one in Conclusions(config, found, SIZE, changes).all()
                    if one.topic == "Why the report's AQR hurt")
    assert "(mended against theirs): a gain (+0.100, spread 0.000)" in text
    assert "(mended against finetune_faults): no difference (+0.000" in text
    assert "In theirs: larger in training than in measuring (+0.533" in text
    assert "theirs changes 10% (lidar) and 110% (camera)" in text
    assert "the first loss: higher (+3.000" in text
    assert "lidar: 70% zeros, 0.100 by the report's statistic, 0.330 by ours" in text
    assert "3.6 times by the report's (there 3.4) and 1.1 by ours" in text


def test_counters_that_began_again_are_added_up():
    assert total_of_counter([0, 1, 3, 0, 2]) == 5


def test_lines_done_again_count_once(tmp_path):
    path = tmp_path / "monitor.jsonl"
    path.write_text('{"step": 0, "x": 1}\n{"step": 2, "x": 2}\n{"step": 2, "x": 3}\n')
    assert [line["x"] for line in read_lines(path)] == [1, 3]
    assert read_lines(tmp_path / "none") == []
