"""Tunes a LLaVA checkpoint on an instruction set: a LoRA on the language model, or a whole model where vision layers are freed.

    python tune.py --model DIR --set DIR --out DIR [--name NAME] [--unfreeze-vision N] [--resume]

Writes to OUT: `NAME/` (the adapter or the model), `training.json`, `curve.svg`, `checkpoints/`.
"""

import argparse
import json
import platform
import sys
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.utils import logging

import adapt
from encode import ChatEncoder, EncodedRows, collate
from instruction_set import Problem, Row, digest, read_set
from measure import measure, sample_of
from progress import Progress, curve_of, plot

# What may differ between a run and its resumption. Where the model lies: what it is, its digest says.
FREE = ("resume", "stop_at", "model", "set", "out")
SHOWN = 20


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="a llava-hf checkpoint: a local directory")
    add("--set", type=Path, required=True, help="train.json, test.json and images/")
    add("--out", type=Path, required=True)
    add("--name", default="tuned", help="what the adapter or the model is called when it is served")
    add("--rank", type=int, default=64)
    add("--alpha", type=int, default=128)
    add("--dropout", type=float, default=0.05)
    add(
        "--unfreeze-vision",
        type=int,
        default=0,
        metavar="N",
        help="train the last N vision layers too; the result is a whole model",
    )
    add("--batch", type=int, default=4, help="rows at once")
    add("--accumulate", type=int, default=8, help="batches a step")
    add("--rate", type=float, default=2e-4, help="the highest learning rate, cosine to zero")
    add("--warm-up", type=int, default=100, help="steps")
    add("--steps", type=int, default=3000)
    add("--no-checkpointing", action="store_true", help="keep activations: faster, more memory")
    add("--dtype", choices=["auto", "bf16", "fp32"], default="auto", help="auto: bf16 on CUDA, fp32 on the CPU")
    add("--four-bit", choices=["auto", "on", "off"], default="auto", help="auto: where CUDA and bitsandbytes are")
    add("--max-tokens", type=int, default=4096, help="longer rows are left out; the model's positions bound it too")
    add("--max-bad", type=float, default=0.02, help="the share of rows that may be left out")
    add("--test-every", type=int, default=250, help="steps")
    add("--test-rows", type=int, default=64, help="rows of test.json that are measured, drawn by the seed")
    add("--answer-tokens", type=int, default=128, help="the most that is generated for a test row")
    add("--save-every", type=int, default=250, help="steps; the last two checkpoints are kept")
    add("--seed", type=int, default=7)
    add("--threads", type=int, default=0, help="of the CPU; 0: as torch chooses")
    add("--resume", action="store_true", help="go on from the last checkpoint")
    add("--stop-at", type=int, default=0, metavar="STEP", help="save and stop there, to be resumed")
    return parser.parse_args(argv)


class StopAt(TrainerCallback):
    """Saves and stops at a step that is not the last."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    settings = {k: v for k, v in json.loads(json.dumps(vars(args), default=str)).items() if k not in FREE}
    record_file = args.out / "training.json"
    before = former(record_file, args.resume)
    dtype, four_bit, precision = adapt.pick_precision(args.dtype, args.four_bit)
    print(precision)
    processor = adapt.load_processor(args.model)
    set_seed(args.seed)
    model = adapt.load_model(args.model, dtype, four_bit)
    positions = model.config.text_config.max_position_embeddings
    encoder = ChatEncoder(processor, adapt.stop_ids(model, processor.tokenizer), min(args.max_tokens, positions))
    train, train_data = load_rows(args.set, "train.json", encoder, args.max_bad)
    test, test_data = load_rows(args.set, "test.json", encoder, args.max_bad)
    data = {"train": train_data, "test": test_data}
    base = adapt.digest(args.model)
    if before:
        changed = [k for k in before["arguments"] | settings if before["arguments"].get(k) != settings.get(k)]
        changed += ["the data"] if before["data"] != data else []
        # Records from before it was written down have none.
        changed += ["the base model"] if before.get("base", base) != base else []
        if changed:
            raise SystemExit(f"Not the training that {args.out} holds; changed: {', '.join(changed)}.")

    set_seed(args.seed)
    adapted = adapt.add_lora(
        model,
        rank=args.rank,
        alpha=args.alpha,
        dropout=args.dropout,
        unfreeze_vision=args.unfreeze_vision,
        four_bit=four_bit,
        checkpointing=not args.no_checkpointing,
    )
    adapted.config.use_cache = True
    record = {
        "status": "running",
        "name": args.name,
        "model": args.model.resolve().name,
        "base": base,
        "arguments": settings,
        "precision": precision,
    }
    record |= {"data": data, "parameters": count_parameters(adapted), "versions": versions()}
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(record_file, record)
    passes = args.steps * args.batch * args.accumulate / len(train)
    print(f"{len(train)} rows to train on, {passes:.1f} times each, and {len(test)} to test")
    print(f"{record['parameters']['trained']:,} of {record['parameters']['all']:,} parameters trained")

    sample = sample_of(len(test), args.test_rows, args.seed)
    test_now = lambda model: measure(model, test, sample, args.answer_tokens, dtype)
    progress = Progress(args.batch * args.accumulate, args.test_every, test_now, say=partial(print, flush=True))
    trainer = Trainer(
        model=adapted,
        args=training_arguments(args, dtype),
        train_dataset=train,
        data_collator=partial(collate, pad_id=processor.tokenizer.pad_token_id),
        callbacks=[progress] + ([StopAt(args.stop_at)] if args.stop_at else []),
    )
    trainer.remove_callback(PrinterCallback)
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=last_checkpoint(args.out / "checkpoints") if args.resume else None)
    seconds = (before or {}).get("seconds", 0) + round(time.monotonic() - began)
    curve = curve_of(trainer.state.log_history)
    record |= {"seconds": seconds, "steps": trainer.state.global_step, "curve": curve}
    if trainer.state.global_step < args.steps:
        write_json(record_file, record)
        print(f"stopped at step {trainer.state.global_step}; --resume goes on")
        return 0
    kind = adapt.save_result(trainer.model, processor, args.model, dtype, args.out / args.name)
    tested = [{k: v for k, v in point.items() if k != "step"} for point in curve if "test_loss" in point]
    record |= {"status": "done", "kind": kind, "before": tested[0], "after": tested[-1]}
    write_json(record_file, record)
    plot(curve, args.out / "curve.svg")
    print(
        json.dumps(
            {"kind": kind, "path": str(args.out / args.name), "before": tested[0], "after": tested[-1], "seconds": seconds}
        )
    )
    return 0


def former(record_file: Path, resume: bool) -> dict | None:
    """The record of the training that is resumed; None where one begins. Raises SystemExit where OUT does not fit."""
    before = json.loads(record_file.read_text()) if record_file.exists() else None
    if before and not resume:
        raise SystemExit(f"{record_file.parent} holds a training already: --resume goes on with it, another --out begins anew.")
    if resume and not before:
        raise SystemExit(f"{record_file.parent} holds no training to resume.")
    if before and before["status"] == "done":
        raise SystemExit(f"The training in {record_file.parent} is done.")
    return before


def last_checkpoint(folder: Path) -> str | None:
    """The last one that is whole: its state is written after all else, and is torn or missing where the saving was killed."""
    steps = {int(path.name.removeprefix("checkpoint-")): path for path in folder.glob("checkpoint-[0-9]*")}
    for step in sorted(steps, reverse=True):
        try:
            state = json.loads((steps[step] / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        if state.get("global_step") == step:
            return str(steps[step])
    return None


def load_rows(folder: Path, name: str, encoder: ChatEncoder, max_bad: float) -> tuple[EncodedRows, dict]:
    """The rows that can be used; what cannot is told on stderr. Raises SystemExit where too many are left out or none is left."""
    try:
        rows, problems = read_set(folder, name)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{folder / name}: {error}") from error
    found = len(rows) + len(problems)
    if found == 0:
        raise SystemExit(f"{folder / name} holds no rows; `npm run export` puts a share of the items there by --split.")
    encoded = EncodedRows(rows, encoder, name)
    problems = sorted([*problems, *encoded.problems], key=lambda problem: problem.line)
    tell(problems)
    if problems:
        print(f"{name}: {len(problems)} of {found} rows left out", file=sys.stderr)
    if not len(encoded) or len(problems) > max_bad * found:
        raise SystemExit(f"{name}: {len(problems)} of {found} rows cannot be used, more than --max-bad {max_bad:g} allows.")
    kept: list[Row] = encoded.rows
    return encoded, {"rows": len(kept), "left_out": len(problems), "sha256": digest(kept)}


def tell(problems: list[Problem]) -> None:
    for problem in problems[:SHOWN]:
        print(problem, file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"... and {len(problems) - SHOWN} more", file=sys.stderr)


def count_parameters(model) -> dict:
    trained = [(name, p.numel()) for name, p in model.named_parameters() if p.requires_grad]
    return {
        "all": sum(p.numel() for p in model.parameters()),
        "trained": sum(count for _, count in trained),
        "lora": sum(count for name, count in trained if ".lora_" in name),
        "vision": sum(count for name, count in trained if ".lora_" not in name),
    }


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")} | {
        "python": platform.python_version()
    }


def training_arguments(args: argparse.Namespace, dtype: torch.dtype) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(args.out / "checkpoints"),
        per_device_train_batch_size=args.batch,
        gradient_accumulation_steps=args.accumulate,
        learning_rate=args.rate,
        lr_scheduler_type="cosine",
        warmup_steps=args.warm_up,
        max_steps=args.steps,
        bf16=dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(1, min(10, args.steps // 20)),
        save_steps=args.save_every,
        save_total_limit=2,
        seed=args.seed,
        data_seed=args.seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def write_json(path: Path, value) -> None:
    half = path.with_suffix(".half")
    half.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    half.replace(path)


if __name__ == "__main__":
    sys.exit(main())
