"""What reads files, each as a `Target`. None needs MindSpore to read; nothing here compiles."""

import io
import json
import os
import tempfile
import zipfile
from types import SimpleNamespace

import numpy as np
from safetensors.numpy import save as safetensors_bytes

from scripts.launch.rank_table import read_rank_table, this_server
from src.checkpoint import architecture, huggingface
from src.checkpoint.folder import PACKED_FILE, _sums, digest
from src.checkpoint.formats import read_any
from src.checkpoint.tokens import find_vocabulary
from src.data.augment.parts import Parts
from src.data.augment.vectors import WordVectors
from src.data.corpus.documents import CorpusReader
from src.data.corpus.files import find_files
from src.data.corpus.shards import ShardFolder
from src.data.info import DatasetInfo
from src.data.origins import read_origin
from src.data.readers.files import find_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows
from src.data.readers.split import read_split
from src.data.texts import read_texts
from src.deploy import bin_files, sessions
from src.description import DataFacts, Description
from src.errors import UserError
from src.json_file import read_json
from src.settings.network import BertConfig
from src.settings.parsing import parse, to_yaml
from src.settings.training import TaskDistillConfig, TernaryConfig
from src.tasks import get_task
from src.vocabulary import read_vocabulary
from tests.fuzz import run_files, teacher
from tests.fuzz.target import Target, as_json, as_lines

# --- raw data -----------------------------------------------------------------------------------------------


def rows_of(task_name, skip=True):
    """A reader of a task's training and test file, as prepare_data.py reads them."""
    task = get_task(task_name)

    def read(folder):
        for stem, test in (("train", False), ("test", True)):
            source = find_source(folder, stem, task.source.formats)
            if source is None:
                continue
            kind, names = (
                discover_labels(task, source, (), BadRows(skip)) if not test else (task.kind, task.labels)
            )
            if kind is None:
                continue
            for row in read_split(task, source, kind, names, BadRows(skip), test):
                kind.count_answers(row.label)
                row.text.encode("utf-8")

    return read


def documents(folder):
    bad_rows = BadRows(True)
    for document in CorpusReader(find_files([folder]), bad_rows, 1 << 12).documents():
        document.text.encode("utf-8")


def parquet_bytes():
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    table = pyarrow.table({"sentence": ["a fine day", "a grey one"], "label": [1, 0], "idx": [0, 1]})
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "The mill by the river was built in 1843.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "When was it built?",
                            "answers": [{"text": "1843", "answer_start": 35}],
                        },
                        {"id": "q2", "question": "Who?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
TSV = b"sentence\tlabel\na fine day\t1\na grey one\t0\nso so\t1\n"
STSB = (
    b"index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    b"0\tm\tf\t2012\t1\tn\tn\tA man rows.\tA man is rowing.\t4.8\n1\tm\tf\t2012\t1\tn\tn\tx\ty\t0.2\n"
)
OWN = as_lines({"text": "a fine day", "label": "good"}, {"text": "so grey", "label": "bad"})
NUMBERS = as_lines({"text": "a", "text_pair": "b", "label": 1.5}, {"text": "c", "text_pair": "d", "label": 2})
ENTITIES = as_lines(
    {"text": "Ann lives in Rome", "entities": [[0, 3, "PER"], [13, 17, "LOC"]]},
    {"text": "Bob sleeps", "entities": [[0, 3, "PER"]]},
)
CLUENER = as_lines(
    {"text": "Ann in Rome", "label": {"name": {"Ann": [[0, 2]]}, "address": {"Rome": [[7, 10]]}}}
)
TNEWS = as_lines({"label": "102", "label_desc": "news_entertainment", "sentence": "a film", "keywords": ""})
CONLL = b"-DOCSTART- -X- O O\n\nAnn NNP B-NP B-PER\nlives VBZ B-VP O\n\nRome NNP B-NP B-LOC\n"
CORPUS = (
    b"A first line.\nA second one.\n\nAnother document.\n",
    as_lines({"title": "T", "text": "T\n\nIt is a text.\nOf two lines."}),
    b'<doc id="1" title="T">\nT\n\nA text &amp; more.\n</doc>\n',
)

# --- descriptions -------------------------------------------------------------------------------------------

NET = {
    **{"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 4, "hidden_act": "gelu", "hidden_dropout_prob": 0.1},
    **{"attention_probs_dropout_prob": 0.1, "max_position_embeddings": 8, "type_vocab_size": 2},
    **{"initializer_range": 0.02, "layer_norm_eps": 1e-12},
}
OURS = {
    **NET,
    **{"use_relative_positions": False, "max_relative_position": 4, "classifier_relu": False},
    **{"classifier_dropout": None, "num_labels": 2, "problem_type": "single_label_classification"},
    **{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "do_lower_case": True},
    **{
        "task_name": "SST-2",
        "quantization": {"weight_bits": 2, "weight_quantizer": "twn"},
        "vocab_sha256": "",
    },
    **{"strip_accents": None, "weights_sha256": {"eval_model.ckpt": ["0" * 64]}},
}
FOREIGN = {
    **NET,
    **{"architectures": ["BertForSequenceClassification"], "model_type": "bert", "finetuning_task": "sst2"},
    **{"position_embedding_type": "absolute", "id2label": {"0": "neg", "1": "pos"}, "num_labels": 2},
    **{"problem_type": None, "is_decoder": False, "add_cross_attention": False},
}
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "day", "##s")
INFO = {
    **{
        "task_name": "SST-2",
        "head": "classification",
        "labels": ["negative", "positive"],
        "vocab_sha256": "ab",
    },
    **{"vocab_size": 9, "do_lower_case": True, "max_seq_length": 16, "strip_accents": None},
    "splits": {"train": {"rows": 4, "labelled": True, "length_histogram": {"8": 4}, "files": ["train.x"]}},
    "checksums": {"train.x": {"bytes": 3, "sha256": "0" * 64}},
}
ROWS = {
    **{"rows": 2, "seq_length": 4, "task_name": "SST-2", "split": "eval", "kind": "classification"},
    **{"num_labels": 2, "labels": ["a", "b"], "vocab_sha256": "", "longest": 4, "largest_token_id": 3},
    **{"largest_segment_id": 1, "layout": "own", "do_lower_case": None},
}
TOKENIZER = {
    "model": {"type": "WordPiece", "vocab": {token: index for index, token in enumerate(VOCABULARY)}},
    "normalizer": {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "added_tokens": [{"id": 0, "content": "[PAD]"}],
}
TOKENIZER_CONFIG = {
    **{"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None},
    **{"added_tokens_decoder": {"0": {"content": "[PAD]"}}, "additional_special_tokens": ["<e>"]},
}


def ours(folder):
    path = os.path.join(folder, "config.json")
    _sums(folder)
    description = Description.from_json(read_json(path, "configuration"), path, folder)
    description.check_fits(DataFacts(task_name="SST-2", kind=get_task("SST-2").kind, outputs=2), "key")
    description.to_json(), description.frozen(), description.longest_row, description.is_quantized


def data_info(folder):
    info = DatasetInfo.load(folder)
    for split in info.splits.values():
        max(map(int, split.get("length_histogram") or {"0": 0}))


def foreign_tokenizer(folder):
    notices = []
    find_vocabulary(folder, "", {}, notices)


def onnx_metadata(folder):
    """Each line is a key and a JSON text, as an ONNX file has them."""
    with open(os.path.join(folder, "metadata"), encoding="utf-8", errors="surrogateescape") as file:
        notes = dict(line.rstrip("\n").partition("\t")[::2] for line in file)
    sessions.described_by(notes, "model.onnx")


ONNX = b"".join(
    f"{key}\t{json.dumps(value)}\n".encode() for key, value in OURS.items() if key != "weights_sha256"
)


# --- weights ------------------------------------------------------------------------------------------------


def encoder_weights():
    random = np.random.default_rng(0)
    shapes = architecture._expected_shapes(BertConfig(**NET), None, {})
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def hugging_face_bytes():
    from src.checkpoint.names import translate

    weights = translate(encoder_weights(), "ours", "huggingface")
    plain = safetensors_bytes(weights, {"format": "pt"})
    return plain, safetensors_bytes(weights, {"format": "pt", "sha256": digest(weights)})


def packed_bytes():
    arrays = {
        "a|values": np.ones((2, 3), np.float32),
        "b|codes": np.zeros(2, np.uint8),
        "b|scale": np.ones(1, np.float32),
    }
    layout = {
        "a": {"kind": "float", "shape": [2, 3]},
        "b": {"kind": "ternary", "density": 5, "shape": [2, 3]},
    }
    text = json.dumps(layout)
    return arrays, text


def packed_file(layout=None, arrays=None):
    good, text = packed_bytes()
    text, arrays = (layout or text), (arrays or good)
    metadata = {
        "format": "bert-packed",
        "version": "4",
        "layout": text,
        "sha256": digest(arrays, text),
        "config_sha256": "",
    }
    return safetensors_bytes(arrays, metadata)


def packed(folder):
    from src.checkpoint.packed import _read_weights

    _read_weights(os.path.join(folder, PACKED_FILE))


def packed_layout(folder):
    """A layout that was changed together with its checksum: what a program of another version may write."""
    with open(os.path.join(folder, "layout"), encoding="utf-8", errors="replace") as file:
        text = file.read()
    with open(os.path.join(folder, PACKED_FILE), "wb") as file:
        file.write(packed_file(text))
    packed(folder)


# --- results ------------------------------------------------------------------------------------------------


def examples_bytes():
    buffer = io.BytesIO()
    np.savez(
        buffer,
        input_ids=np.int32([2, 3, 2, 3]),
        segment_ids=np.int32([0, 0, 0, 0]),
        offsets=np.int64([0, 2, 4]),
        column_label_ids=np.int32([0, 1]),
    )
    return buffer.getvalue()


def examples(folder):
    inputs = bin_files.read_inputs(folder)
    inputs.examples()


def texts_of_rows(folder):
    read_origin(folder, "eval", SimpleNamespace(lengths=np.array([2])))


def texts(folder):
    read_texts(False, False, os.path.join(folder, "texts"))


def vocabulary(folder):
    read_vocabulary(os.path.join(folder, "vocab.txt"))


SHARDS = {
    **{"number": 0, "files": ["train-00000.tf_record"], "rows": 2, "documents": 1, "sentences": 2, "cut": 0},
    **{
        "tokens": 8,
        "lengths": [0, 0, 0, 0, 2],
        "checksums": {"train-00000.tf_record": {"bytes": 1, "sha256": "0" * 64}},
    },
}
PLAN = {"layout": 2, "dataset_type": "tfrecord", "max_seq_length": 8}


def shards(folder):
    found = ShardFolder(folder, PLAN)
    found.total("rows"), found.files, found.checksums


def parts(folder):
    found = Parts(folder, {"seed": 1})
    found._parts = 1
    list(found.rows()) if found._read(0) is not None else None


RANK_TABLE = {
    "version": "1.0",
    "server_count": "1",
    "server_list": [
        {
            "server_id": "10.0.0.1",
            "device": [
                {"device_id": str(number), "device_ip": f"192.168.0.{number + 1}", "rank_id": str(number)}
                for number in range(2)
            ],
            "host_nic_ip": "reserve",
        }
    ],
    "status": "completed",
}


def rank_table(folder):
    path = os.path.join(folder, "hccl.json")
    this_server(path, read_rank_table(path))


# --- settings -----------------------------------------------------------------------------------------------

YAML = (
    b"task_name: SST-2\nseed: 3\nphase1_cfg:\n  batch_size: 8\n  optimizer_cfg:\n    AdamWeightDecay:\n"
    b"      learning_rate: 1.0e-4\nbucket_boundaries: [16, 32]\nstudent_net_cfg:\n  hidden_size: 8\n",
    b"data_dir: x\noutput_dir: y\nmax_seq_length: 64\nquant_cfg:\n  weight_bits: 2\ndo_lower_case: auto\n",
)
LINES = (
    b"--task_name\nSST-2\n--seed\n3\n--phase1_cfg.batch_size\n8\n--bucket_boundaries\n[16, 32]\n",
    b"--data_dir=x\n--device_target=CPU\n--quant_cfg.weight_bits=2\n--do_lower_case\ntrue\n--label_order\na,b\n",
    b"--load_ckpt_path\nx\n--text\na day\n--epoch_size\n2\n--help_me\n",
)


SETTINGS = TaskDistillConfig, TernaryConfig


def settings_of(words):
    """A command line as some commands take it; one that none of them takes is refused."""
    refusals = []
    for config_class in SETTINGS:
        try:
            to_yaml(parse(config_class, words)[0])
        except UserError as error:
            refusals.append(error)
    if len(refusals) == len(SETTINGS):
        raise refusals[-1]


def yaml_settings(folder):
    settings_of(["--config_path", os.path.join(folder, "c.yaml")])


def command_line(folder):
    with open(os.path.join(folder, "line"), "rb") as file:
        words = [os.fsdecode(word) for word in file.read().split(b"\n") if word]
    words = [word for word in words if word not in ("--help", "-h") and not word.startswith("--config_path")]
    settings_of(words)


def vectors(folder):
    found = WordVectors.read(os.path.join(folder, "v.txt"))
    assert all(isinstance(word, str) for word in found.nearest("day", 2))


def zip_bytes():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/b.txt", "c.txt"):
            archive.writestr(name, "text " * 20)
    return buffer.getvalue()


def unpacked(folder):
    from src.modelarts import unpack

    with tempfile.TemporaryDirectory() as target:
        unpack(os.path.join(folder, "a.zip"), target)


def results(folder):
    inputs = bin_files.read_inputs(folder)
    found = bin_files.read_results(os.path.join(folder), inputs, inputs.examples())
    assert found.shape == (2, 2)


WORDS = "\n".join(VOCABULARY).encode()
OWN_TSV = b"text\tlabel\na\tx\nb\ty\n", b"text\ttext_pair\tlabel\na\tc\t1.5\nb\td\t2\n"
INDEX = as_json({"weight_map": {"a": "model-1.safetensors"}})
PART_OF_WEIGHTS = {"model-1.safetensors": safetensors_bytes({"a": np.ones(3, np.float32)})}
TEXTS = as_lines({"id": "q", "text": "a b", "answers": ["a"], "rows": [[-1, -1, 0, 1]]})
PART = as_lines({"text": "a", "text_pair": None, "label": 1, "line_number": 3, "id": ""}, {"rows": 1})
WEIGHTS = hugging_face_bytes()
CACHE_INDEX = {"index.json": as_json({"key": teacher.KEY})}
ROW = np.float32([0.5, -0.5]).tobytes()
INPUTS = {"rows.json": as_json(ROWS), "examples.npz": examples_bytes()}
TARGETS = (
    Target("tsv", "train.tsv", (TSV,), rows_of("SST-2")),
    Target("tsv of scores", "train.tsv", (STSB,), rows_of("STS-B")),
    Target("tsv without answers", "test.tsv", (b"index\tsentence\n0\ta day\n",), rows_of("SST-2")),
    Target("json lines", "train.jsonl", (OWN, NUMBERS, ENTITIES), rows_of("custom")),
    Target("json lines, strictly", "train.jsonl", (OWN, NUMBERS, ENTITIES), rows_of("custom", skip=False)),
    Target("own tsv", "train.tsv", OWN_TSV, rows_of("custom")),
    Target("squad", "train-v2.0.json", (as_json(SQUAD),), rows_of("SQuAD2")),
    Target("cluener", "train.json", (CLUENER,), rows_of("CLUENER")),
    Target("tnews", "train.json", (TNEWS,), rows_of("TNEWS")),
    Target("conll", "train.conll", (CONLL,), rows_of("custom")),
    Target("parquet", "train.parquet", (parquet_bytes(),), rows_of("SST-2")),
    Target("corpus", "corpus.txt", CORPUS, documents),
    Target("texts", "texts", (b"a day\nanother\tpair\n",), texts),
    Target("dataset.json", "dataset.json", (as_json(INFO),), data_info),
    Target("config.json", "config.json", (as_json(OURS),), ours),
    Target(
        "foreign config.json",
        "config.json",
        (as_json(FOREIGN),),
        read_any,
        {"model.safetensors": WEIGHTS[0], "vocab.txt": WORDS},
    ),
    Target("tokenizer.json", "tokenizer.json", (as_json(TOKENIZER),), foreign_tokenizer),
    Target(
        "tokenizer_config.json",
        "tokenizer_config.json",
        (as_json(TOKENIZER_CONFIG),),
        foreign_tokenizer,
        {"vocab.txt": WORDS},
    ),
    Target("vocab.txt", "vocab.txt", (WORDS,), vocabulary),
    Target("onnx metadata", "metadata", (ONNX,), onnx_metadata),
    Target("safetensors", "model.safetensors", WEIGHTS, read_any, {"config.json": as_json(FOREIGN)}),
    Target("index of weights", "model.safetensors.index.json", (INDEX,), huggingface._read, PART_OF_WEIGHTS),
    Target("packed file", PACKED_FILE, (packed_file(),), packed),
    Target("packed layout", "layout", (packed_bytes()[1].encode(),), packed_layout),
    Target("rows.json", "rows.json", (as_json(ROWS),), examples, INPUTS),
    Target("examples.npz", "examples.npz", (examples_bytes(),), examples, INPUTS),
    Target("results", "row_0000000.bin", (ROW,), results, {**INPUTS, "row_0000001.bin": ROW}),
    Target("word vectors", "v.txt", (b"2 3\nday 0.1 0.2 0.3\nnight 1 2 3e-1\n",), vectors),
    Target("zip", "a.zip", (zip_bytes(),), unpacked),
    Target("gd_plan.json", "gd_plan.json", (as_json(PLAN),), shards, {"shards.jsonl": as_lines(SHARDS)}),
    Target("plan.json", "plan.json", (as_json({"seed": 1}),), parts, {"part-00000.jsonl": PART}),
    Target("texts of rows", "eval.texts.jsonl", (TEXTS,), texts_of_rows),
    Target("shards.jsonl", "shards.jsonl", (as_lines(SHARDS),), shards, {"gd_plan.json": as_json(PLAN)}),
    Target("augmented part", "part-00000.jsonl", (PART,), parts, {"plan.json": as_json({"seed": 1})}),
    Target("teacher cache", "answers.bin", (teacher.ANSWERS, teacher.BEGUN), teacher.read, CACHE_INDEX),
    Target(
        "teacher cache's index",
        "index.json",
        (CACHE_INDEX["index.json"],),
        teacher.read,
        {"answers.bin": teacher.ANSWERS},
    ),
    Target("rank table", "hccl.json", (as_json(RANK_TABLE),), rank_table),
    Target("yaml", "c.yaml", YAML, yaml_settings),
    Target("command line", "line", LINES, command_line, refused={2: "unknown setting"}),
    *run_files.TARGETS,
)
