"""Bars and names of what takes its time, on a screen and in a file."""

import contextlib
import io
import json
import re
import sys
import time

import pytest
from tqdm import tqdm

from src import terminal
from src.errors import UserError, command
from src.settings import parsing
from src.settings.tools import PostprocessConfig
from src.terminal import bar, busy, result, say


class Terminal(io.StringIO):
    """A terminal that remembers what it was sent."""

    def isatty(self):
        return True

    def screen(self):
        """The lines that one sees in the end."""
        lines, row, column = [[]], 0, 0
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|[\s\S]", self.getvalue()):
            if part == "\n":
                row, column = row + 1, 0
                lines += [[] for _ in range(row + 1 - len(lines))]
            elif part == "\r":
                column = 0
            elif part == "\x1b[A":
                row -= 1
            elif part.startswith("\x1b"):
                raise AssertionError(f"unknown to this terminal: {part!r}")
            else:
                lines[row] += [" "] * (column + 1 - len(lines[row]))
                lines[row][column] = part
                column += 1
        return ["".join(line).rstrip() for line in lines]


@contextlib.contextmanager
def shown():
    """One terminal for both streams."""
    both = Terminal()
    with contextlib.redirect_stdout(both), contextlib.redirect_stderr(both):
        yield both


def test_no_line_is_broken_by_bars():
    with shown() as screen, bar("phase1", 4, "step", leave=True) as upper:
        for step in range(4):
            upper.update()
            upper.refresh()
            tqdm.write(f"line {step}", file=sys.stdout)  # as say does
            for _ in bar("evaluate", 2, "batch", range(2)):
                tqdm.write(f"within {step}", file=sys.stdout)
    lines = [line for line in screen.screen() if line]
    assert "\x1b" not in screen.getvalue()  # one line below another needs it, and no log file wants it
    assert re.search(r"phase1: .*, evaluate 1/2\]", screen.getvalue())
    assert lines[:-1] == [f"{word} {step}" for step in range(4) for word in ("line", "within", "within")]
    assert lines[-1].startswith("phase1: 100%") and "4/4" in lines[-1]


def test_what_takes_its_time_is_named_with_its_seconds_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(terminal, "TICK_SECONDS", 0.3)
    with shown() as screen, bar("phase1", 2, "step", leave=True) as upper:
        upper.update()
        with busy("compiling train step"):
            time.sleep(1.3)
        with busy("quick"):
            pass
        upper.update()
    sent = screen.getvalue()
    assert re.search(r"phase1: .*, compiling train step 00:01\]", sent) and "quick" not in sent
    (line,) = screen.screen()[:-1]
    assert "2/2" in line and "compiling" not in line and screen.screen()[-1] == ""


def test_without_a_bar_it_is_a_line_of_its_own(monkeypatch):
    monkeypatch.setattr(terminal, "TICK_SECONDS", 0.1)
    with shown() as screen, busy("reading"):
        time.sleep(0.3)
    assert "reading 00:00" in screen.getvalue() and not any(screen.screen())


def test_a_name_ends_with_an_error_too():
    with shown() as screen, pytest.raises(ValueError), busy("reading"):
        raise ValueError
    assert screen.getvalue() == ""


def test_in_a_file_a_bar_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.05)
    with bar("phase1", 6, "step", leave=True) as lines, busy("evaluating"):
        for _ in range(6):
            time.sleep(0.03)
            lines.set_postfix_str("loss 0.5", refresh=False)
            lines.update()
    err = capsys.readouterr().err
    assert "\r" not in err and 2 <= len(err.splitlines()) <= 5 and "evaluating" not in err
    for line in err.splitlines():
        assert re.fullmatch(r"phase1: \d/6 steps, \d+ %, [\d:?]+ left, loss 0.5", line), line


def test_in_a_file_a_short_bar_says_nothing(capsys):
    for _ in bar("evaluate", 3, "batch", range(3)):
        pass
    bar("phase1", 3, "step", leave=True).close()
    assert capsys.readouterr().err == ""


def test_in_a_file_a_bar_within_another_one_moves_no_cursor(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.02)
    with bar("phase1", 1, "step", leave=True) as outer:
        for _ in bar("evaluate", 2, "batch", range(2)):
            time.sleep(0.03)
        outer.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "evaluate: 1/2 batches, 50 %, 00:00 left" and all(map(str.isprintable, lines))


# --- results that scripts read ------------------------------------------------------------------------------


def run_postprocess(monkeypatch, *arguments, fault=None):
    """A command with the settings of postprocess.py, which says things and has two results."""
    monkeypatch.setattr(sys, "argv", ["postprocess.py", *arguments])

    @command
    def main():
        parsing.read_settings(PostprocessConfig)
        say("said")
        print("printed")
        for _ in bar("rows", 2, "row", range(2)):
            print("within", flush=True)
        result({"text": "\u5317\u4eac", "score": 0.5}, "Beijing\t0.5")
        result({"text": None}, "")
        if fault:
            raise fault

    main()


def test_results_alone_are_on_standard_output_as_json_where_scripts_read(monkeypatch, capsys):
    run_postprocess(monkeypatch, "--json", "--result_path", "a")
    out, err = capsys.readouterr()
    assert out == '{"text": "\u5317\u4eac", "score": 0.5}\n{"text": null}\n'
    assert (
        "result_path is read as result_dir\nsaid\nprinted\nwithin\nwithin\n" in err and "Beijing" not in err
    )
    run_postprocess(monkeypatch, "--result_path", "a")  # standard output is as before
    assert capsys.readouterr().out.splitlines()[-1] == "Beijing\t0.5"


def test_a_fault_leaves_the_results_that_were_there_and_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run_postprocess(monkeypatch, "--json", fault=UserError("model: is none"))
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and len(out.splitlines()) == 2 and err.endswith("\nerror: model: is none\n")


def test_results_are_utf_8_whatever_the_locale_and_the_path(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", errors="strict"))
    terminal.only_results()
    result({"file": "caf\udce9/\u5317\u4eac", "score": 0.1})
    sys.stdout.results.flush()
    assert json.loads(written.getvalue().decode("utf-8")) == {"file": "caf\udce9/\u5317\u4eac", "score": 0.1}
