"""The patches of one micrograph: cut, given a target, written and recorded."""
