"""The four roles of RLHF over engines: policy, reference, reward and value."""
