"""Named entity recognition for the GMB corpus, from a CSV of tagged words to a spaCy pipeline."""

__version__ = "0.1.0"
