"""Where quantization-aware training leaves its result."""

import os

import pytest

from src.errors import UserError
from src.nn.heads import BertForSequence
from src.run_folder import RunFolder
from src.settings.network import QuantConfig
from src.train.packed_result import PackedResult
from tests.helpers import VOCABULARY, as_model, fill, refuses, tiny_config


def result_of(folder, keeps_latent=False, packs=True, **options):
    said = "sst-2", keeps_latent, packs
    run = RunFolder(str(folder), networks=PackedResult.folders(*said), **options)
    run.claim()
    return PackedResult.of_run(run, *said)


def test_float_weights_that_nobody_keeps_have_a_folder_of_their_own(tmp_path):
    kept, not_kept = result_of(tmp_path, True), result_of(tmp_path)
    assert kept.latent == str(tmp_path / "latent" / "sst-2")
    assert not_kept.latent == str(tmp_path / "unpacked" / "sst-2")
    assert kept.packed == not_kept.packed == str(tmp_path / "sst-2")


def test_inputs_are_not_replaced_and_no_other_weights_hide_the_packed_model(tmp_path):
    for name in ("sst-2", "latent/sst-2"):
        (tmp_path / name).mkdir(parents=True)
        with pytest.raises(UserError) as error:
            result_of(tmp_path, True, inputs={"teacher_model_dir": str(tmp_path / name)})
        refuses(error, "output_dir", "teacher_model_dir")
    (tmp_path / "sst-2" / "eval_model.ckpt").write_text("")
    with pytest.raises(UserError) as error:
        result_of(tmp_path)
    refuses(error, "output_dir", "holds an earlier run's results (sst-2)")
    assert result_of(tmp_path, overwrite=True).packed  # for its start removes them
    (tmp_path / "sst-2" / "mine.ckpt").write_text("")
    with pytest.raises(UserError) as error:
        result_of(tmp_path, overwrite=True)
    refuses(error, "output_dir", "mine.ckpt would be read in place of the packed model")
    assert result_of(tmp_path, True, packs=False).latent  # nothing packed, nothing hidden


def test_only_what_nobody_keeps_is_removed(tmp_path):
    for keeps, others in ((True, False), (False, False), (False, True)):
        result = result_of(tmp_path, keeps)
        os.makedirs(result.latent)
        if others:
            os.makedirs(os.path.join(os.path.dirname(result.latent), "mnli"))
        result.clean_up()
        assert os.path.exists(result.latent) is keeps
        assert os.path.exists(os.path.dirname(result.latent)) is (keeps or others)


@pytest.mark.parametrize("bits", ["2", "1.6"])
def test_the_packed_model_is_read_back_as_it_will_be_used(tmp_path, capsys, bits):
    two = QuantConfig(weight_bits=2, embedding_bits=2, rest_bits=8)
    student = as_model(fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=two), 1))
    result = result_of(tmp_path)
    packed = result.pack(student, bits)
    size = os.path.getsize(tmp_path / "sst-2" / "quantized_model.safetensors")
    said = f"packed model: {size:,} bytes"
    assert said in capsys.readouterr().out and packed.vocabulary == VOCABULARY
    assert packed.description.task_name == "SST-2" and packed.parameters == student.parameters
