"""What the tests of deployment share besides their fixtures."""

import re


def accuracy(text):
    """Of the block that closes an evaluation of an exported model."""
    return float(re.search(r"={62}\nacc is ([\d.]+)\n={62}", text).group(1))
