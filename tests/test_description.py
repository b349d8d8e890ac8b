"""What a model says of itself, as JSON and against data."""

import json
import shlex
from dataclasses import asdict, fields, replace

import pytest

from src.description import DataFacts, Description, Said, said_labels
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION, SPAN_OR_NONE, TAGGING
from src.settings.network import BertConfig, QuantConfig
from tests.helpers import refuses, tiny_config

NAMES = ("negative", "positive")
RTE = ("entailment", "not_entailment")
TASK = Description(tiny_config(), CLASSIFICATION, 2, NAMES, "SST-2", True, "abc", source="model/")
FACTS = DataFacts("the train records", 20, 39, 1, "abc", "SST-2", CLASSIFICATION, NAMES, 2)
REGRESSION_HEAD = Description(tiny_config(), REGRESSION, 1, task_name="STS-B", source="model/")
TAGGED = {"kind": TAGGING, "outputs": 9, "task_name": "custom"}


def tags(kind):
    """As `TokenClassification` orders a type's."""
    return tuple(f"{letter}-{kind}" for letter in "BIES")


def tagger(labels):
    return replace(TASK, kind=TAGGING, outputs=len(labels), labels=labels, task_name="custom")


def read(values):
    return Description.from_json(values, "model/config.json", "model/")


def refused(values):
    with pytest.raises(UserError) as error:
        read(values)
    return error


def changed(**changes):
    """The JSON of `TASK` with other values; None leaves a key out."""
    values = {**TASK.to_json(), **changes}
    return {key: value for key, value in values.items() if value is not None}


# --- as JSON ------------------------------------------------------------------------------------------------


def test_json_has_hugging_faces_field_names_and_in_addition_ours():
    assert TASK.to_json() == {
        "model_type": "bert",
        **asdict(tiny_config()),
        "do_lower_case": True,
        "task_name": "SST-2",
        "num_labels": 2,
        "problem_type": "single_label_classification",
        "id2label": {"0": "negative", "1": "positive"},
        "label2id": {"negative": 0, "positive": 1},
        "vocab_sha256": "abc",
    }
    assert REGRESSION_HEAD.to_json()["problem_type"] == "regression"
    assert REGRESSION_HEAD.to_json()["id2label"] == {"0": "LABEL_0"}  # as Hugging Face has it


def test_an_encoder_says_nothing_of_a_head():
    bare = Description(tiny_config())
    assert bare.to_json() == {"model_type": "bert", **asdict(tiny_config())}
    assert TASK.without_head().to_json().keys() == {*bare.to_json(), "do_lower_case", "vocab_sha256"}


@pytest.mark.parametrize(
    "described",
    [
        TASK,
        REGRESSION_HEAD,
        Description(tiny_config()),
        replace(TASK, labels=(), do_lower_case=None, vocab_sha256="", task_name=""),
        replace(TASK, do_lower_case=False, bert=tiny_config(hidden_act="gelu_new", classifier_relu=True)),
        replace(TASK, quantization=QuantConfig(weight_bits=2, embedding_bits=2, ema_decay=0.5)),
    ],
    ids=["task", "regression", "encoder", "little known", "other network", "quantized"],
)
def test_what_is_written_is_read_again(described):
    found = read(json.loads(json.dumps(described.to_json())))
    assert found == described and found.source == "model/"
    assert found.labels == described.labels and found.label_names == described.label_names


def test_the_threshold_between_an_answer_and_none_travels_with_a_model():
    asking = Description(tiny_config(), SPAN_OR_NONE, 2, task_name="SQuAD2")
    assert "null_score_diff_threshold" not in asking.to_json()
    chosen = asking.at_threshold(-1.5)
    found = read(json.loads(json.dumps(chosen.to_json())))
    assert found.to_json() == chosen.to_json() and found.kind.threshold == -1.5
    found.check_fits(DataFacts(task_name="SQuAD2", kind=SPAN_OR_NONE, outputs=2), "model_dir")
    assert found.shares_head_with(asking)
    assert found.at_threshold(None) is found and found.at_threshold(0.0).kind.threshold == 0.0
    assert TASK.at_threshold(0.0) == TASK and Description(tiny_config()).at_threshold(1.0).kind is None


def test_what_it_was_read_from_is_no_difference():
    assert replace(TASK, source="elsewhere/") == TASK


def test_labels_may_be_numbered_in_any_order_and_placeholders_are_none():
    assert read(changed(id2label={"1": "positive", "0": "negative"})).labels == NAMES
    assert read(changed(id2label={"0": "LABEL_0", "1": "LABEL_1"})).labels == ()
    assert read(changed(id2label=None, label2id=None)).labels == ()
    assert replace(TASK, labels=()).label_names == ("LABEL_0", "LABEL_1")
    said = Said(id2label={str(index): f"n{index}" for index in range(11)})
    assert said_labels(said, "x")[9:] == ("n9", "n10")


def test_other_programs_keys_have_no_meaning():
    assert read(changed(architectures=["BertModel"], torch_dtype="float32", pad_token_id=0)) == TASK


@pytest.mark.parametrize("name", [item.name for item in fields(BertConfig) if item.default is not None])
def test_a_missing_field_of_the_network_is_named(name):
    refuses(refused(changed(**{name: None})), f"model/config.json lacks {name}")


def test_dropout_before_the_head_is_as_inside_unless_it_is_given():
    assert read(changed(hidden_dropout_prob=0.1)).bert.head_dropout == 0.1
    given = read(changed(hidden_dropout_prob=0.1, classifier_dropout=0.2))
    assert given.bert.head_dropout == 0.2 and given.to_json()["classifier_dropout"] == 0.2
    assert given.frozen().bert.head_dropout == 0.0


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"num_attention_heads": 3}, ("hidden_size 16", "num_attention_heads 3")),
        ({"hidden_size": "wide"}, ("hidden_size", "wide")),
        ({"num_hidden_layers": 0}, ("num_hidden_layers must be 1 to 1,000, not 0",)),
        ({"hidden_act": "swish"}, ("hidden_act", "gelu, gelu_new, relu", "swish")),
        ({"num_labels": None}, ("lacks num_labels",)),
        ({"problem_type": None}, ("lacks problem_type",)),
        ({"num_labels": 0}, ("num_labels must be a whole number of at least 1, not 0",)),
        ({"num_labels": 2.0}, ("num_labels must be a whole number or null, not 2.0",)),
        ({"num_labels": True}, ("num_labels must be a whole number or null, not True",)),
        ({"problem_type": "multi_label_classification"}, ("problem_type 'multi_label_classification'",)),
        ({"task_name": 7}, ("task_name must be a text or null, not 7",)),
        ({"vocab_sha256": ["a"]}, ("vocab_sha256 must be a text or null, not ['a']",)),
        ({"do_lower_case": "yes"}, ("do_lower_case must be true or false or null, not 'yes'",)),
        (
            {"null_score_diff_threshold": "low"},
            ("null_score_diff_threshold must be a number or null, not 'low'",),
        ),
        (
            {"null_score_diff_threshold": float("nan")},
            ("null_score_diff_threshold must be a finite number, not nan",),
        ),
        (
            {"null_score_diff_threshold": True},
            ("null_score_diff_threshold must be a number or null, not True",),
        ),
        ({"null_score_diff_threshold": 1.0}, ("null_score_diff_threshold", "may have no answer")),
        ({"quantization": {"weight_bits": 16}}, ("quantization", "weight_bits must be 2 to 8")),
        ({"quantization": {"bits": 2}}, ("quantization", "bits")),
        ({"quantization": "ternary"}, ("quantization", "ternary")),
        ({"id2label": {"0": "negative", "2": "positive"}}, ("id2label", "0 to 1 without a gap")),
        ({"id2label": ["negative", "positive"]}, ("id2label must be an object of keys and values",)),
        ({"id2label": {"no": "negative", "yes": "positive"}}, ("id2label", "0 to 1 without a gap")),
        ({"id2label": [1, 0]}, ("id2label must be an object", "not [1, 0]")),
        ({"id2label": [5]}, ("id2label must be an object", "not [5]")),
        ({"id2label": {"0": ["x"], "1": "y"}}, ("id2label[...]", "or a text", "not a list")),
        ({"id2label": {"0": "x", "1": {"name": "y"}}}, ("id2label[...]", "not an object")),
        ({"id2label": {"0": "x", "1": None}}, ("id2label", "every class needs a name")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_json_of_another_kind_is_refused_in_a_line_that_names_the_file(changes, words):
    refuses(refused(changed(**changes)), "model/config.json", *words)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"num_labels": 1}, ("problem_type 'single_label_classification' with 1 outputs",)),
        ({"problem_type": "regression"}, ("problem_type 'regression' with 2 outputs",)),
        ({"num_labels": 3}, ("model/ names 2 labels but the classifier has 3 outputs",)),
    ],
)
def test_a_head_that_contradicts_its_kind_or_labels_is_refused(changes, words):
    refuses(refused(changed(**changes)), *words)


# --- other descriptions -------------------------------------------------------------------------------------


def test_other_descriptions_change_what_they_say_and_nothing_else():
    other = TASK.with_head(CLASSIFICATION, 3, ["a", "b", "c"], "MNLI")
    assert (other.kind, other.outputs, other.labels, other.task_name) == (
        CLASSIFICATION,
        3,
        ("a", "b", "c"),
        "MNLI",
    )
    assert replace(other, kind=TASK.kind, outputs=2, labels=NAMES, task_name="SST-2") == TASK
    assert TASK.without_head() == Description(tiny_config(), do_lower_case=True, vocab_sha256="abc")
    wet = replace(TASK, bert=tiny_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2))
    assert wet.frozen() == TASK != wet


def test_only_few_bits_are_quantized():
    for quantization, expected in (
        (None, False),
        (QuantConfig(), False),
        (QuantConfig(rest_bits=8), True),
        (QuantConfig(activation_bits=8), True),
    ):
        assert replace(TASK, quantization=quantization).is_quantized is expected


@pytest.mark.parametrize(
    "other, shared",
    [
        (TASK, True),
        (replace(TASK, labels=("Negative", "POSITIVE")), True),
        (replace(TASK, labels=(), task_name=""), True),  # as far as both say it
        (replace(TASK, task_name="custom"), True),
        (TASK.with_head(CLASSIFICATION, 2, RTE, "RTE"), False),
        (TASK.with_head(CLASSIFICATION, 2, (), "RTE"), False),  # two outputs, but another task's
        (replace(TASK, labels=("positive", "negative")), False),
        (TASK.with_head(CLASSIFICATION, 3, (), "SST-2"), False),
        (TASK.with_head(REGRESSION, 1, (), "SST-2"), False),
        (TASK.without_head(), False),
    ],
)
def test_a_head_is_shared_only_where_it_answers_the_same(other, shared):
    assert TASK.shares_head_with(other) is shared and other.shares_head_with(TASK) is shared


# --- against data -------------------------------------------------------------------------------------------


def check(described=TASK, seq_length=None, **facts):
    described.check_fits(replace(FACTS, **facts), "load_teacher_ckpt_path", seq_length)


def test_a_model_fits_data_that_contradict_nothing_it_says():
    check()
    check(labels=("Negative", "POSITIVE"), task_name="sst2")
    check(vocab_sha256="", labels=(), task_name="custom")
    check(replace(TASK, labels=(), vocab_sha256="", task_name=""), seq_length=20, largest_token_id=39)
    check(replace(TASK, bert=tiny_config(max_position_embeddings=16, use_relative_positions=True)))
    check(REGRESSION_HEAD, task_name="STS-B", kind=REGRESSION, labels=(), outputs=1)


@pytest.mark.parametrize(
    "own, theirs, words",
    [
        (
            (True, None),
            (False, None),
            ("prepared with case kept", "with lower-cased words", "do_lower_case true"),
        ),
        (
            (False, None),
            (True, None),
            ("prepared with lower-cased words", "with case kept", "do_lower_case false"),
        ),
        ((True, False), (True, None), ("with lower-cased words and accents kept",)),
        ((False, None), (False, True), ("with case kept and accents taken off",)),
        ((True, True), (True, None), ()),  # two ways to say the same
        ((False, None), (False, False), ()),
        ((None, None), (True, None), ()),
        ((True, None), (None, None), ()),
    ],
)
def test_model_and_data_must_write_text_alike(own, theirs, words):
    described = replace(TASK, do_lower_case=own[0], strip_accents=own[1])
    facts = {"do_lower_case": theirs[0], "strip_accents": theirs[1]}
    for model in (described, described.without_head()):
        if not words:
            check(model, **facts)
            continue
        with pytest.raises(UserError) as error:
            check(model, **facts)
        refuses(error, "load_teacher_ckpt_path: the train records were prepared", "vocab.txt", *words)


def test_what_is_said_of_accents_comes_back():
    described = replace(TASK, strip_accents=False)
    values = described.to_json()
    assert values["strip_accents"] is False and "strip_accents" not in TASK.to_json()
    assert Description.from_json(values, "config.json", "") == described


def test_an_encoder_and_rows_without_a_task_are_compared_in_their_tokens_only():
    check(TASK.without_head(), task_name="MNLI", labels=("a", "b", "c"), outputs=3)
    check(task_name="", kind=None, labels=(), outputs=0)
    for described, facts in ((TASK.without_head(), {}), (TASK, {"task_name": "", "kind": None})):
        with pytest.raises(UserError) as error:
            check(described, longest=33, **facts)
        refuses(error, "33 tokens")


@pytest.mark.parametrize(
    "described, facts, words",
    [
        (TASK, {"vocab_sha256": "x"}, ("load_teacher_ckpt_path: ", "another vocabulary", "vocab.txt")),
        (TASK, {"task_name": "RTE"}, ("load_teacher_ckpt_path: ", "trained on SST-2, not RTE")),
        (TASK, {"outputs": 3, "labels": ()}, ("2 output(s) (single_label_classification)", "3 classes")),
        (
            replace(REGRESSION_HEAD, task_name=""),
            {},
            ("load_teacher_ckpt_path: model/ has 1 output(s) (regression)", "SST-2 is a task of 2 classes"),
        ),
        (TASK, {"kind": REGRESSION, "outputs": 1, "labels": ()}, ("SST-2 is a task of regression",)),
        (
            TASK,
            {"labels": ("positive", "negative")},
            ("numbers its labels negative, positive", "has positive, negative", "--task_name SST-2"),
        ),
        (
            TASK,
            {"labels": ("positive", "negative"), "task_name": "custom"},
            ("prepare_data.py --labels negative,positive",),
        ),
        (
            replace(TASK, labels=("it's $5", "none; rm")),
            {"labels": ("positive", "negative"), "task_name": "custom"},
            ("prepare_data.py --labels " + shlex.quote("it's $5,none; rm"),),
        ),
        (
            tagger(("O", *tags("city"), *tags("name"))),
            {**TAGGED, "labels": ("O", *tags("name"), *tags("city"))},
            ("prepare_data.py --labels city,name",),
        ),
        (
            tagger(("O", *sorted((*tags("city"), *tags("name"))))),
            {**TAGGED, "labels": ("O", *tags("city"), *tags("name"))},
            ("no data has its names in that order", "run_finetune.py --load_ckpt_path model/"),
        ),
        (
            tagger(("O", "B-city", "I-city")),
            {**TAGGED, "labels": ("O", *tags("city"), *tags("name"))},
            ("3 output(s) (token_classification)", "run_finetune.py --load_ckpt_path model/"),
        ),
        (TASK, {"labels": ("good", "bad")}, ("if they mean the same", "--label_order NAME,NAME,...")),
        (
            replace(TASK, labels=(), outputs=3, task_name=""),
            {"labels": ("entailment", "neutral", "contradiction"), "outputs": 3, "task_name": "MNLI"},
            (
                "model/ does not name its labels",
                "contradiction, entailment, neutral for Google's",
                "--label_order",
            ),
        ),
        (TASK, {"largest_token_id": 40}, ("the train records hold token id 40", "a vocabulary of 40")),
        (
            replace(TASK, bert=tiny_config(type_vocab_size=1)),
            {},
            ("the train records hold pairs of texts", "type_vocab_size of 1"),
        ),
        (TASK, {"longest": 33}, ("a row of 33 tokens", "model/ has positions for 32", "--max_seq_length 32")),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(described, facts, words):
    with pytest.raises(UserError) as error:
        check(described, **facts)
    refuses(error, *words)


@pytest.mark.parametrize(
    "own, names, noted",
    [
        ((), ("negative", "positive"), True),
        (("0", "1"), ("negative", "positive"), True),  # as run_glue.py writes
        (("negative", "positive"), ("negative", "positive"), False),
        ((), ("0", "1"), False),
        ((), (), False),
    ],
)
def test_a_model_without_label_names_is_said_to_be_given_some(own, names, noted):
    line = replace(TASK, labels=own).assumed_labels(names)
    wanted = "note: model/ does not name its labels; they are taken as negative, positive (--label_order of "
    assert line.startswith(wanted) if noted else line == ""
    assert replace(TASK, labels=(), outputs=0, kind=None).assumed_labels(names) == ""


def test_a_runs_own_bound_is_kept_too_and_names_itself():
    with pytest.raises(UserError) as error:
        check(seq_length=19)
    refuses(error, "a row of 20 tokens but seq_length allows 19", "--max_seq_length 19")


def test_the_vocabulary_to_prepare_with_lies_beside_the_weights(tmp_path):
    for source in (str(tmp_path), str(tmp_path / "eval_model.ckpt")):
        with pytest.raises(UserError) as error:
            check(replace(TASK, source=source), vocab_sha256="x")
        refuses(error, f"--vocab_file {tmp_path}/vocab.txt")


@pytest.mark.parametrize(
    "bert, longest",
    [({}, 32), ({"max_position_embeddings": 4096}, 512), ({"use_relative_positions": True}, 512)],
)
def test_the_longest_row_of_a_text_is_what_the_model_has_positions_for(bert, longest):
    assert replace(TASK, bert=tiny_config(**bert)).longest_row == longest
