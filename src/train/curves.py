"""Curves of a run, drawn from its metrics.jsonl."""

from src.files import replacing
from src.json_file import parse

_NOT_DRAWN = {
    "time",
    "stage",
    "epoch",
    "step",
    "rows",
    "grad_norm",
    "loss_scale",
    "skipped_steps",
    "seconds_per_1000_rows",
    "p50_ms",
    "p95_ms",
    "learning_rate",
}


def draw(metrics_path, picture_path):
    """Write a PNG with one panel a stage and kind: loss terms (logarithmic) and evaluation metrics against
    steps.

    Args:
        metrics_path (str): metrics.jsonl of a run folder.
        picture_path (str): the .png file to write.

    Returns:
        Whether there was anything to draw.
    """
    from matplotlib.figure import Figure  # a third of a second, which only a run that has ended need take

    panels = {}
    with open(metrics_path, encoding="utf-8") as file:
        for row in map(parse, file):
            kind = "loss" if "loss" in row else "metric"
            for name in row.keys() - _NOT_DRAWN:
                curves = panels.setdefault((row["stage"], kind), {})
                curves.setdefault(name, []).append((row["step"], row[name]))
    if not panels:
        return False
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, ((stage, kind), curves) in zip(axes[0], panels.items()):
        for name, points in sorted(curves.items()):
            axis.plot(*zip(*points), label=name, marker="o" if len(points) < 10 else None)
        axis.set(title=f"{stage}: {kind}", xlabel="optimizer step")
        if kind == "loss":
            axis.set_yscale("log")
        axis.legend()
        axis.grid(alpha=0.3)
    with replacing(picture_path) as temporary:
        figure.savefig(temporary, format="png")
    return True
