"""A batch's loss terms and their gradients against the golden files and PyTorch."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.data.bins import Shape
from src.data.micro_batches import lay_out
from src.data.steps import PackedSteps, PaddedSteps
from src.distill.distiller import Distiller, LossTerms, Projection, check_comparable, uniform_layer_map
from src.distill.losses import label_cross_entropy
from src.errors import UserError
from src.examples import Column, Examples, offsets_of
from src.kinds import CLASSIFICATION, REGRESSION, SPAN, TAGGING
from src.model import Model
from src.nn.heads import BertForTokens
from src.nn.layers import eager
from src.settings.stage import Phase1Config
from tests.helpers import (
    PublishedDistiller,
    fill,
    golden,
    golden_checkpoint,
    hugging_face_name,
    micro_batch,
    needs_golden,
    published_micro_batch,
    random_batch,
    refuses,
    relative_error,
    tensors,
    terms_and_gradients,
    tiny_config,
    tiny_network,
    torch_twin,
    weights_of,
)
from tests.numpy_bert import NumpyBert

INTERMEDIATE = LossTerms(attention_loss=1.0, hidden_loss=1.0)
PREDICTION = LossTerms(soft_loss=1.0)


class Says(nn.Cell):
    """In a student's place: says the logits that it was given. The graph is then that of the losses alone."""

    def __init__(self, logits):
        super().__init__(auto_prefix=False)
        self.config = tiny_config()
        self.logits = ms.Parameter(ms.Tensor(logits, ms.float32), name="logits")

    def construct(self, *inputs):
        return self.logits, (), ()


def assert_gradients(found, expected):
    """Each parameter's within 1e-3 relative; where it should be none, absolutely small."""
    scale = max(np.linalg.norm(item) for item in expected.values())
    for name, gradient in found.items():
        reference = expected.get(name, np.zeros_like(gradient))
        # A key's bias shifts all scores of a query alike: softmax cancels it.
        if np.linalg.norm(reference) < 1e-6 * scale:
            assert np.linalg.norm(gradient) < 1e-5 * scale, name
        else:
            assert relative_error(gradient, reference) < 1e-3, name


# --- golden -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden_case():
    numbers = golden("tinybert")
    batch = [
        numbers[name].astype(np.int32) for name in ("input_ids", "input_mask", "segment_ids", "label_ids")
    ]
    teacher, student = (golden_checkpoint(f"tinybert_{name}") for name in ("teacher", "student"))
    networks = [Model.from_checkpoint(item).network for item in (teacher, student)]
    projection = Projection(32, 48, 0.02)
    for name, parameter in projection.parameters_dict().items():
        parameter.set_data(ms.Tensor(student.weights[name]))
    return numbers, batch, *networks, projection


@needs_golden
def test_golden_intermediate_losses_and_gradients(golden_case):
    numbers, batch, teacher, student, projection = golden_case
    distiller = PublishedDistiller(student, INTERMEDIATE, projection)
    with eager():  # PyTorch's below is compared with the graph
        values, gradients = terms_and_gradients(distiller, published_micro_batch(*batch), teacher)
    for ours, theirs in (
        ("attention_loss", "att_loss"),
        ("hidden_loss", "rep_loss"),
        ("loss", "intermediate_loss"),
    ):
        assert values[ours] == pytest.approx(float(numbers[theirs]), rel=1e-5)
    prefix = "grad.intermediate."
    expected = {
        name: numbers[prefix + hugging_face_name(name)]
        for name in gradients
        if prefix + hugging_face_name(name) in numbers
    }
    assert len(expected) == sum(key.startswith(prefix) for key in numbers)
    assert_gradients(gradients, expected)


@needs_golden
def test_golden_prediction_loss_label_loss_and_gradients(golden_case):
    numbers, batch, teacher, student, _ = golden_case
    distiller = Distiller(student, PREDICTION, kind=CLASSIFICATION)
    with eager():
        values, gradients = terms_and_gradients(distiller, micro_batch(*batch), teacher)
    assert values["soft_loss"] == pytest.approx(float(numbers["prediction_loss"]), rel=1e-5)
    prefix = "grad.prediction."
    expected = {
        name: numbers[prefix + hugging_face_name(name)]
        for name in gradients
        if prefix + hugging_face_name(name) in numbers
    }
    assert len(expected) == sum(key.startswith(prefix) for key in numbers)
    assert_gradients(gradients, expected)
    found = label_cross_entropy(*tensors(numbers["student_logits"], batch[3])).mean()
    assert float(found) == pytest.approx(float(numbers["hard_label_loss"]), rel=1e-5)


# --- PyTorch on random networks -----------------------------------------------------------------------------


def torch_outputs(twin, ids, mask, segments):
    """(logits, hidden states, scores with -10000 added) of a transformers network, gradients flowing."""
    outputs = twin(ids, mask, segments, output_hidden_states=True)
    scores = []
    for state, layer in zip(outputs.hidden_states, twin.bert.encoder.layer):
        part, heads = layer.attention.self, twin.config.num_attention_heads
        query, key = (
            item(state).reshape(*ids.shape, heads, -1).transpose(1, 2) for item in (part.query, part.key)
        )
        scores.append(
            query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            + (1.0 - mask[:, None, None].double()) * -10000.0
        )
    return outputs.logits, outputs.hidden_states, scores


@pytest.fixture(scope="module")
def random_case():
    teacher, student = (
        tiny_network(1, num_hidden_layers=4),
        tiny_network(2, num_hidden_layers=2, hidden_size=12),
    )
    return teacher, student, fill(Projection(12, 16, 0.1), 3), random_batch(4)


def torch_gradients(loss, twin, fit=None):
    twin.zero_grad()
    loss.backward()
    named = dict(
        twin.named_parameters(),
        **({"fit_dense." + name: value for name, value in fit.named_parameters()} if fit else {}),
    )
    return {name: value.grad.numpy() for name, value in named.items() if value.grad is not None}


def test_intermediate_losses_and_gradients_are_those_of_torch(random_case):
    torch = pytest.importorskip("torch")
    teacher, student, projection, batch = random_case
    ids, mask, segments = (torch.tensor(item).long() for item in batch[:3])
    twin, fit = torch_twin(student), torch.nn.Linear(12, 16).double()
    fit.load_state_dict(
        {
            name.removeprefix("fit_dense."): torch.tensor(value).double()
            for name, value in weights_of(projection).items()
        }
    )
    with torch.no_grad():
        _, teacher_states, teacher_scores = torch_outputs(torch_twin(teacher), ids, mask, segments)
    _, states, scores = torch_outputs(twin, ids, mask, segments)
    mse = torch.nn.functional.mse_loss
    # G(1) = 2, g(2) = 4.
    attention = sum(
        mse(torch.where(ours <= -1e2, 0.0, ours), torch.where(theirs <= -1e2, 0.0, theirs))
        for ours, theirs in zip(scores, (teacher_scores[1], teacher_scores[3]))
    )
    hidden = sum(
        mse(fit(ours), theirs)
        for ours, theirs in zip(states, (teacher_states[0], teacher_states[2], teacher_states[4]))
    )
    distiller = PublishedDistiller(student, LossTerms(attention_loss=1.0, hidden_loss=0.5), projection)
    values, gradients = terms_and_gradients(distiller, published_micro_batch(*batch), teacher)
    assert values["attention_loss"] == pytest.approx(attention.item(), rel=1e-5)
    assert values["hidden_loss"] == pytest.approx(hidden.item(), rel=1e-5)
    assert values["loss"] == pytest.approx((attention + 0.5 * hidden).item(), rel=1e-5)
    theirs = torch_gradients(attention + 0.5 * hidden, twin, fit)
    assert_gradients(
        gradients,
        {name: theirs[hugging_face_name(name)] for name in gradients if hugging_face_name(name) in theirs},
    )


def test_prediction_loss_and_gradients_are_those_of_torch_with_temperature_and_labels(random_case):
    torch = pytest.importorskip("torch")
    teacher, student, _, batch = random_case
    ids, mask, segments, labels = (torch.tensor(item).long() for item in batch)
    twin = torch_twin(student)
    with torch.no_grad():
        target = torch.softmax(torch_twin(teacher)(ids, mask, segments).logits / 2.0, -1)
    logits = twin(ids, mask, segments).logits
    logits.retain_grad()
    loss = -(target * torch.log_softmax(logits / 2.0, -1)).mean() + 0.5 * torch.nn.functional.cross_entropy(
        logits, labels
    )
    terms = LossTerms(soft_loss=1.0, label_loss=0.5)
    distiller = Distiller(student, terms, kind=CLASSIFICATION, temperature=2.0)
    with eager():
        values, gradients = terms_and_gradients(distiller, micro_batch(*batch), teacher)
    assert values["loss"] == pytest.approx(loss.item(), rel=1e-5)
    theirs = torch_gradients(loss, twin)
    says = Distiller(Says(logits.detach().numpy()), terms, kind=CLASSIFICATION, temperature=2.0)
    compiled, of_logits = terms_and_gradients(says, micro_batch(*batch), teacher)
    assert compiled == pytest.approx(values, rel=1e-5)
    assert_gradients(of_logits, {"logits": logits.grad.numpy()})
    assert_gradients(
        gradients,
        {name: theirs[hugging_face_name(name)] for name in gradients if hugging_face_name(name) in theirs},
    )


# --- what a distiller is ------------------------------------------------------------------------------------


def test_teacher_gets_no_gradient_and_says_the_same_while_training(random_case):
    *_, projection, batch = random_case
    teacher = tiny_network(1, num_hidden_layers=1)
    student = tiny_network(2, num_hidden_layers=1, hidden_size=12, hidden_dropout_prob=0.5)
    distiller = Distiller(
        student, LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0), projection, CLASSIFICATION
    )
    asked = distiller.ask(teacher)
    assert {item.name for item in distiller.trainable_params()} == set(weights_of(student)) | set(
        weights_of(projection)
    )
    assert not any(item.requires_grad for item in teacher.get_parameters())
    inputs = tensors(*micro_batch(*batch))
    asked.set_train(True)
    with eager():
        calm = teacher(*tensors(*batch[:3]))
        answers = asked(*inputs[:5])
    for ours, theirs in zip(answers, (*calm[1], *calm[2], calm[0])):  # states, scores, logits
        real = np.float32(batch[1])[:, None, :, None] * np.float32(batch[1])[:, None, None]
        if ours.ndim == 4:
            ours, theirs = ours * ms.Tensor(real), theirs * ms.Tensor(real)
        elif ours.ndim == 3:
            ours, theirs = (item * ms.Tensor(np.float32(batch[1])[..., None]) for item in (ours, theirs))
        np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), atol=1e-6)
    inputs += answers
    with eager():  # the student's dropout is on
        training = float(distiller.set_train(True)(*inputs)[0])
        assert training != float(distiller.set_train(False)(*inputs)[0])


def test_regression_compares_every_row_with_its_own_teacher_output():
    *inputs, _ = random_batch(5)
    targets, teacher_logits = np.float32([0.5, 2.0, 4.5, 1.0]), np.float32([[1.0], [0.0], [3.0], [2.0]])
    logits = np.float32([[0.7], [2.5], [-1.0], [1.5]])
    distiller = Distiller(
        Says(logits), LossTerms(soft_loss=1.0, label_loss=1.0), kind=REGRESSION, cached_logits=True
    )
    batch = micro_batch(*inputs, targets, teacher_logits)
    _, soft, label = (float(item) for item in distiller(*tensors(*batch)))
    assert soft == pytest.approx(((logits - teacher_logits) ** 2).mean(), rel=1e-4)
    assert label == pytest.approx(((logits[:, 0] - targets) ** 2).mean(), rel=1e-4)


def test_cached_logits_need_no_teacher_and_terms_of_weight_zero_are_not_computed():
    student = tiny_network(3, num_hidden_layers=1)
    distiller = Distiller(student, LossTerms(soft_loss=1.0), kind=CLASSIFICATION, cached_logits=True)
    assert distiller.names == ("soft_loss",) and distiller.ask(tiny_network(1)) is None
    assert LossTerms(hidden_loss=1.0, label_loss=0.1).names() == ("hidden_loss", "label_loss")


@pytest.mark.parametrize("student,teacher,stride", [(4, 12, 3), (6, 12, 2), (3, 3, 1), (1, 6, 6)])
def test_uniform_layer_map(student, teacher, stride):
    assert uniform_layer_map(student, teacher) == stride


@pytest.mark.parametrize("student,teacher", [(5, 12), (12, 6)])
def test_depth_that_does_not_divide_is_refused(student, teacher):
    with pytest.raises(UserError) as error:
        uniform_layer_map(student, teacher)
    refuses(error, "num_hidden_layers", str(teacher), str(student))


@pytest.mark.parametrize(
    "name, value", [("hidden_size", 32), ("num_attention_heads", 4), ("num_hidden_layers", 3)]
)
def test_layers_are_compared_where_sizes_are_equal_or_projected(name, value):
    student, teacher = tiny_config(), tiny_config(**{name: value})
    for projected in (False, True):
        if projected and name == "hidden_size":  # the projection widens the student's
            check_comparable(INTERMEDIATE, student, teacher, "net", "a switch", projected)
            continue
        with pytest.raises(UserError) as error:
            check_comparable(INTERMEDIATE, student, teacher, "net", "a switch", projected)
        said = "set a switch to false" if name != "num_hidden_layers" else "divides the teacher's 3 layers"
        refuses(error, f"net: {name} is {getattr(student, name)}", f"{value}", said)


def test_only_what_the_terms_compare_must_be_equal():
    student = tiny_config()
    for terms, changes in (
        (LossTerms(soft_loss=1.0), {"hidden_size": 32, "num_hidden_layers": 3}),
        (LossTerms(hidden_loss=1.0), {"num_attention_heads": 4}),
        (LossTerms(attention_loss=1.0), {"hidden_size": 32}),
        (INTERMEDIATE, {"intermediate_size": 48, "num_hidden_layers": 2 * student.num_hidden_layers}),
    ):
        check_comparable(terms, student, tiny_config(**changes), "net", "a switch", projected=False)


def test_projection_starts_as_the_identity_for_equal_widths_only():
    np.testing.assert_array_equal(Projection(4, 4, 0.02).fit_dense.weight.asnumpy(), np.eye(4))
    assert np.abs(Projection(4, 6, 0.02).fit_dense.weight.asnumpy()).max() < 0.1


def test_without_a_loss_on_the_logits_pooler_and_classifier_are_not_trained():
    student = tiny_network(2, labels=2, num_hidden_layers=1)
    intermediate = {
        item.name for item in Distiller(student, INTERMEDIATE, Projection(16, 16, 0.1)).trained_parameters()
    }
    assert not any("pooler" in name or "classifier" in name for name in intermediate) and any(
        "fit_dense" in name for name in intermediate
    )
    every = {
        item.name
        for item in Distiller(
            student, PREDICTION, kind=CLASSIFICATION, cached_logits=True
        ).trained_parameters()
    }
    assert len(every) == len(list(student.get_parameters()))
    tagger = BertForTokens(tiny_config(num_hidden_layers=1), 2)  # without a pooler
    trained = Distiller(tagger, LossTerms(hidden_loss=1.0)).trained_parameters()
    assert len(trained) == len(list(tagger.get_parameters())) - 2


# --- which terms a run's settings switch on -----------------------------------------------------------------


def test_intermediate_terms_are_the_settings_and_none_is_refused():
    assert LossTerms.intermediate(Phase1Config(), "phase1_cfg") == INTERMEDIATE
    without = LossTerms.intermediate(Phase1Config(attention_loss=False), "phase1_cfg")
    assert without.names() == ("hidden_loss",)
    with pytest.raises(UserError) as error:
        LossTerms.intermediate(Phase1Config(attention_loss=False, hidden_loss=False), "gd_cfg")
    refuses(error, "gd_cfg: attention_loss and hidden_loss are both false")


# --- answers in a text --------------------------------------------------------------------------------------


def test_losses_of_answers_are_means_over_rows_that_share_bins():
    lengths, random = [6, 4, 5], np.random.default_rng(0)
    segments = np.concatenate([np.arange(length) >= length - 3 for length in lengths]).astype(np.int32)
    columns = {SPAN.columns[0]: np.int32([[3, 4], [0, 0], [2, 2]])}
    positions, taught = columns[SPAN.columns[0]], random.normal(size=(15, 2)).astype(np.float32)
    columns[Column("teacher_logits", np.float32, "token")] = taught
    ids = random.integers(5, 40, 15).astype(np.int32)
    examples = Examples(ids, segments, offsets_of(lengths), columns)
    # A step of six rows, of which three come with another micro-batch; there is room for a fourth one here.
    batch = lay_out(examples, [[2, 1], [0]], Shape(2, 10, 4), np.float32([6, 30, 100, 1]))
    said = random.normal(size=(2, 10, 2)).astype(np.float32)  # of each token of the two bins
    logits = said.reshape(-1, 2)

    soft, hard = 0.0, 0.0
    for row, start, length in zip(batch.rows, batch.starts, batch.lengths):
        places = [0, *range(length - 3, length - 1)]  # [CLS] and the window, not [SEP]
        own = logits[start + np.array(places)]
        own = own - np.log(np.exp(own).sum(0))
        target = np.exp(taught[examples.offsets[row] + np.array(places)])
        soft -= (target / target.sum(0) * own).sum(0).mean() / 6
        hard -= np.mean([own[places.index(place), side] for side, place in enumerate(positions[row])]) / 6
    terms = LossTerms(soft_loss=1.0, label_loss=0.5)
    distiller = Distiller(Says(said), terms, kind=SPAN, cached_logits=True)
    values = distiller(*tensors(*batch.arrays))
    np.testing.assert_allclose([float(value) for value in values], [soft + hard / 2, soft, hard], rtol=1e-4)


# --- tags of tokens -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tagged_case():
    """(a tagger, rows of 3 to 8 tokens with tags and a teacher's logits, PyTorch's soft and label loss)."""
    torch = pytest.importorskip("torch")
    lengths, random = [3, 8, 5, 4, 6, 4], np.random.default_rng(1)
    offsets = offsets_of(lengths)
    tags = random.integers(0, 3, offsets[-1]).astype(np.int32)
    tags[[*offsets[:-1], *(offsets[1:] - 1), offsets[1] + 3]] = -1  # [CLS], [SEP] and what a cut has left
    taught = random.normal(size=(offsets[-1], 3)).astype(np.float32)
    columns = {TAGGING.columns[0]: tags, Column("teacher_logits", np.float32, "token"): taught}
    ids = random.integers(5, 40, offsets[-1]).astype(np.int32)
    examples = Examples(ids, np.zeros_like(ids), offsets, columns)
    student = fill(BertForTokens(tiny_config(num_hidden_layers=1), 3), 3)
    twin = NumpyBert(weights_of(student), student.config)
    rows = [ids[start:end] for start, end in zip(offsets, offsets[1:])]
    logits = torch.tensor(
        np.concatenate([twin.row(row, np.ones_like(row), np.zeros_like(row))[0] for row in rows])
    ).double()
    label = torch.nn.functional.cross_entropy(logits, torch.tensor(tags).long(), ignore_index=-1)
    target = torch.softmax(torch.tensor(taught).double(), -1)
    soft = -(target * torch.log_softmax(logits, -1)).mean()
    return student, examples, soft.item(), label.item()


@pytest.mark.parametrize(
    "parts,make",
    [
        (1, lambda rows: [PackedSteps(rows, 6, 1, 1024)]),
        (2, lambda rows: [PackedSteps(rows, 6, 1, 16)]),
        (6, lambda rows: [PaddedSteps(rows, 1, 6, (4, 8))]),
        (4, lambda rows: [PackedSteps(rows, 3, 1, 8, rank=rank, device_num=2) for rank in range(2)]),
    ],
)
def test_label_loss_of_tags_is_torchs_mean_over_labelled_tokens_however_a_step_is_divided(
    tagged_case, parts, make
):
    student, examples, soft, label = tagged_case
    terms = LossTerms(soft_loss=1.0, label_loss=0.5)
    distiller = Distiller(student, terms, kind=TAGGING, cached_logits=True)
    step = [batch for worker in make(examples) for batch in next(iter(worker))]
    assert len(step) == parts
    with eager():
        shares = [[float(value) for value in distiller(*tensors(*batch.arrays))] for batch in step]
    np.testing.assert_allclose(np.sum(shares, axis=0), [soft + label / 2, soft, label], rtol=1e-4)
