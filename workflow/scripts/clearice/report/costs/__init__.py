"""What a run took: time, memory, traffic, disk; on which machine, with which settings."""
