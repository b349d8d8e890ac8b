"""Damaged and foreign input for everything that reads files: `python -m tests.fuzz --minutes 30`.

A target takes bytes, as a file of a folder; it may succeed or raise what becomes one line for the user.
Anything else is a fault: another exception, a hang, a crash, a large allocation, a message without end.
`tests/test_fuzz.py` runs a few inputs of each in the suite, always the same ones.
"""
