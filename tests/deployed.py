"""What the tests of deployment share besides their fixtures."""

import re


def accuracy(text):
    """Of the block that closes an evaluation of an exported model."""
    return float(re.search(r"={65}\n={14} acc is ([\d.]+)\n={65}", text).group(1))
