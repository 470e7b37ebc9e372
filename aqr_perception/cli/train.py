"""Train a detector on simulated drives, and write its weights.

    train DRIVES OUT --steps 9000            from the start
    train DRIVES OUT --steps 9000            again: goes on where it stopped
    train DRIVES LIDAR --trunk lidar         one trunk alone; three times quicker a frame
    train DRIVES OUT --trunks LIDAR/weights.safetensors IMAGE/weights.safetensors
                                             the whole network, from trained trunks
    train DRIVES OUT --init FILE --aqr gate --gate-alone 80 --faults 0.7
                                             a gate that learns to see, on a network that stays
    train DRIVES OUT --init FILE --aqr gate --freeze-baseline --faults 0.5
                                             a gate for a trained network, on half spoiled frames
    train DRIVES OUT --init FILE --distil-from TEACHER
                                             weight maps from an MLP that learns what the larger
                                             generator in TEACHER says
    torchrun --nproc-per-node 2 -m aqr_perception train ...   on several processes

OUT holds the state to resume from, log.jsonl, TensorBoard files and weights.safetensors.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from aqr_perception.model.detector import Detector
    from aqr_perception.training.fault_sampler import FaultSampling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("drives", type=Path, help="folder that 'simulate' wrote")
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--preset", default="tiny",
                        help="tiny, cmt_r50 or cmt_vov99 (default: tiny)")
    parser.add_argument("--init", type=Path, metavar="FILE",
                        help="start from these weights instead of random ones")
    parser.add_argument("--trunk", choices=("lidar", "image"), default="",
                        help="train this trunk alone, by its tokens' side task")
    parser.add_argument("--trunks", type=Path, nargs=2, metavar=("LIDAR", "IMAGE"),
                        help="start from the trunks in these two weights files")
    parser.add_argument("--aqr", metavar="MODE",
                        help="adaptive query routing: off, gate, weight_map or attention_bias "
                             "(default: as the preset or the weights have it)")
    parser.add_argument("--distil-from", type=Path, metavar="FILE",
                        help="weights with a trained weight_map generator: train an MLP in its "
                             "place, with the same settings, that also learns its weights")
    parser.add_argument("--freeze-baseline", action="store_true",
                        help="train adaptive query routing alone; all else stays as it is")
    parser.add_argument("--freeze-eye", action="store_true",
                        help="whom a gate trusts stays as it was learned with --gate-alone")
    parser.add_argument("--gate-alone", type=int, metavar="BATCHES",
                        help="train what the gate thinks of sensors and tokens, without the "
                             "decoder, on so many batches that are kept on disk; all else stays "
                             "as it is")
    parser.add_argument("--gate-looks", type=int, default=0, metavar="N",
                        help="look at each of those batches so often, then at others (default: "
                             "always at the same)")
    parser.add_argument("--faults", type=float, default=0.0, metavar="SHARE",
                        help="share of the frames that are spoiled by a fault (default: 0)")
    parser.add_argument("--hold-out", nargs="+", metavar="FAULT",
                        help="faults that are kept from training (default: camera_swapped "
                             "camera_white lidar_empty)")
    for name, default, of in (
            ("matched", 0.25, "that come as twins which differ in who lies"),
            ("persisting", 0.5, "whose frame before is spoiled alike"),
            ("ended", 0.0, "of which the frame before alone is spoiled")):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="SHARE",
                            help=f"share of the spoiled frames {of} (default: {default})")
    parser.add_argument("--steps", type=int, default=9000, help="length of the run (default: 9000)")
    parser.add_argument("--batch-size", type=int, default=8,
                        help="frames a step and process (default: 8)")
    parser.add_argument("--learning-rate", type=float, default=2e-4,
                        help="at the start (default: 2e-4)")
    parser.add_argument("--peak", type=float, default=6.0,
                        help="highest learning rate as a multiple of that (default: 6)")
    parser.add_argument("--rising", type=float, default=0.4,
                        help="share of the steps up to there (default: 0.4)")
    parser.add_argument("--aqr-ratio", type=float, default=1.0, metavar="TIMES",
                        help="learning rate of adaptive query routing as a multiple of the rest's "
                             "(default: 1)")
    parser.add_argument("--average", type=float, default=0.998, metavar="DECAY",
                        help="of the moving average of the weights that is kept (default: 0.998)")
    parser.add_argument("--denoising-groups", type=int, default=10,
                        help="most noisy copies of each object (default: 10)")
    parser.add_argument("--trained-with", default="", metavar="COMMAND",
                        help="what the weights say they were trained with (default: this command)")
    parser.add_argument("--seed", type=int, default=0,
                        help="of weights, order and augmentation (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=1, help="loader processes (default: 1)")
    parser.add_argument("--own-statistics", action="store_true",
                        help="batch norms of each process see its own frames alone: quicker where "
                             "processes share a CPU, and not quite what one process would do")
    parser.add_argument("--half", action="store_true",
                        help="forward pass in half precision (fp16 on CUDA, bf16 on a CPU with "
                             "AVX-512; others stay with single precision)")


def run(args: argparse.Namespace) -> int:
    """Train.

    Raises:
        ValueError: An argument does not fit, the folder holds another run, or the loss is not
            finite.
        OSError: A file cannot be read or written.
    """
    import torch

    from aqr_perception.model.precision import has_half
    from aqr_perception.runtime.pipeline import resolve_device
    from aqr_perception.simulation.cache import DriveFolder
    from aqr_perception.training.baseline import with_mode
    from aqr_perception.training.distillation import Teacher, student_of
    from aqr_perception.training.distributed import leave
    from aqr_perception.training.engine import Trainer, TrainingSettings
    from aqr_perception.training.gate_alone import GateTrainer
    from aqr_perception.training.schedule import OneCycle
    from aqr_perception.types import Mounting

    settings = TrainingSettings(
        steps=args.steps, batch_size=args.batch_size, seed=args.seed,
        schedule=OneCycle(base=args.learning_rate, peak_ratio=args.peak, rising=args.rising),
        workers=args.workers, half=args.half, faults=_faults(args), trunk=args.trunk,
        freeze_baseline=args.freeze_baseline, freeze_eye=args.freeze_eye,
        aqr_lr_ratio=args.aqr_ratio, average=args.average,
        denoising_groups=args.denoising_groups, share_statistics=not args.own_statistics)
    device = _join(resolve_device(args.device))
    torch.manual_seed(args.seed)
    detector = _network(args)
    teacher = None
    if args.distil_from is not None:
        if args.aqr is not None:
            raise ValueError("--distil-from takes the teacher's routing with a smaller generator; "
                             "expected no --aqr beside it")
        teacher = Teacher.load(args.distil_from)
        detector = student_of(detector, teacher)
    elif args.aqr is not None:
        detector = with_mode(detector, args.aqr)
    command = args.trained_with or shlex.join(["aqr_perception", *sys.argv[1:]])
    drives = DriveFolder(args.drives)
    trainer: Trainer
    if args.gate_alone is not None:
        trainer = GateTrainer(detector, drives, Mounting(), settings, args.out, device,
                              args.gate_alone, args.gate_looks, command)
    else:
        trainer = Trainer(detector, drives, Mounting(), settings, args.out, device, command,
                          teacher)
    if args.half and not has_half(device):
        print("--half: single precision all the same, for this CPU has no AVX-512")
    if trainer.step:
        print(f"going on at step {trainer.step}")
    weights = trainer.run()
    if weights is not None:
        print(f"{weights}: {weights.stat().st_size / 2**20:.1f} MiB after {args.steps} steps")
    if torch.distributed.is_initialized():
        leave()
    return 0


def _faults(args: argparse.Namespace) -> FaultSampling:
    from aqr_perception.training.fault_sampler import FaultSampling

    shares = {"matched": args.matched, "persisting": args.persisting, "ended": args.ended}
    if args.hold_out is None:
        return FaultSampling(args.faults, **shares)
    return FaultSampling(args.faults, **shares, held_out=tuple(args.hold_out))


def _network(args: argparse.Namespace) -> Detector:
    from aqr_perception.model import checkpoint
    from aqr_perception.model.config import PRESETS
    from aqr_perception.model.detector import Detector
    from aqr_perception.training.trunk import take_trunk

    if args.preset not in PRESETS:
        raise ValueError(f"--preset is '{args.preset}'; expected {', '.join(PRESETS)}")
    if args.init is not None:
        return checkpoint.load(args.init)
    detector = Detector(PRESETS[args.preset]())
    if args.trunks is not None:
        for trunk, file in zip(("lidar", "image"), args.trunks):
            take_trunk(detector, checkpoint.load(file), trunk)
    return detector


def _join(device: torch.device) -> torch.device:
    """Join the other processes that torchrun started; each takes the GPU of its rank."""
    import torch

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if device.type == "cuda":
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device
