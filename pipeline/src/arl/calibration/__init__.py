"""Gain calibration: normal matrices, the solver, chains of terms, application and conditioning."""
