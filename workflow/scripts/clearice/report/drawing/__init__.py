"""The page of one micrograph: its pictures and curves, drawn once and kept until it changes."""
