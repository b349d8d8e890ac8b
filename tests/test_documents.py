"""The READMEs and docs/: links lead somewhere, commands name scripts and settings that exist, both languages
say the same commands.
"""

import dataclasses
import importlib
import pathlib
import re
import shlex
import typing

import pytest

from src.settings.keys import Keys
from tests.documents import FOLDER, PAGES, commands

LAUNCHED = {
    "run_finetune.sh": "run_finetune.py",
    "run_standalone_td.sh": "run_task_distill.py",
    "run_standalone_gd.sh": "run_general_distill.py",
    "run_distributed_gd_ascend.sh": "run_general_distill.py",
    "run_distributed_gd_gpu.sh": "run_general_distill.py",
    "run_distributed_gd_cpu.sh": "run_general_distill.py",
    "run_train.sh": "train.py",
}
"""{launcher: the script that it hands its flags to}"""


def title(path):
    return str(path.relative_to(FOLDER))


def settings_of(script):
    """The dataclass of a script's settings; None where it has none of this kind."""
    text = (FOLDER / script).read_text(encoding="utf-8")
    name = re.search(r"(?:with|read)_settings\((\w+Config)\)", text)
    return getattr(importlib.import_module(script.removesuffix(".py")), name[1]) if name else None


def has_key(config, key):
    """Whether a dotted key is a field of nested dataclasses."""
    first, _, rest = key.partition(".")
    hints = typing.get_type_hints(config)
    if first not in {field.name for field in dataclasses.fields(config)}:
        return False
    return not rest or (dataclasses.is_dataclass(hints[first]) and has_key(hints[first], rest))


def is_published(config, key):
    """Whether a command reads a flag of another program, or another name of a setting."""
    keys = Keys(config)
    return key in keys.published or keys.today(key) != key


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_to_files_that_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_name_scripts_and_settings_that_exist(page):
    for command in commands(page):
        words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words[1] == "-m":
            continue
        assert (FOLDER / words[1]).is_file(), command
        script = LAUNCHED.get(pathlib.Path(words[1]).name, words[1])
        config = settings_of(script) if script.endswith(".py") and "/" not in script else None
        if config:
            keys = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
            if page.name == "coming-from-published.md":
                keys = [key for key in keys if not is_published(config, key)]
            unknown = [key for key in keys if key != "config_path" and not has_key(config, key)]
            assert not unknown, command


def test_both_readmes_have_the_same_commands_and_are_short():
    english, chinese = PAGES[:2]
    assert commands(english) == commands(chinese) and len(commands(english)) > 20
    for page in (english, chinese):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 200
    tables = [
        re.findall(r"(?m)^\|.*\d.*\|$", page.read_text(encoding="utf-8")) for page in (english, chinese)
    ]
    numbers = [[re.findall(r"\d[\d,.]*\d|\d", line) for line in table] for table in tables]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("page", sorted(FOLDER.glob("docs/zh/*.md")), ids=title)
def test_a_chinese_page_has_the_commands_of_the_english_one(page):
    english, chinese = commands(FOLDER / "docs" / page.name), commands(page)
    assert english == chinese


CHINESE = "[\u3400-\u9fff]"


@pytest.mark.parametrize("page", [FOLDER / "README_CN.md", *sorted(FOLDER.glob("docs/zh/*.md"))], ids=title)
def test_chinese_sentences_have_chinese_punctuation(page):
    text = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if line[:4] != " " * 4)
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "`", text)  # without code and the targets of links
    assert re.findall(rf"{CHINESE}[,:;?!(]|[,:;?!)]{CHINESE}|`[,;:]", prose) == []


def test_the_messages_that_troubleshooting_explains_are_messages():
    files = [*FOLDER.glob("src/**/*.py"), *FOLDER.glob("scripts/**/*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message goes on over lines
    for page in (FOLDER / "docs" / "troubleshooting.md", FOLDER / "docs" / "zh" / "troubleshooting.md"):
        messages = re.findall(r"(?m)^\| `([^`]+)`", page.read_text(encoding="utf-8"))
        assert len(messages) > 10 and [item for item in messages if item not in source] == []
