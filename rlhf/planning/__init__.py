"""What a run will take, before anything is started: memory, time, and a placement that fits."""
