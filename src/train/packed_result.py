"""Where quantization-aware training leaves its result: latent float32 weights and the packed model."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.checkpoint.packed import PACKED_FILE, save_packed
from src.errors import UserError
from src.model import Model
from src.run_folder import LATENT, UNPACKED, RunFolder
from src.terminal import busy, say

if TYPE_CHECKING:
    from src.train.session import Session

TERNARY_DENSITY = {"1.6": 5, "2": 4}
"""Ternary weights a byte holds, by the bits that each takes."""


@dataclass(frozen=True)
class PackedResult:
    """The folders of one run's result."""

    latent: str
    """Of the float32 weights that training moves."""
    packed: str
    keeps_latent: bool
    """Whether the float32 weights stay beside the packed model."""

    @staticmethod
    def folders(task_folder: str, keeps_latent: bool, packs: bool) -> tuple[str, ...]:
        """Names of the folders that a run writes; weights that nobody asked to keep go to one of their own.

        Args:
            task_folder: the task's. keeps_latent: as the field. packs: whether a packed model is written.
        """
        latent = os.path.join(LATENT if keeps_latent else UNPACKED, task_folder)
        return (latent, task_folder) if packs else (latent,)

    @classmethod
    def of_run(cls, run: RunFolder, task_folder: str, keeps_latent: bool, packs: bool) -> PackedResult:
        """The `folders` in a run's folder.

        Args:
            task_folder, keeps_latent, packs: as for `folders`.

        Raises:
            UserError: a folder holds weights that would be read in place of the packed model.
        """
        latent, packed = map(run.join, (*cls.folders(task_folder, keeps_latent, False), task_folder))
        weights = glob.glob(os.path.join(glob.escape(packed), "*.ckpt"))
        hiding = sorted({*weights}.difference(run.replaced()))
        if packs and hiding:
            raise UserError(
                f"output_dir: {hiding[0]} would be read in place of the packed model beside it; name another "
                "folder"
            )
        return cls(latent, packed, keeps_latent)

    def pack(self, student: Model, bits: str) -> Model:
        """Write the packed model of `student`; returns it as it is read back.

        Args:
            bits: a ternary weight takes, "1.6" or "2".
        """
        density, network = TERNARY_DENSITY[bits], student.network
        with busy(f"packing {self.packed}"):
            size = save_packed(self.packed, network, student.description, student.vocabulary, density)
        say(
            f"packed model: {size:,} bytes in {os.path.join(self.packed, PACKED_FILE)}, "
            f"{4 * student.parameters / size:.1f} times smaller than in float32"
        )
        return Model.load(self.packed, network.compute_type)

    def clean_up(self) -> None:
        """Remove the float32 weights that nobody asked to keep."""
        if not self.keeps_latent:
            if os.path.isdir(self.latent):  # a run that was stopped here may have done it before
                shutil.rmtree(self.latent)
            with contextlib.suppress(OSError):  # another task's weights may lie there
                os.rmdir(os.path.dirname(self.latent))


def same_batches(session: Session, model: Model) -> str:
    """Flags of eval.py for the batches of a run: a batch's own ranges decide the model's scores."""
    rows = session.rows
    if session.packs(model):
        return f"--padding none --max_tokens {rows.max_tokens}"
    lengths = ",".join(map(str, rows.bucket_boundaries))
    padding = f"--bucket_boundaries {lengths}" if rows.enable_buckets else "--enable_buckets false"
    padding = f"--padding buckets {padding}"
    return f"--batch_size {session.evaluation.batch_size} {padding}"
