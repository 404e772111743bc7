"""Is it better? Two policies, the same prompts, a judge that training never saw."""
