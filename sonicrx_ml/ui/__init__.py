"""The clinician's notebook, and the same as a web page (`python -m sonicrx_ml.ui.serve`).

The group `notebook` provides what it needs.
"""

from sonicrx_ml.ui.page import ClinicianPage

__all__ = ["ClinicianPage"]
