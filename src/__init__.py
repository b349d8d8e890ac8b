"""Distillation of BERT on MindSpore."""

import os

# MindSpore warns about every device it does not find; GLOG_v=1 shows all it has to say.
os.environ.setdefault("GLOG_v", "3")
if os.environ["GLOG_v"] == "3":
    # What is wrong with a record file it raises as well, and we tell it in one line.
    os.environ.setdefault("MS_SUBMODULE_LOG_v", "{MD:4}")
