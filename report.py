"""The page of a run that any browser shows, drawn anew from what lies in its folder; of several runs a page
that compares them.

    python report.py output/td-sst-2
    python report.py output/td-sst-2 output/ternary-sst-2 --output_file comparison.html

A training command writes its run's page itself. Runs that were stopped, or are still going, have one too.
"""

from src.errors import command
from src.report.page import COMPARISON_FILE, write_comparison, write_report
from src.settings.parsing import read_settings, required
from src.settings.tools import ReportConfig


@command
def main() -> None:
    """Settings, page."""
    settings = read_settings(ReportConfig)
    required(settings, "runs")
    if len(settings.runs) == 1:
        path = write_report(settings.runs[0], settings.output_file)
    else:
        path = write_comparison(settings.runs, settings.output_file or COMPARISON_FILE)
    print(f"done: open {path} in a browser", flush=True)


if __name__ == "__main__":
    main()
