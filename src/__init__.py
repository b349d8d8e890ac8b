"""Distillation of BERT on MindSpore."""

import os

# MindSpore warns about every device it does not find; GLOG_v=1 shows all it has to say.
os.environ.setdefault("GLOG_v", "3")
