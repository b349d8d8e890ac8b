"""The pages: of a run that ended, of one that was stopped, of several side by side."""

import datetime
import html
import json
import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import pytest
import yaml

import report
from src.report import figures
from src.report.curves import LOSSES, RATE, SCORES, Panel, panels_of, read_lines
from src.report.layout import grouped_shares
from src.report.page import write_comparison, write_report
from src.settings.defaults import differing
from src.settings.training import TaskDistillConfig, TernaryConfig
from tests.reports import classes, numbers, write_run
from tests.texts import yaml_bomb


def page_of(folder):
    """The text of a run's page, which is written anew."""
    write_report(str(folder))
    return (folder / "report.html").read_text(encoding="utf-8")


def plain(page):
    """Its words."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def run(monkeypatch, capsys, *arguments):
    """(exit status, standard output, standard error) of report.py."""
    monkeypatch.setattr("sys.argv", ["report.py", *map(str, arguments)])
    status = 0
    try:
        report.main()
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that ended, with its page."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "whole", classes(), td_phase2_epoch_size=7)
    page_of(folder)
    return folder


@pytest.fixture(scope="module")
def page(finished):
    return (finished / "report.html").read_text(encoding="utf-8")


def test_the_summary_says_what_the_student_is_worth(page):
    words = plain(page)
    for said in (
        "Accuracy 60.00 75.00 % of the teacher&#39;s 80.00",  # 0.6 / 0.8
        "4.0 kB 5.0 times smaller",  # 4 * 5,000 weights / 4,000 bytes
        "2.00 s 3.0 times faster",
        "1,000 the teacher has 5,000",
        "1 min 15 s peak memory 900 MiB",
        "1 layer, 12 wide",
        "python run_task_distill.py --task_name SST-2 --train_data_dir &#39;my data&#39;",
        "mindspore 2.10.0",
    ):
        assert said in words, said
    assert "Not shown here" not in words


def test_a_student_that_is_worse_is_not_called_better(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "sst-2" / "eval_model.ckpt").write_bytes(bytes(40000))
    results = json.loads((folder / "results.json").read_text())
    results["models"]["distilled student"]["seconds_per_1000_rows"] = 12.0
    (folder / "results.json").write_text(json.dumps(results))
    words = plain(page_of(folder))
    assert "2.0 times as large as the teacher&#39;s" in words and "2.0 times as long as the teacher" in words


def test_nothing_on_the_page_comes_from_elsewhere_or_runs(page):
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|\burl\((?!#)", page)
    fetched = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(target.startswith("#") for target in fetched), fetched
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_texts_and_paths_are_escaped(page):
    assert "<b></p>" not in page and "&lt;b&gt;" in page and "models/&lt;teacher&gt;" in page


def test_the_wrong_rows_stand_in_their_order_with_text_and_answers(page):
    words = plain(page)
    assert words.index("a bad films") < words.index("北京")
    assert "row 2 · answered positive · right negative · 99.97 %" in words
    assert "2 of 4 evaluation rows are answered wrongly" in words and "negative 1 1 positive 1 1" in words


def test_layers_are_paired_by_the_layer_map(page):
    assert "embeddings 50.00 % layer 1 &larr; 2 25.00 % 12.50 %" in plain(page)


def test_pictures_are_drawn_in_the_pages_own_colours(page):
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 4  # losses, losses, learning rate, metrics
    for picture in pictures:
        assert ET.fromstring(picture).get("viewBox")
        colours = set(re.findall(r"(?:stroke|fill): ([^;\"]+)", picture))
        assert "currentColor" in colours and not [colour for colour in colours if colour.startswith("#")]
    names = [name for picture in pictures for name in set(re.findall(r'<clipPath id="([^"]+)"', picture))]
    assert len(names) == len(set(names))
    assert "phase1: loss terms" in page and "hidden_loss" in page


def test_settings_that_were_chosen_come_before_the_others(page):
    chosen = page.index("<code>td_phase2_epoch_size</code>")
    assert chosen < page.index("<details>") < page.index("<code>td_phase1_epoch_size</code>")


def test_a_run_that_was_stopped_shows_what_there_is_and_says_what_is_not(tmp_path):
    folder = write_run(tmp_path / "run", results=False)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"stage": "phase2", "st')
    for name in ("layers.json", "sst-2/eval_model.ckpt"):
        (folder / name).unlink()
    words = plain(page_of(folder))
    for said in (
        "A run that has not come to its end",
        "Accuracy 60.00 the best so far; 75.00 % of the teacher&#39;s 80.00",
        "results.json does not exist",
        "predictions.npz is not there",
        "layers.json does not exist",
        "1 line(s) are no JSON of a step",
        "phase1: loss terms",
    ):
        assert said in words, said


def test_of_a_folder_with_its_settings_alone_there_is_a_page(tmp_path):
    (tmp_path / "config.yaml").write_text("load_teacher_ckpt_path: t\ndata_dir: d\n")
    words = plain(page_of(tmp_path))
    assert "general distillation" in words and "run.json does not exist" in words and "2 settings" in words


def test_what_a_run_was_not_to_have_is_not_missed(tmp_path):
    folder = write_run(tmp_path / "run", record={"compares_layers": False}, do_eval=False)
    (folder / "layers.json").unlink()
    assert "Not shown here" not in page_of(folder)


def test_numbers_have_a_scatter(tmp_path):
    page = page_of(write_run(tmp_path / "run", numbers()))
    assert "The right number and the student" in plain(page) and page.count("<svg") == 5


def test_several_runs_stand_side_by_side_with_what_differs(finished, tmp_path, monkeypatch, capsys):
    other = write_run(tmp_path / "other", results=False, td_phase2_epoch_size=3, only_here=1)
    path = tmp_path / "both.html"
    status, out, _ = run(monkeypatch, capsys, finished, other, "--output_file", path)
    assert status == 0 and str(path) in out
    page = path.read_text(encoding="utf-8")
    words = plain(page)
    assert "finished yes no" in words and "td_phase2_epoch_size 7 3" in words and "only_here" not in words
    assert "bytes 4,000 4,000" in words and "times faster than the teacher 3.0 -" in words
    assert "load_teacher_ckpt_path" not in words and "other: predictions: " not in words
    assert "phase2: Accuracy" in words and page.count("<svg") == 3
    assert 'href="./../' in page  # only the first has a page of its own


def test_a_run_that_failed_says_so_and_a_teacher_that_was_not_timed_why(tmp_path):
    folder = write_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["fault"] = "phase2: the student has learnt nothing; lower the learning rate"
    del results["models"]["teacher"]["seconds_per_1000_rows"]
    (folder / "results.json").write_text(json.dumps(results))
    words = plain(page_of(folder))
    assert "It has failed: phase2: the student has learnt nothing; lower the learning rate." in words
    assert "2.00 s the teacher&#39;s scores are kept from an earlier run, without its time" in words
    write_comparison([str(folder), str(folder)], str(tmp_path / "both.html"))
    failed = "failed: phase2: the student has learnt nothing"
    assert f"finished {failed} {failed} teacher" in plain((tmp_path / "both.html").read_text())


@pytest.mark.parametrize("step", [1, 12, 5000])
def test_a_single_evaluation_has_one_step_on_its_axis(step):
    svg = figures.panel(Panel("phase2", SCORES, {"Accuracy": [(step, 60.0)], "F1": [(step, 61.0)]}))
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert labels[: labels.index("optimizer step")] == [f"{step:,}"]


def test_any_name_of_a_folder_can_be_read_in_a_legend(finished, tmp_path, monkeypatch, capsys, recwarn):
    other = write_run(tmp_path / "_<b>$x_1$ 运行")
    status, _, err = run(monkeypatch, capsys, finished, other, "--output_file", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert status == 0 and not err and not recwarn.list
    legends = [item for item in re.findall(r"<text[^>]*>([^<]*)</text>", page) if "运行" in item]
    assert set(legends) == {" _&lt;b&gt;$x_1$ 运行"} and "_<b>" not in page


def test_the_student_is_what_the_run_made_last(tmp_path):
    folder = write_run(tmp_path / "run", record={"students": ["packed", "phase1"]})
    assert "4,000 bytes" not in page_of(folder)  # of an older run's phase 2
    for name, size in (("phase1", 2000), ("packed", 3000)):
        (folder / name).mkdir()
        (folder / name / "eval_model.ckpt").write_bytes(bytes(size))
        assert f"{size:,} bytes" in page_of(folder)


def test_one_run_is_drawn_anew(finished, monkeypatch, capsys):
    (finished / "report.html").write_text("old")
    status, out, _ = run(monkeypatch, capsys, finished)
    assert status == 0 and "report.html in a browser" in out
    assert "Accuracy" in (finished / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "runs is needed"),
        (("nowhere",), "nowhere is no run's folder"),
        (("a", "--runs", "b"), "runs is given"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(monkeypatch, capsys, arguments, words):
    status, _, err = run(monkeypatch, capsys, *arguments)
    assert status == 2 and words in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["a: [", "- a\n", "\0", "", "[" * 3000, yaml_bomb(), "a: &a [*a]\n", "seed: 2001-99-99\n"]
)
def test_a_damaged_config_is_refused_in_one_line(tmp_path, monkeypatch, capsys, text):
    (tmp_path / "config.yaml").write_text(text)
    status, _, err = run(monkeypatch, capsys, tmp_path)
    assert status == 2 and "config.yaml" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "name, values",
    [
        ("results.json", {"models": {"student": {"accuracy": "high"}}}),
        ("results.json", {"models": {"student": 3}}),
        ("results.json", {"wall_seconds": "long"}),
        ("results.json", {"wall_seconds": float("inf")}),
        ("results.json", {"wall_seconds": float("nan")}),
        ("results.json", {"peak_memory_mib": None, "losses": 3}),
        ("results.json", {"models": [1]}),
        ("run.json", {"command": "train.py"}),
        ("run.json", {"command": [1]}),
        ("run.json", {"versions": ["3.11"]}),
        ("run.json", {"students": None}),
        ("layers.json", {"phase1": {"stride": 2, "attention": [0.5, 0.5], "hidden": [1.0], "rows": 8}}),
        ("layers.json", {"phase1": {"stride": 2, "attention": [0.5], "hidden": [1.0]}}),
    ],
)
def test_a_damaged_record_is_not_shown_and_that_is_said(tmp_path, name, values):
    folder = write_run(tmp_path / "run")
    (folder / name).write_text(json.dumps(values))
    notes = re.findall(r"<li>([^<]*)</li>", page_of(folder).partition("<h2>")[0])
    assert [
        note
        for note in notes
        if f"{name}: " in note and " must be " in note or "lacks rows" in note or "have attention" in note
    ]


@pytest.mark.parametrize(
    "name, values, said",
    [
        ("run.json", {"versions": {"python": "3.11"}}, "python 3.11"),
        ("run.json", {"command": []}, "task SST-2 SST-2 command - -"),
        ("results.json", {"wall_seconds": 75}, "1 min 15 s"),
        ("results.json", {"losses": {"hidden_loss": 1.0}}, "A finished run"),
        ("config.yaml", {"task_name": "SST-2", "student_model_dir": 3}, "started from 3"),
        ("config.yaml", {"task_name": "SST-2", "output_dir": datetime.date(2026, 1, 2)}, "2026-01-02"),
    ],
)
def test_what_an_edited_file_does_not_say_is_left_out(tmp_path, monkeypatch, capsys, name, values, said):
    folder = write_run(tmp_path / "run", only_one=1)
    (folder / name).write_text(yaml.safe_dump(values) if name == "config.yaml" else json.dumps(values))
    page = tmp_path / "both.html"
    assert run(monkeypatch, capsys, folder, folder, "--output_file", page)[0] == 0
    assert said in plain(page_of(folder)) + plain(page.read_text())


@pytest.mark.parametrize(
    "bits, told",
    [
        ({"weight_bits": 2, "activation_bits": 8}, "2-bit weights, 8-bit activations"),
        ({"rest_bits": 8}, "32-bit weights, 32-bit activations"),  # embeddings and classifier only
    ],
)
def test_a_quantized_student_is_not_said_to_be_slow(tmp_path, monkeypatch, capsys, bits, told):
    network = json.dumps({"num_hidden_layers": 1, "hidden_size": 12, "quantization": bits})
    folders = [write_run(tmp_path / name) for name in ("float", "ternary")]
    (folders[1] / "sst-2" / "config.json").write_text(network)
    words = plain(page_of(folders[1]))
    assert "2.00 s in MindSpore, which rounds in floats; export it for speed" in words
    assert f"1 layer, 12 wide, {told}" in words and "faster than" not in words
    assert run(monkeypatch, capsys, *folders, "--output_file", tmp_path / "both.html")[0] == 0
    words = plain((tmp_path / "both.html").read_text())
    assert "times faster than the teacher 3.0 -" in words and "(a quantized student: in MindSpore," in words


@pytest.mark.parametrize("name", ["run#1", "javascript:alert(1)", "100%25", "a b?c", "运行"])
def test_a_comparison_links_to_its_runs_whatever_they_are_called(tmp_path, monkeypatch, capsys, name):
    folders = [write_run(tmp_path / name), write_run(tmp_path / "other")]
    page_of(folders[0])
    status, _, _ = run(monkeypatch, capsys, *folders, "--output_file", tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    (link,) = re.findall('<a href="([^"]*)"', page)
    address = urlsplit(urljoin((tmp_path / "both.html").as_uri(), html.unescape(link)))
    assert status == 0 and not address.fragment and not address.query
    assert unquote(address.path) == str(folders[0] / "report.html")
    labels = re.findall('aria-label="([^"]*)"', page)
    assert len(set(labels)) == len(labels) == 3 and "phase1: loss" in labels


# --- what is drawn ------------------------------------------------------------------------------------------


def test_lines_become_panels_and_values_that_are_not_finite_gaps(tmp_path):
    path = write_run(tmp_path / "run") / "metrics.jsonl"
    with open(path, "a") as file:
        file.write('[1]\n{"stage": 1}\nnull\n')
    lines, broken = read_lines(str(path))
    panels = panels_of(lines)
    kinds = [(panel.stage, panel.title) for panel in panels]
    assert kinds == [("phase1", LOSSES), ("phase2", LOSSES), ("phase2", RATE), ("phase2", SCORES)]
    assert panels[0].curves == {
        "loss": [(1, 2), (2, 1), (4, 0.5)],
        "hidden_loss": [(1, 1), (2, 0.5), (4, 0.25)],
    }
    assert panels[1].curves["loss"] == [(1, None), (2, None)] and broken == 3
    assert panels[3].curves == {"Accuracy": [(1, 50), (2, 60), (3, 40)]}
    assert not panels[0].in_decades and not panels[1].in_decades  # 0.25 to 2, and nothing


def test_long_curves_are_thinned_and_keep_their_end():
    (panel,) = panels_of([{"stage": "gd", "step": n, "loss": -1.0} for n in range(1, 5002)])
    points = panel.curves["loss"]
    assert len(points) < 1000 and points[0] == (1, -1.0) and points[-1] == (5001, -1.0)
    assert not panel.in_decades


def test_ternary_shares_of_a_layer_are_those_of_all_its_weights():
    shares = {
        "bert.embeddings.word_embeddings.weight": (100, (0.25, 0.5, 0.25)),
        "bert.encoder.layers.0.attention.query.weight": (30, (0.5, 0.0, 0.5)),
        "bert.encoder.layers.0.feed_forward.output.weight": (10, (0.1, 0.8, 0.1)),
    }
    first, second = grouped_shares(shares)
    assert first == ("word embeddings", 100, (0.25, 0.5, 0.25)) and second[:2] == ("layer 1", 40)
    np.testing.assert_allclose(second[2], (16 / 40, 8 / 40, 16 / 40))


def test_settings_differ_from_the_defaults_of_the_preset_that_was_chosen():
    settings = {"quantization": "q8bert", "quant_cfg": {"weight_bits": 8, "rest_bits": 32}, "seed": 3}
    assert differing(TernaryConfig, settings) == {
        "quantization": ("q8bert", "ternary"),
        "quant_cfg.rest_bits": (32, 8),
        "seed": (3, yaml.safe_load("42")),
    }
    assert differing(TaskDistillConfig, {"min_teacher_gain": json.loads("9.5")}).keys() == {
        "min_teacher_gain"
    }
