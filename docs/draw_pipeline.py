"""Draws docs/pipeline.svg: from raw text to the files that run. python docs/draw_pipeline.py"""

import os

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pipeline", "font.family": "sans-serif"})
from matplotlib import pyplot  # noqa: E402
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch  # noqa: E402

BOXES = (
    ("raw text", "TSV, JSON lines,\nparquet, CoNLL"),
    ("teacher", "fine-tuned here or\nfrom Hugging Face"),
    ("student", "fewer layers,\nsame answers"),
    ("ternary student", "weights -1, 0, 1;\n8-bit activations"),
    ("files", "packed, ONNX,\nMINDIR"),
)
STEPS = ("prepare_data\nrun_finetune", "run_task\n_distill", "train", "export")
WIDTH, GAP, HEIGHT = 2.15, 1.35, 1.1
INK, BOX, EDGE = "#1b2a41", "#e8f0fb", "#3b6fb6"


def draw(path):
    """Write the picture to `path`, an SVG that reads on white and on dark pages."""
    total = len(BOXES) * WIDTH + (len(BOXES) - 1) * GAP
    figure, axes = pyplot.subplots(figsize=(total, 1.6))
    for number, (title, text) in enumerate(BOXES):
        left = number * (WIDTH + GAP)
        axes.add_patch(
            FancyBboxPatch(
                (left, 0), WIDTH, HEIGHT, boxstyle="round,pad=0.02,rounding_size=0.12", fc=BOX, ec=EDGE
            )
        )
        middle = left + WIDTH / 2
        axes.text(middle, 0.82, title, ha="center", va="center", fontsize=12, weight="bold", color=INK)
        axes.text(middle, 0.34, text, ha="center", va="center", fontsize=10, color=INK)
    for number, name in enumerate(STEPS):
        start = number * (WIDTH + GAP) + WIDTH
        ends = (start + 0.06, HEIGHT / 2), (start + GAP - 0.06, HEIGHT / 2)
        axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=14, color=EDGE))
        place = start + GAP / 2, HEIGHT / 2 + 0.1
        axes.text(*place, name, ha="center", va="bottom", fontsize=9.5, family="monospace", color=EDGE)
    axes.set_xlim(-0.1, total + 0.1)
    axes.set_ylim(-0.1, HEIGHT + 0.15)
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", pad_inches=0.05, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    draw(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipeline.svg"))
