"""The checks made before a run costs anything: one list, for `rlhf doctor` and for every run."""
