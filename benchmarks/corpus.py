"""Lines a second from a text corpus to record files, against BERT's tokenization in pure Python on as many
processes.

    python benchmarks/corpus.py --input CORPUS --vocab_file VOCAB_FILE [--repeat N]

Ours is `prepare_data.py --task_name gd` as a user starts it: reading, sentences, tokens, packing, record
files. The other is only the tokenization (basic and WordPiece, in transformers' Python code) of the same
sentences, and the clock starts when its processes have loaded it: packing and writing would come on top. The
token ids of both are compared.

Where other programs use the machine too, seconds of processor time compare better than seconds: both are
printed.

With --repeat the corpus is read N times in a row. That gives a rate without start-up, lines and seconds
beyond those of reading it once; text that repeats has no new words, though, so a large corpus lies between
the two rates.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from benchmarks.measure import cpu_name  # noqa: E402
from src.data.corpus.documents import CorpusReader  # noqa: E402
from src.data.corpus.files import find_files  # noqa: E402
from src.data.corpus.words import WordTokenizer, split_sentences  # noqa: E402
from src.data.readers.rows import BadRows  # noqa: E402
from src.data.tokenization import Tokenizer  # noqa: E402
from src.vocabulary import is_lower_case, read_vocabulary  # noqa: E402


def read_corpus(inputs):
    """(lines, list of Document) of the corpus."""
    reader = CorpusReader(find_files(inputs), BadRows(), 1 << 20)
    documents = list(reader.documents())
    return reader.lines, documents


def sentences_of(documents):
    """The sentences of all `Document`s, blank ones left out."""
    lines = (line for document in documents for line in split_sentences(document.text).split("\n"))
    return [line for line in lines if line.strip()]


# --- ours ---------------------------------------------------------------------------------------------------


def memory_of(process_id):
    """Resident bytes of a process and all its descendants; what they share counts several times."""
    try:
        with open(f"/proc/{process_id}/statm", encoding="ascii") as file:
            own = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        with open(f"/proc/{process_id}/task/{process_id}/children", encoding="ascii") as file:
            children = file.read().split()
    except OSError:  # it has just ended
        return 0
    return own + sum(map(memory_of, children))


def processor_seconds():
    """What the processes that were started here, and have ended, used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(inputs, vocab_file, workers):
    """(seconds, processor seconds, peak of `memory_of`, last lines of output) of one run of
    prepare_data.py.
    """
    with tempfile.TemporaryDirectory() as folder:
        start, used, peak = time.monotonic(), processor_seconds(), 0
        process = subprocess.Popen(
            [
                sys.executable,
                os.path.join(ROOT, "prepare_data.py"),
                "--task_name",
                "gd",
                "--input",
                ",".join(inputs),
                "--vocab_file",
                vocab_file,
                "--output_dir",
                folder,
                "--num_workers",
                str(workers),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        output = []
        reader = threading.Thread(target=lambda: output.extend(process.stdout))
        reader.start()
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.05)
        seconds = time.monotonic() - start
        reader.join()
        if process.returncode:
            sys.exit("prepare_data.py failed")
        return (
            seconds,
            processor_seconds() - used,
            peak,
            [line for line in output if line.startswith(("corpus:", "train:"))],
        )


# --- pure Python --------------------------------------------------------------------------------------------

_theirs = None


def start_theirs(vocab_file, lower_case, ready):
    """A process's own tokenizer; returns when all processes have theirs."""
    global _theirs
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    _theirs = BertTokenizerLegacy(vocab_file, do_lower_case=lower_case)
    ready.wait()


def tokenize(sentences):
    """(int32 ids of some sentences, processor seconds), by the tokenizer's two parts without the layers
    around them.
    """
    start = time.process_time()
    ids = [
        _theirs.vocab[piece]
        for sentence in sentences
        for word in _theirs.basic_tokenizer.tokenize(sentence)
        for piece in _theirs.wordpiece_tokenizer.tokenize(word)
    ]
    return np.array(ids, np.int32), time.process_time() - start


def pure_python(sentences, vocab_file, lower_case, workers):
    """(seconds, processor seconds, int32 ids) of all sentences on `workers` processes."""
    sentences = iter(sentences)
    chunks = iter(lambda: list(islice(sentences, 500)), [])
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    with context.Pool(workers, start_theirs, (vocab_file, lower_case, ready)) as pool:
        ready.wait()
        start = time.monotonic()
        parts, used = zip(*pool.imap(tokenize, chunks))
        return time.monotonic() - start, sum(used), np.concatenate(parts)


def read_options():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", required=True, help="files and folders of the corpus, separated by commas")
    parser.add_argument("--vocab_file", required=True, help="WordPiece vocabulary, one token a line")
    parser.add_argument(
        "--repeat",
        type=int,
        default=20,
        help="times the corpus is read in the longer run (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes of both (default: one a core)"
    )
    return parser.parse_args()


def main():
    """Measure both, compare, print."""
    options = read_options()
    inputs, vocabulary = options.input.split(","), read_vocabulary(options.vocab_file)
    lower_case = is_lower_case(vocabulary)
    lines, documents = read_corpus(inputs)
    print(
        f"{cpu_name()}, {options.workers} processes; {lines:,} lines, {len(documents):,} documents, "
        f"{sum(len(document.text) for document in documents) / 1e6:.1f} million characters"
    )

    sentences = sentences_of(documents)
    before, used_before, expected = pure_python(sentences, options.vocab_file, lower_case, options.workers)
    start = time.monotonic()
    found = WordTokenizer(Tokenizer(vocabulary, lower_case)).encode(documents).tokens
    print(f"ours, tokenization only, one process: {lines / (time.monotonic() - start):,.0f} lines/s")
    equal = np.array_equal(found, expected)
    print(f"token ids: {len(found):,}, {'equal' if equal else 'DIFFERENT'}")

    once, *_ = ours(inputs, options.vocab_file, options.workers)
    often, used, peak, output = ours(inputs * options.repeat, options.vocab_file, options.workers)
    after, used_after, _ = pure_python(sentences, options.vocab_file, lower_case, options.workers)
    theirs, total = lines / min(before, after), lines * options.repeat
    print(
        f"pure Python, tokenization only: {theirs:,.0f} lines/s ({before:.1f} s before ours, {after:.1f} "
        "s after; the better one counts)"
    )
    print(
        f"ours, from text to records, read once, start-up included: {lines / once:,.0f} lines/s "
        f"({once:.1f} s), {lines / once / theirs:.1f} times"
    )
    print(
        f"ours, read {options.repeat} times, start-up included: {total / often:,.0f} lines/s ({often:.1f} "
        f"s), {total / often / theirs:.1f} times; at most {peak / 2**20:,.0f} MiB in all processes "
        "together"
    )
    if options.repeat > 1:
        rate = (total - lines) / (often - once)
        print(f"ours, without start-up: {rate:,.0f} lines/s, {rate / theirs:.1f} times")
    print(
        "processor seconds for 10,000 lines: pure Python "
        f"{min(used_before, used_after) / lines * 1e4:.2f}, ours {used / total * 1e4:.2f}: "
        f"{min(used_before, used_after) / lines / (used / total):.1f} times"
    )
    print(*output, sep="", end="")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
