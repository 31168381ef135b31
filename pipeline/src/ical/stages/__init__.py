"""The stages of a run, each readable as the description of what it does."""
