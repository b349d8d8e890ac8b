"""What the benchmarks compare must be the same work on both sides."""

import json

import numpy as np
import pytest

from benchmarks.deploy_models import BERT_BASE, DYNAMIC, TERNARY
from benchmarks.deploy_report import MARKS, latency_rows, model_rows, ratio_rows, summary, write
from benchmarks.deploy_sides import Side as DeployedSide
from benchmarks.measure import Worker
from benchmarks.more_questions import nearest, pieces
from benchmarks.report import table_rows
from benchmarks.rows import Rows, plan_batches
from benchmarks.steps import step_flop

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("batching", ["shuffled", "grouped", "64"])
def test_every_row_is_in_one_batch_of_an_epoch(batching):
    lengths = np.random.default_rng(0).integers(4, 60, 1000)
    batches = plan_batches(lengths, 32, batching, seed=3)
    assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(1000))
    assert {length for _, length in batches} == {64 if batching == "64" else 0}


def test_grouping_by_length_leaves_little_padding():
    lengths = np.random.default_rng(0).integers(4, 60, 3200)

    def places(batching):
        return sum(len(rows) * lengths[rows].max() for rows, _ in plan_batches(lengths, 32, batching, 1))

    assert places("grouped") < 1.05 * lengths.sum() < 1.5 * lengths.sum() < places("shuffled")


def test_rows_are_padded_as_the_published_vocabulary_reads_them(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    (tmp_path / "MRPC").mkdir()
    head = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    (tmp_path / "MRPC" / "train.tsv").write_text(head + "1\t1\t2\ta\tb b\n0\t3\t4\tB\ta\n")
    rows = Rows.of_task(str(tmp_path), "MRPC", "train", str(tmp_path / "vocab.txt"))
    ids, mask, segments, labels = rows.padded([1, 0])
    assert ids.tolist() == [[2, 6, 3, 5, 3, 0], [2, 5, 3, 6, 6, 3]]
    assert mask.tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6]
    assert segments.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]
    assert labels.tolist() == [0, 1]


def test_more_texts_are_whole_sentences_and_get_the_question_that_is_nearest():
    sentence = "In 1 @,@ 999 the well @-@ known <unk> river rose " + "very " * 36 + "high . "  # 44 words
    short = "Too short a line . "
    texts = pieces(["\n", " = A heading = \n", sentence * 3 + "\n", short + "\n", short * 9 + "\n"])
    assert [len(text.split()) for text in texts] == [88, 44, 45]
    assert texts[0].startswith("In 1,999 the well-known river rose very") and texts[1].endswith("high .")
    questions = ["Who wrote the short line?", "When did the river rise?"]
    assert nearest(texts, questions) == [questions[1], questions[1], questions[0]]


@pytest.mark.parametrize("kind", ["tensor", "row", "activation", "probs", "rest"])
def test_the_quantizers_in_pytorch_are_ours(kind):
    import mindspore as ms
    from mindspore import ops

    from benchmarks.torch_side import W2A8
    from src.quant.quantizers import build_quantizer

    values = np.random.default_rng(1).normal(0, 2, (24, 40)).astype(np.float32)  # some beyond the clip
    values = abs(values) % 1 if kind == "probs" else values
    own, theirs = {
        "tensor": (build_quantizer("twn", 2, "tensor", 2.5), W2A8().weight),
        "row": (build_quantizer("twn", 2, "row", 2.5), W2A8().rows),
        "activation": (build_quantizer("symmetric", 8, "tensor", 2.5), W2A8().activation),
        "probs": (build_quantizer("symmetric", 8, "tensor", 2.5, bounds=(0.0, 1.0)), W2A8().probs),
        "rest": (build_quantizer("symmetric", 8, "row", 0.0), W2A8().rest),
    }[kind]
    weights = np.random.default_rng(2).normal(size=values.shape).astype(np.float32)
    x = torch.tensor(values, requires_grad=True)
    output = theirs(x)
    (output * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(output.detach(), own(ms.Tensor(values)).asnumpy(), rtol=1e-5, atol=1e-6)
    gradient = ops.GradOperation(sens_param=True)(own)(ms.Tensor(values), ms.Tensor(weights))
    np.testing.assert_allclose(x.grad, gradient.asnumpy(), rtol=1e-5, atol=1e-6)


def tiny(folder, seed, layers=2):
    """A network of random weights, written as a Hugging Face folder."""
    from benchmarks.torch_side import make

    make(f"{layers}x24", str(folder), seed)
    return str(folder)


def test_one_quantized_step_is_the_same_on_both_sides(tmp_path):
    from benchmarks.torch_steps import Side

    work = {"teacher": tiny(tmp_path / "a", 0), "student": tiny(tmp_path / "b", 1, layers=1), "layers": []}
    work |= {"terms": ["layers", "logits"], "projection": True, "quantized": True}
    work |= {
        "learning_rate": 1e-3,
        "batch_size": 4,
        "batching": "shuffled",
        "rows": str(tmp_path / "rows.npz"),
        "token_ids": "",
    }
    rows = Rows.random(8, 12)
    rows.save(work["rows"])
    ours = Worker("ours", work)  # a process of its own: fusion is switched on for all of it
    try:
        loss, numbers = ours.ask("first")
    finally:
        ours.close()
    assert Side(work, rows).loss_of(numbers) == pytest.approx(loss, rel=1e-3)


def test_flop_are_those_that_pytorch_counts(tmp_path):
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.torch_steps import Side

    work = {"teacher": tiny(tmp_path / "a", 0), "student": tiny(tmp_path / "b", 1), "layers": []}
    work |= {"terms": ["layers"], "projection": True, "quantized": False}
    work |= {"learning_rate": 1e-3, "batch_size": 4, "batching": "shuffled"}
    side = Side(work, Rows.random(8, 12))
    with FlopCounterMode(display=False) as counter:
        side.round()
    # The first layer's input needs a gradient too, but the embeddings' projection is the only other product.
    assert step_flop(work, side.shapes()) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_table_compares_ours_with_each_other_side():
    sides = {"ours": {"seconds": 0.4, "peak_mib": 900}, "PyTorch": {"seconds": 0.5, "peak_mib": 1000}}
    figure = {"figure": "step", "setting": "", "sides": sides, "reach": {"PyTorch": 1.1}, "memory_reach": 1.3}
    own, other = table_rows([json.loads(json.dumps(figure))])
    assert own[:6] == ("step", "ours", "400 ms", 900, "", "")
    assert other[4:6] == ("1.25 times as fast (reach 1.1)", "0.90 times (reach 1.3)")


def deployed(own, other):
    """Figures of deploy.py of two models at one shape; arguments are milliseconds of each turn."""

    def side(size, turns, **further):
        turns = [{"ms": turn, "peak_mib": 100 + place} for place, turn in enumerate(turns)]
        return {"bytes": size, "open_seconds": 0.25, "shapes": {"1 x 16": summary(turns)}, **further}

    sides = {BERT_BASE: side(4000, other), TERNARY: side(40, own, accuracy=0.5), DYNAMIC: side(400, other)}
    return {"name": "all", "condition": "defaults", "load": 0.5, "sides": sides}


def test_deployed_models_are_compared_turn_by_turn():
    # The machine is three times slower in the last turn: for both.
    figure = deployed(own=[[1, 1, 9], [2, 2], [3, 3]], other=[[4], [4], [15]])
    base, own, _ = model_rows(figure["sides"])
    assert own == [TERNARY, "40", "100.0", "0.25", "100, 100", "2.00 / 7.20 (4.0x)", "50.00"]
    assert base[5:] == ["4.00 / 13.90 (1.0x)", "-"]
    without = {**figure, "sides": {TERNARY: figure["sides"][TERNARY], BERT_BASE: figure["sides"][BERT_BASE]}}
    found = [row[1] for row in ratio_rows([figure, without])]
    assert found == ["4.00 / 4.00 (reach 75)", "4.00 / - (reach 1.15)"]
    assert [row[1] for row in latency_rows([figure, without])] == ["4.00 / 4.00", "2.00 / 2.00", "4.00 / -"]


def test_deployment_is_written_as_json_and_chart(tmp_path):
    figure = deployed(own=[[1.0]], other=[[2.0]])
    page = tmp_path / "deployment.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write([figure], {"processor": "a processor", "date": "a date"}, str(tmp_path))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert f"| {TERNARY} | 40 | 100.0 | 0.25 | 100, 100 | 1.00 / 1.00 (2.0x) | 50.00 |" in text
    assert json.loads((tmp_path / "deployment.json").read_text())["figures"] == [figure]
    assert TERNARY in (tmp_path / "deployment.svg").read_text()  # matplotlib notes texts as comments


def test_a_deployed_file_gets_its_inputs_by_name(tmp_path):
    onnx = pytest.importorskip("onnx")
    kind, path = onnx.TensorProto.INT64, str(tmp_path / "model.onnx")
    nodes = [
        onnx.helper.make_node("Cast", ["attention_mask"], ["real"], to=onnx.TensorProto.BOOL),
        onnx.helper.make_node("Where", ["real", "input_ids", "token_type_ids"], ["logits"]),
    ]
    inputs, (output,) = (
        [onnx.helper.make_tensor_value_info(name, kind, ["batch", "tokens"]) for name in names]
        for names in (["attention_mask", "token_type_ids", "input_ids"], ["logits"])  # not in our order
    )
    graph = onnx.helper.make_graph(nodes, "graph", inputs, [output])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path
    )
    # The largest "logit" of a row is its largest token's: places 1 and 2, and of the padded row 0.
    rows = Rows(
        np.array([5, 9, 7, 4, 6, 8, 3]), np.zeros(7, int), np.array([0, 3, 6, 7]), np.array([1, 2, 1])
    )
    work = {"runtime": "onnx", "path": path, "threads": 1, "spinning": True, "vocab_size": 100}
    side = DeployedSide(work, rows)
    columns = [np.array([[11, 12]], np.int32), np.array([[1, 0]], np.int32), np.array([[21, 22]], np.int32)]
    assert side.run(*columns).tolist() == [[11, 22]]
    assert side.accuracy() == pytest.approx(2 / 3)
    assert len(side.turn(2, 8, 0.0)["ms"]) == 1
