"""The READMEs and docs/: links lead somewhere, commands and the text name files and settings that exist, both
languages say the same commands.
"""

import dataclasses
import importlib
import pathlib
import re
import shlex
import typing

import pytest

from src.data.readers import conll, squad
from src.data.readers.rows import BadRows
from src.settings.commands import COMMANDS
from src.settings.keys import Keys, types_of
from src.settings.published_flags import ANSWERS, NLP_ARCHITECT, TERNARYBERT
from tests.documents import FOLDER, PAGES, commands, unfenced

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


def anchors(page):
    """What the headings of a page are called in links."""
    headings = re.findall(r"(?m)^#+ (.+)$", unfenced(page))
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            name, _, heading = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists() and (not heading or heading in anchors(path)), target


SPAN = re.compile(r"`([^`\n]+)`")
OUR_PATH = re.compile(r"(?<![\w/.])(?:src|scripts|tests|benchmarks|docs|td_config)/[\w./*-]*")
STARTED = re.compile(r"\b(?:python|bash|sh) ([\w/]+\.(?:py|sh))")
OF_OTHERS = {"src/config.py", "logdir"}
"""Named in the text and not ours: a file of the published code, a flag of tensorboard."""


@pytest.fixture(scope="module")
def known_flags():
    """The keys of all commands, and the flags of the scripts for developers."""
    keys = {"help", "help_all"}.union(*map(types_of, COMMANDS))
    for pattern in ("benchmarks/*.py", "docs/*.py", "tests/**/*.py", "src/data/synthetic.py"):
        for path in FOLDER.glob(pattern):
            keys.update(re.findall(r'"--(\w+)"', path.read_text(encoding="utf-8")))
    return keys | OF_OTHERS


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_the_text_names_files_and_settings_that_exist(page, known_flags):
    spans = SPAN.findall(unfenced(page))
    paths = {path for span in spans for path in (*OUR_PATH.findall(span), *STARTED.findall(span))}
    paths = {path for path in paths if not re.search("[A-Z]{3}", path)} - OF_OTHERS  # td_config/NAME.yaml
    assert [path for path in sorted(paths) if not list(FOLDER.glob(path.rstrip("/")))] == []
    if page.name != "coming-from-published.md":  # its flags are other programs'
        flags = {flag for span in spans for flag in re.findall(r"--([a-z][\w.]*\w)", span)}
        assert sorted(flags - known_flags) == []


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


def test_every_published_flag_is_explained():
    page = unfenced(FOLDER / "docs" / "coming-from-published.md")
    flags = [flag for flag in {**TERNARYBERT, **NLP_ARCHITECT, **ANSWERS} if "." not in flag]
    assert [flag for flag in flags if not re.search(rf"`--{flag}\b", page)] == []


def figures(page):
    """The numbers of each row of a page's tables that has some."""
    rows = re.findall(r"(?m)^\|.*\d.*\|$", page.read_text(encoding="utf-8"))
    return [re.findall(r"\d[\d,.]*\d|\d", row) for row in rows]


def test_both_readmes_have_the_same_commands_and_are_short():
    english, chinese = PAGES[:2]
    assert commands(english) == commands(chinese) and len(commands(english)) > 20
    for page in (english, chinese):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 200
    assert figures(english) == figures(chinese)


@pytest.mark.parametrize("page", sorted(FOLDER.glob("docs/zh/*.md")), ids=title)
def test_a_chinese_page_has_the_commands_and_figures_of_the_english_one(page):
    english = FOLDER / "docs" / page.name
    assert commands(english) == commands(page)
    measured = [row for row in figures(page) if len(row) > 2]
    assert [row for row in measured if row not in figures(english)] == []


CHINESE = "[\u3400-\u9fff]"


@pytest.mark.parametrize("page", [FOLDER / "README_CN.md", *sorted(FOLDER.glob("docs/zh/*.md"))], ids=title)
def test_chinese_sentences_have_chinese_punctuation(page):
    text = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if line[:4] != " " * 4)
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "`", text)  # without code and the targets of links
    assert re.findall(rf"{CHINESE}[,:;?!(]|[,:;?!)]{CHINESE}|`[,;:]", prose) == []


@pytest.mark.parametrize("page", ["docs/data.md", "docs/zh/data.md"])
def test_the_files_of_own_data_that_are_shown_are_read(page, tmp_path):
    def read(reader, shown):
        path = tmp_path / "rows"
        path.write_text("".join(f"{line[4:]}\n" for line in shown.splitlines()), encoding="utf-8")
        return [(row.text, row.label) for row in reader.read_rows(str(path), None, False, BadRows())]

    text = (FOLDER / page).read_text(encoding="utf-8")
    (tagged,) = re.findall(r"(?m)(?:^    \S+ (?:O|[BI]-\w+)\n|^\n(?=    \S+ B-))+", text)
    assert read(conll, tagged.lstrip("\n")) == [
        ("Anna left York", ((0, 4, "name"), (10, 14, "city"))),
        ("Anna Lee", ((0, 8, "name"),)),
    ]
    (squad_rows,) = re.findall(r'(?ms)^    \{"data".*?^$', text)
    assert read(squad, squad_rows) == [("Who left York?", ((0, "Anna"),))]


def test_the_messages_that_troubleshooting_explains_are_messages():
    files = [*FOLDER.glob("src/**/*.py"), *FOLDER.glob("scripts/**/*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message goes on over lines
    for page in (FOLDER / "docs" / "troubleshooting.md", FOLDER / "docs" / "zh" / "troubleshooting.md"):
        messages = re.findall(r"(?m)^\| `([^`]+)`", page.read_text(encoding="utf-8"))
        assert len(messages) > 10 and [item for item in messages if item not in source] == []
