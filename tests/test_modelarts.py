"""Jobs on ModelArts, with a stand-in for moxing that takes obs://bucket/ as a folder of this machine."""

import dataclasses
import os
import shutil
import signal
import stat
import sys
import types
import zipfile

import pytest

import export
import run_general_distill
import run_task_distill
import train
from src import modelarts
from src.checkpoint import folder as checkpoints
from src.checkpoint.packed import PACKED_FILE
from src.data import whole
from src.errors import UserError
from src.files import _HOST, ROOT
from src.modelarts import on_platform, unpack
from src.settings.parsing import parse
from src.settings.paths import CHECKPOINTS, DATA, OUTPUTS
from src.settings.shared import ModelArtsConfig
from src.settings.tools import ExportConfig
from src.settings.training import FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig
from src.settings.yaml_file import found_config
from tests.commands import SMALL, good_teacher, refused_by, says
from tests.helpers import refuses, run_script, save_network, teachable, tiny_network, write_info, write_split

RANK_VARIABLES = (
    "RANK_ID",
    "RANK_SIZE",
    "DEVICE_ID",
    "MS_WORKER_NUM",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MS_ROLE",
)
CLASSES = (GeneralDistillConfig, TaskDistillConfig, TernaryConfig, FinetuneConfig, ExportConfig)


class Cloud:
    """A bucket and a machine's cache, both folders of a test."""

    def __init__(self, folder):
        self.bucket, self.cache = folder / "bucket", folder / "cache"
        self.copies = []
        (self.bucket / "data" / "sst-2").mkdir(parents=True)
        (self.bucket / "data" / "sst-2" / "rows").write_text("rows")
        (self.bucket / "ckpt" / "teacher").mkdir(parents=True)
        (self.bucket / "ckpt" / "teacher" / "eval_model.ckpt").write_text("weights")

    def local(self, url):
        return url.replace("obs://bucket", str(self.bucket))

    def copy_parallel(self, source, target):
        """As moxing's: a folder into a folder, either in the cloud."""
        self.copies.append((source, target))
        shutil.copytree(self.local(source), self.local(target), dirs_exist_ok=True)

    def exists(self, url):
        return os.path.exists(self.local(url))

    def keys(self, **changes):
        return {
            "enable_modelarts": True,
            "data_url": "obs://bucket/data/",
            "train_url": "obs://bucket/out/",
            "checkpoint_url": "obs://bucket/ckpt/",
            "data_path": str(self.cache / "data"),
            "output_path": str(self.cache / "train"),
            "load_path": str(self.cache / "checkpoint_path"),
            **changes,
        }

    def settings(self, config_class=TaskDistillConfig, **changes):
        return config_class(**self.keys(**changes))

    def arguments(self, **changes):
        return [f"--{name}={value}" for name, value in self.keys(**changes).items()]

    def zip(self, name, **members):
        with zipfile.ZipFile(self.bucket / "data" / name, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    here = Cloud(tmp_path)
    monkeypatch.setitem(sys.modules, "moxing", types.SimpleNamespace(file=here))
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return here


def refused(settings):
    """The `UserError` of a job that is refused before it begins."""
    with pytest.raises(UserError) as error, on_platform(settings):
        pytest.fail("the job began")
    return error


# --- settings -----------------------------------------------------------------------------------------------


def test_away_from_modelarts_nothing_happens(cloud, monkeypatch):
    monkeypatch.setitem(sys.modules, "moxing", None)  # importing it fails
    settings = cloud.settings(enable_modelarts=False, train_data_dir="sst-2")
    with on_platform(settings) as local:
        assert local is settings
    assert not cloud.cache.exists() and not cloud.copies


def test_without_moxing_one_line_says_where_it_exists(cloud, monkeypatch):
    monkeypatch.setitem(sys.modules, "moxing", None)
    refuses(refused(cloud.settings()), "enable_modelarts: the package moxing exists only on ModelArts")
    assert not cloud.cache.exists()


def test_relative_paths_are_taken_inside_the_copies(cloud):
    data, checkpoint, output = (str(cloud.cache / name) for name in ("data", "checkpoint_path", "train"))
    with on_platform(
        cloud.settings(
            train_data_dir="sst-2",
            eval_data_dir="sst-2/",
            schema_dir="sst-2/schema.json",
            output_dir="run1",
            load_teacher_ckpt_path="teacher/eval_model.ckpt",
            load_gd_ckpt_path="nowhere",
        )
    ) as local:
        assert (local.train_data_dir, local.eval_data_dir, local.schema_dir) == (
            data + "/sst-2",
            data + "/sst-2",
            data + "/sst-2/schema.json",
        )
        assert local.load_teacher_ckpt_path == checkpoint + "/teacher/eval_model.ckpt" and os.path.exists(
            local.load_teacher_ckpt_path
        )
        assert (local.load_gd_ckpt_path, local.load_td1_ckpt_path, local.output_dir) == (
            checkpoint + "/nowhere",
            "",
            output + "/run1",
        )
        assert os.path.exists(data + "/sst-2/rows")


@pytest.mark.parametrize("config_class", CLASSES)
def test_every_path_of_every_command_has_its_place(cloud, config_class):
    names = {item.name for item in dataclasses.fields(config_class)}
    paths = {name for name in names if name.endswith(("_dir", "_path", "_file", "_name", "_runtime"))}
    no_paths = {item.name for item in dataclasses.fields(ModelArtsConfig)} | {
        "task_name",
        "overwrite_output_dir",
    }
    assert paths - no_paths - {"config_path"} == names & {*DATA, *CHECKPOINTS, *OUTPUTS}
    places = {"data": DATA, "checkpoint_path": CHECKPOINTS, "train": OUTPUTS}
    for folder, group in places.items():
        for name in names.intersection(group):  # one at a time: some exclude each other
            format_of = {"file_format": "WEB"} if name == "web_runtime" else {}
            with on_platform(cloud.settings(config_class, **{name: "x"}, **format_of)) as local:
                assert getattr(local, name) == str(cloud.cache / folder / "x")


def test_absolute_paths_stay_and_lost_results_are_announced(cloud, tmp_path, capsys):
    outside = str(tmp_path / "elsewhere")
    with on_platform(
        cloud.settings(train_data_dir=outside, load_gd_ckpt_path=outside, output_dir=outside)
    ) as local:
        assert local.train_data_dir == local.load_gd_ckpt_path == local.output_dir == outside
    says(capsys.readouterr().out, "output_dir: ", "will not be copied to train_url")
    inside = str(cloud.cache / "train" / "x")
    with on_platform(cloud.settings(output_dir=inside)) as local:
        assert local.output_dir == inside
    with on_platform(cloud.settings()) as local:
        assert local.output_dir == str(cloud.cache / "train")
    assert "will not be copied" not in capsys.readouterr().out


def test_checkpoints_may_lie_with_the_data_or_the_program(cloud):
    (cloud.bucket / "data" / "student").mkdir()
    (cloud.bucket / "data" / "student" / "eval_model.ckpt").write_text("weights")
    with on_platform(
        cloud.settings(load_teacher_ckpt_path="student", load_gd_ckpt_path="tests/data", checkpoint_url="")
    ) as local:
        assert local.load_teacher_ckpt_path == str(cloud.cache / "data" / "student")
        assert local.load_gd_ckpt_path == os.path.join(ROOT, "tests", "data")


def test_unset_folders_are_the_whole_copies(cloud):
    data, output = str(cloud.cache / "data"), str(cloud.cache / "train")
    with on_platform(cloud.settings(do_eval=False)) as local:
        assert (local.train_data_dir, local.eval_data_dir, local.schema_dir, local.output_dir) == (
            data,
            "",
            "",
            output,
        )
    with on_platform(cloud.settings(TernaryConfig, do_train=False)) as local:
        assert (local.data_dir, local.teacher_model_dir) == (data, "")
    with on_platform(cloud.settings(ExportConfig, data_url="")) as local:
        assert (local.ckpt_file, local.file_name) == ("", output + "/model")
    with on_platform(cloud.settings(data_url="")) as local:
        assert local.train_data_dir == local.eval_data_dir == ""


def test_the_platform_chooses_the_device(cloud, monkeypatch):
    monkeypatch.setenv("DEVICE_ID", "3")
    with on_platform(cloud.settings()) as local:
        assert local.device_id == 3
    monkeypatch.setenv("DEVICE_ID", "three")
    refuses(refused(cloud.settings()), "DEVICE_ID", "'three'")


@pytest.mark.parametrize(
    "given", ["{}", "./{}", "src/../{}", "../{}", "../../{}", "../../../{}", "../src/../../{}"]
)
@pytest.mark.parametrize("name", ["ternary_config.yaml", "gd_config.yaml", "td_config/td_config_sst2.yaml"])
def test_config_path_may_count_from_the_root_or_below(tmp_path, monkeypatch, given, name):
    monkeypatch.chdir(tmp_path)
    notices = []
    assert found_config(given.format(name), notices) == os.path.join(ROOT, name)
    assert len(notices) == 1 and os.path.join(ROOT, name) in notices[0]


def test_the_config_of_a_published_job_page_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected, _ = parse(TernaryConfig, ["--config_path", os.path.join(ROOT, "ternary_config.yaml")])
    settings, notices = parse(TernaryConfig, ["--config_path", "../../ternary_config.yaml"])
    assert (
        dataclasses.replace(settings, config_path="")
        == dataclasses.replace(expected, config_path="")
        != TernaryConfig()
    )
    assert len(notices) == 1


def test_config_path_from_the_working_directory_wins_and_an_unknown_one_is_named(tmp_path, monkeypatch):
    (tmp_path / "job").mkdir()
    (tmp_path / "ternary_config.yaml").write_text("seed: 77\n")
    monkeypatch.chdir(tmp_path / "job")
    settings, notices = parse(TernaryConfig, ["--config_path", "../ternary_config.yaml"])
    assert settings.seed == 77 and not notices
    for missing in ("../../nothing.yaml", "../..", str(tmp_path / "nothing.yaml")):
        with pytest.raises(UserError) as error:
            parse(TernaryConfig, ["--config_path", missing])
        refuses(error, "config_path", missing)


# --- downloading --------------------------------------------------------------------------------------------


def test_zips_of_the_data_are_unpacked(cloud):
    cloud.zip("a.zip", **{"mnli/train": "one", "sst-2/rows": "newer"})
    cloud.zip("B.ZIP", **{"mnli/eval": "two"})
    with on_platform(cloud.settings()):
        found = {
            str(path.relative_to(cloud.cache / "data")): path.read_text()
            for path in (cloud.cache / "data").rglob("[!.]*")
            if path.is_file() and path.suffix.lower() != ".zip"
        }
    assert found == {"mnli/train": "one", "mnli/eval": "two", "sst-2/rows": "newer"}
    assert sorted(os.listdir(cloud.cache / "data")) == ["B.ZIP", "a.zip", "mnli", "sst-2"]


def test_one_zip_or_none_can_be_chosen(cloud):
    cloud.zip("a.zip", first="1")
    cloud.zip("b.zip", second="2")
    with on_platform(cloud.settings(need_modelarts_dataset_unzip=False)):
        assert set(os.listdir(cloud.cache / "data")) == {"a.zip", "b.zip", "sst-2"}
    for name in ("b", "b.zip"):
        with on_platform(cloud.settings(modelarts_dataset_unzip_name=name)):
            assert set(os.listdir(cloud.cache / "data")) == {"a.zip", "b.zip", "sst-2", "second"}
    refuses(
        refused(cloud.settings(modelarts_dataset_unzip_name="c")),
        "modelarts_dataset_unzip_name",
        "no c.zip",
        "a.zip, b.zip",
    )


def test_what_cannot_be_downloaded_is_one_line(cloud):
    refuses(
        refused(cloud.settings(data_url="obs://bucket/nothing/")),
        "data_url: cannot copy obs://bucket/nothing/",
        "nothing",
    )
    (cloud.bucket / "empty").mkdir()
    refuses(
        refused(cloud.settings(checkpoint_url="obs://bucket/empty/")),
        "checkpoint_url: obs://bucket/empty/ holds nothing",
    )
    refuses(refused(cloud.settings(data_path="/dev/null/data")), "cannot create the folder /dev/null")
    assert not (cloud.bucket / "out").exists()


def test_only_the_first_process_of_a_machine_downloads(cloud, monkeypatch):
    monkeypatch.setenv("RANK_SIZE", "16")
    for device, rank in ((0, 0), (0, 8)):
        monkeypatch.setenv("DEVICE_ID", str(device))
        monkeypatch.setenv("RANK_ID", str(rank))
        with on_platform(cloud.settings()):
            assert [source for source, _ in cloud.copies] == ["obs://bucket/data/", "obs://bucket/ckpt/"]
        cloud.copies.clear()


@pytest.mark.parametrize("url", ["obs://bucket/data/", "obs://bucket/nothing/"])
def test_the_other_processes_wait_for_the_first_one(cloud, monkeypatch, url):
    """The first one's download happens while the second one sleeps; an earlier job's flag does not count."""
    settings = cloud.settings(data_url=url)
    monkeypatch.setenv("RANK_SIZE", "2")
    flag = cloud.cache / "data.downloaded"
    cloud.cache.mkdir()
    flag.write_text('{"error": ""}')
    os.utime(flag, (1, 1))
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        assert len(naps) < 3
        with monkeypatch.context() as patch:
            patch.setenv("DEVICE_ID", "0")
            try:
                modelarts._download_once(settings, False, sys.modules["moxing"])
            except UserError:
                assert "nothing" in url

    monkeypatch.setenv("DEVICE_ID", "1")
    monkeypatch.setattr(modelarts.time, "sleep", sleep)
    if "nothing" in url:
        refuses(refused(settings), "first process", "could not download", "cannot copy obs://bucket/nothing/")
    else:
        with on_platform(settings):
            assert (cloud.cache / "data" / "sst-2" / "rows").exists() and len(cloud.copies) == 2
    assert len(naps) == 1


def test_the_other_processes_do_not_wait_for_ever(cloud, monkeypatch):
    monkeypatch.setenv("RANK_SIZE", "2")
    monkeypatch.setenv("DEVICE_ID", "1")
    now = [1e9]
    monkeypatch.setattr(
        modelarts,
        "time",
        types.SimpleNamespace(
            time=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + 600 * seconds)
        ),
    )
    refuses(refused(cloud.settings()), "has not finished downloading after 7200 s")
    assert not cloud.copies


# --- uploading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, UserError("refused"), ZeroDivisionError("bug"), KeyboardInterrupt(), SystemExit(3)]
)
def test_results_are_copied_back_after_success_and_failure(cloud, fault):
    with (
        pytest.raises(type(fault)) if fault else pytest.MonkeyPatch.context() as caught,
        on_platform(cloud.settings()) as local,
    ):
        with open(os.path.join(local.output_dir, "metrics.jsonl"), "w", encoding="utf-8") as file:
            file.write("line")
        if fault:
            raise fault
    assert not fault or caught.value is fault
    assert (cloud.bucket / "out" / "metrics.jsonl").read_text() == "line"


def test_results_are_copied_back_when_the_platform_stops_the_job(cloud):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, on_platform(cloud.settings()) as local:
        with open(os.path.join(local.output_dir, "metrics.jsonl"), "w", encoding="utf-8") as file:
            file.write("line")
        assert signal.getsignal(signal.SIGTERM) != before  # else the next line would end the tests
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()  # never returns: the signal has arrived or will
    assert caught.value.code == 143 and (cloud.bucket / "out" / "metrics.jsonl").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_scheduler_stops_at_once(cloud, monkeypatch):
    """It waits inside MindSpore, where a handler would not run, and has no results."""
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    before = signal.getsignal(signal.SIGTERM)
    with on_platform(cloud.settings()):
        assert signal.getsignal(signal.SIGTERM) == before


def test_a_failing_upload_is_told_but_does_not_hide_the_first_error(cloud, capsys):
    (cloud.bucket / "out").write_text("a file where the folder should be")

    def job(fault):
        with on_platform(cloud.settings()) as local:
            with open(os.path.join(local.output_dir, "x"), "w", encoding="utf-8"):
                pass
            if fault:
                raise fault

    with pytest.raises(UserError) as error:
        job(None)
    refuses(error, "train_url: cannot copy", "obs://bucket/out/")
    with pytest.raises(ZeroDivisionError, match="bug"):
        job(ZeroDivisionError("bug"))
    says(capsys.readouterr().err, "error: train_url: cannot copy", "obs://bucket/out/")


def test_nothing_is_uploaded_by_later_ranks_or_without_results_or_train_url(cloud, monkeypatch, capsys):
    def job(**changes):
        with on_platform(cloud.settings(**changes)) as local:
            with open(os.path.join(local.output_dir, "x"), "w", encoding="utf-8"):
                pass

    with on_platform(cloud.settings()):
        pass
    assert not (cloud.bucket / "out").exists()
    job(train_url="")
    says(capsys.readouterr().out, "train_url is not set", str(cloud.cache / "train"))
    monkeypatch.setenv("RANK_ID", "8")
    job()
    assert not (cloud.bucket / "out").exists()
    monkeypatch.setenv("RANK_ID", "0")
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    cloud.copies.clear()
    job()
    assert not cloud.copies
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    job()
    assert os.listdir(cloud.bucket / "out") == ["x"]


# --- unpacking ----------------------------------------------------------------------------------------------


def zip_of(path, *members):
    """A zip of (name, mode, text) members, names as they are given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, text in members:
            member = zipfile.ZipInfo("x")
            member.filename, member.external_attr, member.compress_type = (
                name,
                mode << 16,
                zipfile.ZIP_DEFLATED,
            )
            archive.writestr(member, text)
    return str(path)


@pytest.mark.parametrize(
    "name,mode",
    [
        ("../out", 0),
        ("in/../../out", 0),
        ("..", 0),
        ("/etc/out", 0),
        ("\\out", 0),
        ("..\\out", 0),
        ("C:\\out", 0),
        ("c:out", 0),
        ("in/..\\..\\out", 0),
        ("link", stat.S_IFLNK | 0o777),
        ("pipe", stat.S_IFIFO | 0o644),
        ("device", stat.S_IFCHR | 0o644),
    ],
)
def test_members_that_lead_out_of_the_folder_are_refused_before_anything_is_written(tmp_path, name, mode):
    folder = tmp_path / "data" / "folder"
    folder.mkdir(parents=True)
    path = zip_of(tmp_path / "bad.zip", ("good", 0, "text"), (name, mode, "/etc/passwd"))
    with pytest.raises(UserError) as error:
        unpack(path, str(folder))
    refuses(error, path, repr(name), "nothing was unpacked")
    assert not os.listdir(folder) and os.listdir(tmp_path / "data") == ["folder"]


def test_files_where_the_folder_has_folders_are_refused_before_anything_is_written(tmp_path):
    (tmp_path / "folder" / "rows").mkdir(parents=True)
    (tmp_path / "folder" / "names").write_text("old")
    for member, words in (
        ("rows", "its member 'rows' is a file, but"),
        ("names/a", "its member 'names' is a folder, but"),
    ):
        path = zip_of(tmp_path / "mixed.zip", ("first", 0, "new"), (member, 0, "new"))
        with pytest.raises(UserError) as error:
            unpack(path, str(tmp_path / "folder"))
        refuses(error, words, "nothing was unpacked")
        assert sorted(os.listdir(tmp_path / "folder")) == ["names", "rows"]


@pytest.mark.parametrize("member", ["link/a", "in/link/b/c", "link/"])
def test_a_link_in_the_folder_is_not_followed(tmp_path, member):
    for name in ("elsewhere", "folder/in"):
        (tmp_path / name).mkdir(parents=True)
    for parent in ("folder", "folder/in"):
        (tmp_path / parent / "link").symlink_to(tmp_path / "elsewhere")
    path = zip_of(tmp_path / "led.zip", ("first", 0, "new"), (member, 0, ""))
    with pytest.raises(UserError) as error:
        unpack(path, str(tmp_path / "folder"))
    refuses(error, "is a link, which leads elsewhere; nothing was unpacked")
    assert not os.listdir(tmp_path / "elsewhere") and sorted(os.listdir(tmp_path / "folder")) == [
        "in",
        "link",
    ]


def test_dots_in_names_are_no_reason_to_refuse(tmp_path):
    path = zip_of(
        tmp_path / "good.zip",
        ("..a", 0, "1"),
        ("b../c..d", stat.S_IFREG | 0o644, "2"),
        ("e/", stat.S_IFDIR | 0o755, ""),
    )
    (tmp_path / "folder").mkdir()
    unpack(path, str(tmp_path / "folder"))
    assert sorted(os.listdir(tmp_path / "folder")) == ["..a", "b..", "e"]
    assert (tmp_path / "folder" / "b.." / "c..d").read_text() == "2"


def test_damaged_zips_are_one_line_and_leave_nothing(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    text = "".join(map(str, range(5000)))
    whole = bytearray(
        open(zip_of(tmp_path / "whole.zip", ("first", 0, "text"), ("second", 0, text)), "rb").read()
    )
    middle = bytearray(whole)
    middle[300:330] = bytes(30)
    secret = bytearray(whole)
    # The flag of a password, in both of the first member's headers.
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        secret[secret.index(mark) + flags] |= 1
    for name, content in (
        ("half", whole[: len(whole) // 2]),
        ("middle", middle),
        ("text", b"no zip"),
        ("empty", b""),
        ("secret", secret),
    ):
        (tmp_path / f"{name}.zip").write_bytes(content)
        with pytest.raises(UserError) as error:
            unpack(str(tmp_path / f"{name}.zip"), str(folder))
        refuses(error, f"{name}.zip is not a readable zip")
        assert not os.listdir(folder)


def test_a_zip_that_does_not_fit_the_disk_is_refused(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    path = zip_of(tmp_path / "bomb.zip", ("zeros", 0, "0" * 100_000), ("more", 0, "0" * 100_000))
    assert os.path.getsize(path) < 2000
    room = [199_999]
    monkeypatch.setattr(modelarts.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=room[0]))
    with pytest.raises(UserError) as error:
        unpack(path, str(tmp_path / "folder"))
    refuses(error, path, "200,000 bytes", "room for 199,999")
    assert not os.listdir(tmp_path / "folder")
    room[0] = 200_000
    unpack(path, str(tmp_path / "folder"))
    assert os.path.getsize(tmp_path / "folder" / "zeros") == 100_000


def test_what_a_killed_unpacking_left_goes_with_the_next_one(tmp_path):
    folder = tmp_path / "data"
    left = folder / f".writing-abcdefgh-{_HOST}"
    left.mkdir(parents=True)
    (left / "train.tsv").write_text("half")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train.tsv", "whole")
    unpack(str(tmp_path / "a.zip"), str(folder))
    assert os.listdir(folder) == ["train.tsv"] and (folder / "train.tsv").read_text() == "whole"


def test_a_member_longer_than_its_header_says_is_not_unpacked_past_it(tmp_path):
    (tmp_path / "folder").mkdir()
    path = zip_of(tmp_path / "liar.zip", ("zeros", 0, "0" * 100_000))
    content = bytearray(open(path, "rb").read())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # uncompressed size, in both headers
        start = content.index(mark) + place
        assert content[start : start + 4] == (100_000).to_bytes(4, "little")
        content[start : start + 4] = (10).to_bytes(4, "little")
    open(path, "wb").write(content)
    with pytest.raises(UserError) as error:
        unpack(path, str(tmp_path / "folder"))
    refuses(error, "liar.zip is not a readable zip")
    assert not os.listdir(tmp_path / "folder")


# --- the commands -------------------------------------------------------------------------------------------


@pytest.fixture
def task(cloud, tmp_path, monkeypatch):
    """The cloud with a zipped tiny SST-2 and its teacher. No process looks at the downloaded files first."""
    monkeypatch.setattr(whole, "_read_elsewhere", lambda files: None)
    data = tmp_path / "sst-2"
    write_split(data, "train", teachable(16, 1))
    write_split(data, "eval", teachable(9, 2))
    write_info(data)
    shutil.rmtree(cloud.bucket / "data" / "sst-2")
    shutil.make_archive(str(cloud.bucket / "data" / "glue"), "zip", tmp_path, "sst-2")
    good_teacher(cloud.bucket / "ckpt" / "teacher", teachable(16, 1), layers=1)
    return cloud


def test_task_distillation_as_a_job(task, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the platform starts the program from a folder of its own
    out = run_script(
        run_task_distill,
        capsys,
        *task.arguments(),
        "--config_path=../../td_config/td_config_rte.yaml",
        "--task_name=SST-2",
        "--train_data_dir=sst-2",
        "--load_teacher_ckpt_path=teacher/eval_model.ckpt",
        "--do_eval=False",
        *SMALL,
        "--td_phase1_epoch_size=0",
        "--td_phase2_epoch_size=1",
        "--td_student_net_cfg.num_hidden_layers=1",
        "--td_student_net_cfg.hidden_size=16",
        "--td_student_net_cfg.num_attention_heads=2",
        "--td_student_net_cfg.intermediate_size=24",
        "--output_dir=run1",
    )
    says(
        out,
        "config_path: ",
        "copied obs://bucket/data/",
        "unpacked ",
        "done: the student is in",
        "to obs://bucket/out/",
    )
    run1 = task.bucket / "out" / "run1"
    assert {"config.yaml", "metrics.jsonl", "results.json", "sst-2"} <= set(os.listdir(run1))
    assert checkpoints.load(str(run1 / "sst-2")).description.bert.num_hidden_layers == 1
    assert f"train_data_dir: {task.cache}/data/sst-2\n" in (run1 / "config.yaml").read_text()
    assert not (tmp_path / "output").exists()


def test_general_distillation_as_a_job_that_begins_with_what_the_one_before_left_in_the_cloud(task, capsys):
    write_split(task.bucket / "data" / "gd", "train", teachable(16, 1))
    arguments = [
        *task.arguments(),
        "--config_path=../../gd_config.yaml",
        "--data_dir=gd",
        "--load_teacher_ckpt_path=teacher",
        "--train_steps=1",
        "--gd_cfg.batch_size=8",
        "--bucket_boundaries=16",
        "--gd_student_net_cfg.num_hidden_layers=1",
        "--gd_student_net_cfg.hidden_size=16",
        "--gd_student_net_cfg.num_attention_heads=2",
        "--gd_student_net_cfg.intermediate_size=24",
        "--resume=true",
    ]
    out = run_script(run_general_distill, capsys, *arguments)
    says(out, "gd was not begun", "done: the student is in", "to obs://bucket/out/")
    assert {"config.yaml", "gd", "metrics.jsonl", "results.json"} <= set(os.listdir(task.bucket / "out"))
    assert checkpoints.load(str(task.bucket / "out" / "gd")).description.bert.num_hidden_layers == 1
    shutil.rmtree(task.cache)  # another machine
    out = run_script(run_general_distill, capsys, *arguments)
    says(out, "copied obs://bucket/out/ to", "resume: this run is finished")


def test_a_job_that_is_refused_is_one_line_and_its_results_are_kept(task, capsys):
    (task.cache / "train").mkdir(parents=True)
    (task.cache / "train" / "notes.txt").write_text("line")
    line = refused_by(
        run_task_distill,
        capsys,
        *task.arguments(),
        "--task_name=SST-2",
        "--train_data_dir=mnli",
        "--eval_data_dir=sst-2",
        "--load_teacher_ckpt_path=teacher",
        *SMALL,
    )
    says(line, str(task.cache / "data" / "mnli"), "does not exist")
    assert (task.bucket / "out" / "notes.txt").read_text() == "line"


def test_ternary_training_as_a_job(task, capsys):
    run_script(
        train,
        capsys,
        *task.arguments(),
        "--task_name=SST-2",
        "--do_train=False",
        "--do_eval=False",
        "--student_model_dir=teacher",
    )
    assert {"config.yaml", "sst-2"} <= set(os.listdir(task.bucket / "out"))
    assert PACKED_FILE in os.listdir(task.bucket / "out" / "sst-2")


def test_export_as_a_job(cloud, capsys):
    pytest.importorskip("onnxruntime")
    save_network(cloud.bucket / "ckpt" / "model", tiny_network(5, labels=2, num_hidden_layers=1))
    recipe = "--config_path=../../td_config/td_config_sst2.yaml"
    out = run_script(export, capsys, *cloud.arguments(data_url=""), "--ckpt_file=model", recipe)
    says(out, "left aside: load_teacher_ckpt_path, ", "checked:", "done:")
    assert sorted(os.listdir(cloud.bucket / "out")) == ["model.onnx", "vocab.txt"]
    run_script(
        export,
        capsys,
        *cloud.arguments(data_url=""),
        "--ckpt_file=model",
        "--file_format=SAFETENSORS",
        "--file_name=hf/tiny",
    )
    assert "model.safetensors" in os.listdir(cloud.bucket / "out" / "hf" / "tiny")
