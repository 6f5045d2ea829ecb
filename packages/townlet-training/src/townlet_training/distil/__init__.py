"""A slow or costly mind taught to a small network, in rounds of questions."""
