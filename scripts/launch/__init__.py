"""Starting a distributed job: `rank_table` reads where its ranks run, `commands` says what to start,
`supervise` runs it. Standard library only.
"""


class LaunchError(Exception):
    """Something the user gave us is wrong; told in one line, exit status 2."""
