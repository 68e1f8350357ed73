"""The patches of all micrographs: split, grown, read and verified."""
