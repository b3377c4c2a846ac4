"""What is told while training goes on, and the curve that is left of it."""

import time
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from transformers import TrainerCallback

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "sightline"

COLOURS = {"loss": "#8aa4c8", "test_loss": "#1a56b0", "exact": "#188038", "exact_words": "#7b3fa0"}


class Progress(TrainerCallback):
    """Prints loss, rate and time left; measures on the test rows before the first step, every `every` steps, and after the last.

    What it measures goes into the trainer's log history, so that it is in every checkpoint and comes back with a resume.
    """

    def __init__(self, rows_a_step: int, every: int, measure, say=print):
        self.rows_a_step = rows_a_step
        self.every = every
        self.measure = measure
        self.say = say
        self.measuring_s = 0.0

    def on_train_begin(self, args, state, control, model=None, **_):
        self.first_step = state.global_step
        self.started = time.monotonic()
        if state.global_step == 0:
            self.test(state, model)

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self.test(state, model)

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" not in (logs or {}):
            return
        elapsed = time.monotonic() - self.started - self.measuring_s
        done = state.global_step - self.first_step
        left = elapsed / done * (state.max_steps - state.global_step)
        self.say(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  lr {logs['learning_rate']:.1e}"
            f"  {done * self.rows_a_step / elapsed:.2f} rows/s  {duration(left)} left"
        )

    def test(self, state, model):
        began = time.monotonic()
        measured = self.measure(model)
        self.measuring_s += time.monotonic() - began
        state.log_history.append({"step": state.global_step, **measured})
        self.say(
            f"step {state.global_step}/{state.max_steps}  test loss {measured['test_loss']:.4f}"
            f"  exact {measured['exact']:.1%}  without boxes {measured['exact_words']:.1%}"
        )


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def curve_of(log_history: list[dict]) -> list[dict]:
    """The points of the curve: step with what was known at it, figures to five places."""
    wanted = ("loss", "learning_rate", *list(COLOURS)[1:])
    points = [{"step": log["step"], **{k: float(f"{log[k]:.5g}") for k in wanted if k in log}} for log in log_history]
    return [point for point in points if len(point) > 1]


def plot(curve: list[dict], out: Path) -> None:
    """Writes the curve as SVG: losses over the steps, and the share of exact answers below them."""
    figure, (losses, shares) = pyplot.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    for name, axes in (("loss", losses), ("test_loss", losses), ("exact", shares), ("exact_words", shares)):
        points = [(point["step"], point[name]) for point in curve if name in point]
        axes.plot(*zip(*points), color=COLOURS[name], label=name.replace("_", " "), marker="" if name == "loss" else "o")
    losses.set_ylabel("nats a token")
    shares.set_ylabel("share of answers")
    shares.set_ylim(-0.03, 1.03)
    shares.set_xlabel("step")
    for axes in (losses, shares):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})
    pyplot.close(figure)
