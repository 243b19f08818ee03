"""Draw `docs/picture.svg`, the picture of the README: `python docs/picture.py checkpoints/small`.

One composition as a piano roll, and under it its tempo and energy, asked against realised.
"""

import sys
from pathlib import Path

from sonicrx_ml import checkpoint
from sonicrx_ml.compose import compose
from sonicrx_ml.conformance import judge
from sonicrx_ml.drawing import picture
from sonicrx_ml.goals import prescribe


def main(folder: str = "checkpoints/small", seed: str = "7") -> None:
    asked = prescribe(
        "anxiety",
        duration_s=90,
        key="D",
        energy=[[0, 0.4], [0.2, 0.4], [0.75, 0.1], [1, 0.1]],
        chromaticism=None,
        instruments=["piano", "strings", "harp"],
        seed=int(seed),
    )
    (made,) = compose([asked], checkpoint.load(folder))
    drawn = picture(made.notes, judge(asked, made.midi))
    (Path(__file__).parent / "picture.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
