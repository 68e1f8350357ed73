"""The bundle that other implementations are judged by."""
