"""A text corpus to the folder of record files that general distillation (GD) reads."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from src.data.corpus.blocks import Block, block_sizes, read_blocks
from src.data.corpus.files import find_files
from src.data.corpus.packing import Packed, Packer, Recipe
from src.data.corpus.shards import FOLDER, ShardFolder, make_plan
from src.data.pool import WorkerPool
from src.data.prepare import CountingBar, Options, describe_lengths, split_info
from src.data.readers.rows import BadRows
from src.errors import UserError
from src.kinds import CLASSIFICATION
from src.vocabulary import vocabulary_hash


def is_corpus_task(name: str) -> bool:
    """Whether `name` means general distillation: gd or general_distill, in any case."""
    return re.sub(r"[-_\s]", "", name).lower() in ("gd", "generaldistill", "generaldistillation")


def prepare_corpus(
    inputs: Sequence[str], recipe: Recipe, shard_mb: int, output_dir: str, options: Options
) -> ShardFolder | None:
    """Pack the corpus into the shards that are lacking, and print what was made.

    Args:
        inputs: files and folders. recipe: what the rows are like.
        shard_mb: MiB of text a record file is made from.
        output_dir: the records go to its folder `FOLDER`; what an earlier run finished is kept.

    Returns:
        what was written; None where an earlier run had made it complete.

    Raises:
        UserError: an input is no text or holds none, or the folder holds anything else.
    """
    files, folder = find_files(inputs), os.path.join(output_dir, FOLDER)
    _check_apart(folder, inputs)
    vocab_sha256 = vocabulary_hash(options.vocabulary)
    casing = options.lower_case, options.strip_accents
    plan = make_plan(files, vocab_sha256, *casing, options.dataset_type, shard_mb, recipe)
    shards = ShardFolder(folder, plan)
    if shards.complete:
        print(
            f"{folder} is complete: {shards.total('rows'):,} rows in {len(shards.files)} files; nothing to do"
        )
        return None
    if shards.shards:
        print(f"{folder} has {len(shards.shards)} finished shards; continuing with the others")
    bad_rows = options.bad_rows()
    arguments = options.vocabulary, options.lower_case, recipe, options.strip_accents
    pool: WorkerPool[Block, Packed] = WorkerPool(Packer, arguments, options.num_workers)
    with CountingBar(FOLDER, sum(file.size for file in files), "byte") as progress:
        with shards.only_writer(), pool:
            block_bytes, blocks_per_shard = block_sizes(recipe, shard_mb)
            blocks = read_blocks(files, bad_rows, block_bytes)
            _write_shards(shards, blocks, blocks_per_shard, pool, progress)
    if not shards.total("rows"):
        shards.discard()
        raise UserError(f"input: {', '.join(inputs)} holds no text")
    train = split_info(shards.total("rows"), recipe.next_sentence, shards.lengths, shards.files)
    longest = recipe.max_seq_length
    options.info(FOLDER, CLASSIFICATION, (), longest, {"train": train}, shards.checksums).save(folder)
    _report(shards, bad_rows, progress)
    return shards


def _check_apart(folder: str, inputs: Sequence[str]) -> None:
    for path in inputs:
        if (os.path.realpath(folder) + os.sep).startswith(os.path.realpath(path) + os.sep):
            raise UserError(
                f"output_dir: {folder} lies inside the input {path} and would be read as text; choose "
                "another one"
            )


def _write_shards(
    shards: ShardFolder,
    blocks: Iterator[Block],
    blocks_per_shard: int,
    pool: WorkerPool[Block, Packed],
    progress: CountingBar,
) -> None:
    """Pack the blocks of the shards that are lacking; a shard is some consecutive blocks."""

    def shard_of(block: Block) -> int:
        return block.number // blocks_per_shard

    def lacking() -> Iterator[Block]:
        for block in blocks:
            if shard_of(block) in shards.shards:
                progress.skip(block.read_bytes)
            else:
                yield block

    for number, results in groupby(pool.map(lacking()), lambda packed: shard_of(packed.block)):
        with shards.shard(number) as shard:
            for packed in results:
                shard.write(packed)
                block = packed.block
                progress.update(block.read_bytes, lines=block.lines, rows=len(packed.examples))


def _report(shards: ShardFolder, bad_rows: BadRows, progress: CountingBar) -> None:
    total = shards.total
    print(
        f"corpus: {total('documents'):,} documents, {total('sentences'):,} sentences "
        f"({total('cut'):,} longer than a row, cut into several), {total('tokens'):,} tokens, "
        f"{bad_rows.count:,} lines skipped"
    )
    if bad_rows.count:
        print(f"  first skipped line: {bad_rows.first}")
    print(f"train: {total('rows'):,} rows; {describe_lengths(shards.lengths)}; {progress.rate}")
