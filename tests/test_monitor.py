"""What a training run shows: refused at its start, not at its first sample."""

from __future__ import annotations

import pytest

from sonicrx_ml.monitor import Listen


def test_a_font_that_is_none_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("SONICRX_SOUNDFONT", str(tmp_path / "absent.sf2"))
    with pytest.raises(ValueError, match=r"absent\.sf2' is not a file"):
        Listen(tmp_path, 100)
