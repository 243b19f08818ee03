"""The clinician's notebook (`page`), and the same as a web page (`serve`).

The group `notebook` provides what it needs.
"""
