"""Averages of the parameters (EMA and others) to evaluate with, and `eval_params`."""
