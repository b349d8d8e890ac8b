"""Distillation of BERT on MindSpore."""

import os
import sys

THREADS_SPIN = "mindspore" in sys.modules and os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE"
"""Whether MindSpore was loaded before the next lines could keep its threads from spinning."""

# Fused kernels bring a second OpenMP runtime; it is loaded with MindSpore and reads these then. Its threads
# would spin while they wait, and make the matrix products three times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

# MindSpore warns about every device it does not find; GLOG_v=1 shows all it has to say.
os.environ.setdefault("GLOG_v", "3")
if os.environ["GLOG_v"] == "3":
    # What is wrong with a record file it raises as well, and we tell it in one line.
    os.environ.setdefault("MS_SUBMODULE_LOG_v", "{MD:4}")

if {"-h", "--help", "--help_all"}.intersection(sys.argv[1:]):
    # The help needs nothing of what the program is about to load: MindSpore alone takes seconds.
    from src.settings.parsing import answer_help

    answer_help(sys.argv)
