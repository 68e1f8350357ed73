"""The verdict on what an implementation wrote. The checker needs NumPy alone."""
