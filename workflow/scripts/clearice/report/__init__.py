"""The page: facts that the steps left, in words, figures and pictures."""
