"""compare.py RUN_FOLDER RUN_FOLDER : two runs of equal inputs, image by image and decision by decision.

Prints one JSON object: the largest difference of each self-calibrated image as a fraction of its
peak, and whether the loops' logs tell the same decisions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits


def difference(first: Path, second: Path) -> float:
    """Largest difference of two images, over the peak of the first."""
    a, b = (np.squeeze(fits.getdata(path)).astype(float) for path in (first, second))
    return float(np.abs(a - b).max() / np.abs(a).max())


def decisions(run: Path) -> list[list]:
    """Number, terms and decision of each cycle."""
    history = json.loads((run / "selfcal/history.json").read_text())
    return [[cycle["number"], cycle["terms"], cycle["decision"]] for cycle in history]


def main(first: Path, second: Path) -> None:
    """Compare every image of ICAL."""
    images = sorted((first / "selfcal").glob("restored_*.fits"))
    print(json.dumps({
        "images": len(images),
        # NumPy's, which does not pass over NaN
        "difference": float(np.max([difference(image, second / "selfcal" / image.name) for image in images])),
        "decisions": decisions(second),
        "same_decisions": decisions(first) == decisions(second),
    }))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
