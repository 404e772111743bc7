"""The four characters of RLHF over engines: policy, reference, reward and value."""
