"""Draws docs/report-light.png and docs/report-dark.png: the page of a run, as wide as a screen and as a
telephone.

    python docs/draw_report.py RUN_DIR [CHROMIUM]

Take a run of the quick start: its rows are made up, so the pictures publish no data set's sentences.
"""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCHEMES = {"dark": 0, "light": 1}  # Chromium's numbers of preferredColorScheme
# Chromium's own window has a least width; frames have none.
FRAMES = """<!DOCTYPE html><body style="margin: 0; display: flex; gap: 24px; background: #888">
<iframe src="{0}" style="width: 1280px; height: 1500px; border: 0"></iframe>
<iframe src="{0}" style="width: 390px; height: 1500px; border: 0"></iframe></body>"""


def draw(run, chromium):
    """Take both pictures of a run's page."""
    page = "file://" + os.path.abspath(os.path.join(run, "report.html"))
    with tempfile.TemporaryDirectory() as folder:
        frames = os.path.join(folder, "frames.html")
        with open(frames, "w", encoding="utf-8") as file:
            file.write(FRAMES.format(page))
        for name, number in SCHEMES.items():
            picture = os.path.join(HERE, f"report-{name}.png")
            flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1694,1500".split()
            flags += [f"--blink-settings=preferredColorScheme={number}", f"--user-data-dir={folder}/profile"]
            subprocess.run([chromium, *flags, f"--screenshot={picture}", "file://" + frames], check=True)


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else CHROMIUM)
