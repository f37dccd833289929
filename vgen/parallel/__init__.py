"""More than one device: who computes what, and what they tell each other."""
