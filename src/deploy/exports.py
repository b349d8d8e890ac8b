"""A model into an exported file that is loaded again at once; where it answers otherwise, no file is left."""

import os
import tempfile

from src.deploy.check import check_equal, check_same, tolerance
from src.deploy.sessions import open_exported
from src.files import replacing
from src.nn.layers import computed_weights
from src.runtime import say


def export_onnx(path, model, description, asked, length):
    """Write an ONNX file.

    Args:
        model (Model): computes in float32, as an ONNX graph does.
        description (Description): what the file says of itself.
        asked (str): the form of weights, or "auto". length (int): tokens of the longest row to compare.
    """
    from src.deploy.onnx_model import choose_form, write_onnx
    from src.deploy.onnx_weights import unpacked

    weights = computed_weights(model.network)
    form, notice = choose_form(asked, weights, description)
    if notice:
        say(notice)
    plain = unpacked(form, description.bert, description.quantization)
    with replacing(path) as temporary:
        write_onnx(temporary, weights, description, form)
        exported = open_exported(temporary)
        if form != plain:
            with tempfile.TemporaryDirectory() as folder:
                reference = os.path.join(folder, "unpacked.onnx")
                write_onnx(reference, weights, description, plain)
                check_equal(exported, open_exported(reference), description.bert, length)
            say(f"checked: the file's logits are those of its {plain} graph, bit for bit")
        _compare(exported, model, tolerance("ONNX", description), length)


def export_mindir(path, model, description, shape, file_format, device, device_id):
    """Write a MINDIR or AIR file.

    Args:
        description (Description): what the file says of itself.
        shape (tuple): rows and tokens of a call.
        file_format (str): "MINDIR" or "AIR". device (str), device_id (int): where the check runs.
    """
    from src.deploy.mindir import replacing_both, write_mindir

    weights = computed_weights(model.network)
    with replacing_both(path) as temporary:
        write_mindir(temporary, weights, description, model.network.compute_type, shape, file_format)
        if file_format == "MINDIR":  # MindSpore cannot load an AIR file
            exported = open_exported(temporary, device, device_id)
            _compare(exported, model, tolerance(file_format, description), exported.length)


def _compare(exported, model, allowed, length):
    difference = check_same(exported, model, allowed, length)
    say(f"checked: the file's logits differ from the network's by {difference:.2g} of their spread")
