"""Two halves of one micrograph: do they share their signal, and not their noise?"""
