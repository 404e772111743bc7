"""What a run will need, before anything is started: memory, time, and a placement that fits."""
