"""A model into an exported file that is loaded again at once; where it answers otherwise, no file is left."""

import os

from src.deploy.check import check_same, tolerance
from src.deploy.sessions import open_exported
from src.files import replacing_together
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

    weights = computed_weights(model.network)
    form, notice = choose_form(asked, weights, description)
    if notice:
        say(notice)
    with replacing_together(path) as temporary:
        write_onnx(temporary, weights, description, form)
        _compare(open_exported(temporary), model, tolerance("ONNX", description, form), length)


def export_mindir(path, model, description, shape, file_format, device, device_id):
    """Write a MINDIR or AIR file.

    Args:
        description (Description): what the file says of itself.
        shape (tuple): rows and tokens of a call.
        file_format (str): "MINDIR" or "AIR". device (str), device_id (int): where the check runs.

    Returns:
        The file's path; a large network's has another name than `path`, as `write_mindir` says.
    """
    from src.deploy.mindir import write_mindir

    weights = computed_weights(model.network)
    with replacing_together(path) as temporary:
        number_type = model.network.compute_type
        written = write_mindir(temporary, weights, description, number_type, shape, file_format)
        if file_format == "MINDIR":  # MindSpore cannot load an AIR file
            exported = open_exported(written, device, device_id)
            _compare(exported, model, tolerance(file_format, description), exported.length)
    return os.path.join(os.path.dirname(path), os.path.basename(written))


def _compare(exported, model, allowed, length):
    difference = check_same(exported, model, allowed, length)
    say(f"checked: the file's logits differ from the network's by {difference:.2g} of their spread")
