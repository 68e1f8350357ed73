"""Planes on the device: patches are cut from whole micrographs there, and none is copied to it."""
